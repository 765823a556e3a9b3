import mqtt, { type MqttClient } from 'mqtt'
import { describe, expect, it, onTestFinished } from 'vitest'
import { BatchBuilder } from '../../src/bridge/batch.ts'
import { envelope, userProperties } from '../../src/bridge/envelope.ts'
import { Lanes } from '../../src/cli/audit-lanes.ts'
import { originsOf } from '../../src/cli/audit-origins.ts'
import { asPosition, type LogRecord } from '../../src/log/log.ts'
import { appendText } from '../support/append.ts'
import { runCli } from '../support/cli-context.ts'
import { givenLog, streamOf } from '../support/data-dir.ts'
import { describeWithMosquitto, startMosquitto } from '../support/mosquitto.ts'
import { record } from '../support/record.ts'

const origin = (offset: number, partition = 0, stream = 's') => ({
  gateway: 'gw-1',
  epoch: 1,
  stream,
  partition,
  offset,
})

describe('what an audit has seen', () => {
  it('is kept as ranges, with what came twice and what came late', () => {
    const lanes = new Lanes()
    for (const offset of [5, 6, 6, 9, 7, 9]) lanes.see(origin(offset))
    const [lane] = lanes.all()
    expect(lane).toMatchObject({ records: 4, duplicates: 2, late: 1, isExact: true })
    expect(lane?.range).toEqual({ first: 5, end: 10 })
    expect([...(lane?.holes() ?? [])]).toEqual([{ first: 8, end: 9 }])
  })

  it('has a bound, and says when it was reached', () => {
    const lanes = new Lanes(1600)
    for (let n = 0; n < 1500; n++) lanes.see(origin(0, n))
    expect([lanes.all().length, lanes.beyond]).toEqual([1000, 500])
    for (let n = 0; n < 601; n++) lanes.see(origin(2 * n))
    expect(lanes.all()[0]?.isExact).toBe(true)
    lanes.see(origin(2000))
    lanes.see(origin(5, 1))
    expect(lanes.all().map(({ isExact }) => isExact)).toEqual([
      false,
      false,
      ...Array.from({ length: 998 }, () => true),
    ])
    const { ranges } = lanes.all()[0] ?? {}
    for (let n = 1001; n < 2000; n++) lanes.see(origin(2 * n))
    expect(lanes.all()[0]?.ranges).toBe(ranges)
  })
})

describe('the origins of a message', () => {
  it('are found in properties, envelopes and batches', async () => {
    const one = record({ stream: 's', offset: 3 })
    const pairs = userProperties(one, 'gw-1', 1)
    const properties = Object.fromEntries(pairs)
    const empty = Buffer.from('x')
    expect(await originsOf(empty, properties)).toEqual([origin(3)])
    const twice = { ...properties, offset: ['spoofed', '3'] }
    expect(await originsOf(empty, twice)).toEqual([origin(3)])
    for (const kind of ['cbor', 'json'] as const) {
      const [found] = await originsOf(envelope(kind, one, 'gw-1', 1), undefined)
      expect(found).toMatchObject(origin(3))
    }
    const message = await batchOf([one, record({ stream: 's', offset: 4 })])
    expect(await originsOf(message, { gateway: 'gw-1' })).toEqual([origin(3), origin(4)])
  })

  it.each([
    ['nothing of the kind', 'x', undefined],
    ['bytes that only begin as a batch', '\u0078\u009c', undefined],
    [
      'a number that is none',
      'x',
      { ...Object.fromEntries(userProperties(record(), 'g', 1)), offset: '-1' },
    ],
    [
      'an offset past 2^53',
      'x',
      { ...Object.fromEntries(userProperties(record(), 'g', 1)), offset: '9007199254740991' },
    ],
    [
      'a name that is too long',
      'x',
      { ...Object.fromEntries(userProperties(record(), 'g'.repeat(65), 1)) },
    ],
  ])('are not found in %s', async (_what, payload, properties) => {
    expect(await originsOf(Buffer.from(payload, 'latin1'), properties)).toEqual([])
  })
})

async function batchOf(records: readonly LogRecord[]): Promise<Uint8Array> {
  const head = { gateway: 'gw-1', epoch: 1, stream: 's' }
  const builder = new BatchBuilder({ recordsMax: 1000, bytesMax: 1e6 }, head)
  for (const one of records) builder.add(one)
  return (await builder.build('deflate')).message
}

/** Runs `sluice audit` and calls `send` once it listens. */
async function audited(
  url: string,
  send: (client: MqttClient) => Promise<unknown>,
  ...more: readonly string[]
) {
  let listening: () => void = () => undefined
  const ready = new Promise<void>((resolve) => {
    listening = resolve
  })
  const run = runCli(
    ['audit', '--upstream', url, '--topic', 'up/#', '--until-idle', '300ms', ...more],
    { output: { out: () => undefined, err: (text) => text.includes('listening') && listening() } },
  )
  const client = await mqtt.connectAsync(url, { protocolVersion: 5 })
  onTestFinished(() => client.endAsync(true))
  await ready
  await send(client)
  const { code, out } = await run
  return { code, out, lines: out.trimEnd().split('\n') }
}

/** Publishes records as a bridge does. */
const sent = (client: MqttClient, records: readonly LogRecord[]) =>
  Promise.all(
    records.map((one) => {
      const properties = Object.fromEntries(userProperties(one, 'gw-1', 1))
      const options = { qos: 1 as const, properties: { userProperties: properties } }
      return client.publishAsync('up/x', Buffer.from(one.payload), options)
    }),
  )

const numbered = (...offsets: readonly number[]) =>
  offsets.map((offset) => record({ stream: 's', offset }))

describeWithMosquitto('sluice audit', () => {
  it('finds nothing missing in singles, envelopes and batches together', async () => {
    const broker = await startMosquitto()
    const { code, out, lines } = await audited(broker.url, async (client) => {
      await sent(client, numbered(0, 1, 2, 1))
      for (const one of numbered(3)) {
        await client.publishAsync('up/y', Buffer.from(envelope('json', one, 'gw-1', 1)))
      }
      await client.publishAsync('up/z', Buffer.from(await batchOf(numbered(4, 5, 6))))
      await client.publishAsync('up/z', 'of nobody')
    })
    expect({ code, out }).toMatchObject({ code: 0 })
    expect(lines[1]?.split(/\s{2,}/)).toEqual([
      ...['gw-1', '1', 's', '0', '[0, 7)', '7', '1', '0', '0', 'contiguous'],
    ])
    expect(lines.slice(2)).toEqual([
      '1 messages said nothing of where they come from',
      'nothing is missing',
    ])
  })

  it('finds a hole, and ends with 1', async () => {
    const broker = await startMosquitto()
    const { code, lines } = await audited(broker.url, (client) => sent(client, numbered(0, 1, 5)))
    expect(code).toBe(1)
    expect(lines[1]).toMatch(/1 hole, unexplained: 3$/)
    expect(lines.slice(2)).toEqual([
      'hole: s, partition 0: [2, 5), unexplained 3',
      'something is missing that nothing explains',
    ])
  })

  it('explains a hole by gaps, not more of it than they speak of, and by the filter', async () => {
    const broker = await startMosquitto()
    const { log, dataDir } = await givenLog([streamOf('s', '#', { partitions: 1 })], 0)
    for (const topic of ['a', 'b']) await appendText(log, topic, ['1', '2', '3', '4', '5'])
    await log.state.gaps.add([
      {
        ...{ stream: 's', cursor: 'bridge/cloud/s', reason: 'expired', sizeBytes: 10 },
        ...{ first: asPosition(1), end: asPosition(3), records: 2 },
      },
    ])
    const run = (...more: string[]) =>
      audited(
        broker.url,
        (client) => sent(client, numbered(0, 4, 9)),
        ...['--data', dataDir, '--format', 'json', ...more],
      )
    const plain = await run()
    expect(plain.code).toBe(1)
    expect(JSON.parse(plain.out)).toMatchObject({
      sound: false,
      partitions: [{ holes: 2, missing: 7, explained: { expired: 2 }, unexplained: 5 }],
    })
    // Offset 3 has topic a and no gap; 5 to 8 have topic b, which the forward does not take.
    const only = await run('--only', 'a')
    expect(JSON.parse(only.out)).toMatchObject({
      partitions: [
        {
          ...{ explained: { expired: 2, 'not forwarded': 4 }, unexplained: 1 },
          unexplained_holes: [{ first: 1, end: 4, unexplained: 1 }],
        },
      ],
    })
    const other = await run('--bridge', 'another')
    expect(JSON.parse(other.out)).toMatchObject({ partitions: [{ unexplained: 7 }] })
  })

  it('explains a hole by gaps that the bridge told, and not more of it', async () => {
    const broker = await startMosquitto()
    const notice = (first: number, end: number) =>
      JSON.stringify({
        ...{ gap: end, gateway: 'gw-1', epoch: 1, stream: 's', first, end },
        ...{ records: end - first, bytes: 1, reason: 'retention', time: 1 },
      })
    const run = (...more: readonly string[]) =>
      audited(
        broker.url,
        async (client) => {
          await sent(client, numbered(0, 1, 5))
          for (const text of more) await client.publishAsync('up/gaps', text, { qos: 1 })
        },
        ...['--format', 'json'],
      )
    const some = await run(notice(2, 3), notice(2, 4), notice(2, 4))
    expect(some.code).toBe(1)
    expect(JSON.parse(some.out)).toMatchObject({
      unmarked: 0,
      partitions: [{ missing: 3, explained: { retention: 2 }, unexplained: 1 }],
    })
    expect((await run(notice(2, 4), notice(7, 8))).code).toBe(0)
    const forged = [notice(5, 2), '{"gap":', '{"gap":1}', notice(2, 4).replace('retention', 'x')]
    const none = await run(...forged)
    expect(JSON.parse(none.out)).toMatchObject({ unmarked: 4, partitions: [{ unexplained: 3 }] })
  })

  it('misses what only the log has, where the whole of it must have come', async () => {
    const broker = await startMosquitto()
    const key = { kind: 'topic' } as const
    const { log, dataDir } = await givenLog([streamOf('s', '#', { partitions: 2, key })], 0)
    for (const topic of ['a', 'b', 'c', 'd']) await appendText(log, topic, ['1', '2', '3'])
    const ends = (await log.bounds('s')).partitions.map(({ end }) => Number(end))
    expect(ends.length).toBe(2)
    const send = (client: MqttClient) => sent(client, numbered(1, 2))
    const args = ['--data', dataDir, '--format', 'json']
    expect((await audited(broker.url, send, ...args)).code).toBe(0)
    const { code, out } = await audited(broker.url, send, ...args, '--whole')
    expect(code).toBe(1)
    expect(JSON.parse(out)).toMatchObject({
      partitions: [
        { partition: 0, records: 2, missing: (ends[0] ?? 0) - 2 },
        { partition: 1, records: 0, missing: ends[1] },
      ],
    })
  })

  it('says that nothing came, and that as a failure', async () => {
    const broker = await startMosquitto()
    const { code, lines } = await audited(broker.url, async () => undefined)
    expect([code, lines.at(-1)]).toEqual([1, 'nothing came that says where it comes from'])
  })

  it('ends with a sentence where it may not come in', async () => {
    const broker = await startMosquitto(['allow_anonymous false'])
    const args = ['audit', '--upstream', broker.url, '--topic', '#']
    const { code, err } = await runCli(args)
    expect(code).toBe(1)
    expect(err).toMatch(/^sluice: no subscription at 127\.0\.0\.1:\d+: .*[Nn]ot authorized/)
    await broker.stop()
    const away = await runCli(args)
    expect(away.code).toBe(1)
    expect(away.err).toContain('ECONNREFUSED')
  })

  it('ends with SIGINT', async () => {
    const broker = await startMosquitto()
    const stop = new AbortController()
    const run = runCli(['audit', '--upstream', broker.url, '--topic', 'up/#'], {
      stopRequest: () => stop.signal,
      output: { out: () => undefined, err: () => stop.abort() },
    })
    expect((await run).code).toBe(1)
  })
})

describe('sluice audit', () => {
  it.each([
    [['--upstream', 'http://x', '--topic', '#'], '--upstream takes a URL'],
    [['--upstream', 'mqtt://u:p@x', '--topic', '#'], 'without user or password'],
    [['--upstream', 'mqtt://x', '--topic', 'a/#/b'], '--topic takes'],
    [['--upstream', 'mqtt://x', '--topic', '#', '--duration', 'long'], '--duration takes'],
    [
      ['--upstream', 'mqtt://x', '--topic', '#', '--password-file', '/nowhere/p'],
      '/nowhere/p cannot be read',
    ],
  ])('says what %j cannot be', async (args, says) => {
    const { code, err } = await runCli(['audit', ...args])
    expect(code).toBe(1)
    expect(err).toContain(says)
  })
})
