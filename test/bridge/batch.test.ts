import { deflateSync, gzipSync } from 'node:zlib'
import { decode } from 'cbor-x'
import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../src/base/random.ts'
import {
  BatchBuilder,
  type BatchCompression,
  type BatchHead,
  decodeBatch,
} from '../../src/bridge/batch.ts'
import { looksLikeBatch } from '../../src/bridge/batch-decode.ts'
import type { LogRecord } from '../../src/log/log.ts'
import { record } from '../support/record.ts'
import { plainPublishBytes, temperatureRecords } from './temperatures.ts'

const HEAD: BatchHead = { gateway: 'gw-1', epoch: 3, stream: 'telemetry' }
const LIMITS = { recordsMax: 1000, bytesMax: 64 * 1024 }

async function built(
  records: readonly LogRecord[],
  compress: BatchCompression = 'none',
  limits = LIMITS,
) {
  const builder = new BatchBuilder(limits, HEAD)
  const added = records.filter((one) => builder.add(one))
  return { ...(await builder.build(compress)), added, builder }
}

/** What a decoder must give for a record. */
function expected(one: LogRecord) {
  return {
    topic: one.topic,
    client: one.client,
    partition: one.partition,
    offset: one.offset,
    timeMs: Math.round(one.timeMs),
    qos: one.qos,
    retain: one.retain,
    payload: Buffer.from(one.payload).toString('hex'),
    properties: one.properties.length > 0 ? Buffer.from(one.properties).toString('hex') : undefined,
  }
}

async function decoded(message: Uint8Array) {
  const batch = await decodeBatch(message)
  return batch.records.map((one) => ({
    ...one,
    payload: Buffer.from(one.payload).toString('hex'),
    properties: one.properties && Buffer.from(one.properties).toString('hex'),
  }))
}

describe('a batch', () => {
  it.each(['none', 'deflate', 'gzip'] as const)('comes back, with compression %s', async (kind) => {
    const records = temperatureRecords(200)
    const { message, plainBytes, records: count } = await built(records, kind)
    expect(count).toBe(200)
    expect(message.length < plainBytes).toBe(kind !== 'none')
    expect(looksLikeBatch(message)).toBe(true)
    expect(await decodeBatch(message)).toMatchObject(HEAD)
    expect(await decoded(message)).toEqual(records.map(expected))
  })

  it('comes back whatever the records are', async () => {
    const random = new SeededRandom(9)
    const edges = [0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 2]
    const names = ['a', 'ü/😀', 'x'.repeat(300), '', 'a/b/c/d/e/f/g/h/i/j/k']
    for (let run = 0; run < 300; run++) {
      const records = Array.from({ length: 1 + random.below(30) }, () =>
        record({
          topic: random.pick(names) || 't',
          client: random.pick(names),
          partition: random.pick([0, 1, 65_535]),
          offset: random.pick(edges),
          timeMs: random.pick([0, 1.5, 1769846400250.75, 2 ** 43]),
          qos: random.pick([0, 1, 2]),
          retain: random.oneIn(2),
          payload: Buffer.alloc(random.pick([0, 1, 23, 48, 49, 700]), random.below(256)),
          ...(random.oneIn(3) ? { properties: Buffer.alloc(1 + random.below(90), 7) } : {}),
        }),
      )
      const { message, added } = await built(records)
      expect(await decoded(message), `seed 9, run ${run}`).toEqual(added.map(expected))
    }
  })

  it('is CBOR that a general decoder reads', async () => {
    const records = [1, 2, 5].map((offset) => record({ offset, payload: 'x', timeMs: offset }))
    const { message } = await built(records)
    const payload = Buffer.from('x')
    expect(decode(message)).toEqual({
      v: 1,
      ...HEAD,
      time: 1,
      records: [
        ['devices/a/telemetry', 'a', 0, 1, 0, 1, payload],
        [0, 1, 0, 0, 1, 1, payload],
        [0, 1, 0, 2, 3, 1, payload],
      ],
    })
  })

  it('ends at its number of records', async () => {
    const { added, records } = await built(temperatureRecords(9), 'none', {
      ...LIMITS,
      recordsMax: 4,
    })
    expect([added.length, records]).toEqual([4, 4])
  })

  it('is never longer than its limit, and hardly shorter', async () => {
    const random = new SeededRandom(4)
    for (let run = 0; run < 200; run++) {
      const bytesMax = 600 + random.below(3000)
      const records = Array.from({ length: 200 }, (_, offset) =>
        record({ offset, payload: Buffer.alloc(random.below(150)), topic: 't'.repeat(200) }),
      )
      const builder = new BatchBuilder({ recordsMax: 1000, bytesMax }, HEAD)
      const full = records.find((one) => !builder.add(one))
      const { plainBytes } = await builder.build('none')
      expect(plainBytes, `seed 4, run ${run}`).toBeLessThanOrEqual(bytesMax)
      expect(plainBytes + (full?.payload.length ?? 0) + 120).toBeGreaterThan(bytesMax)
    }
  })

  it('takes one record that is longer than its limit, and no second', async () => {
    const builder = new BatchBuilder({ recordsMax: 10, bytesMax: 100 }, HEAD)
    const large = record({ payload: Buffer.alloc(5000, 1) })
    expect([builder.add(large), builder.add(record())]).toEqual([true, false])
    expect((await decoded((await builder.build('deflate')).message)).length).toBe(1)
  })

  it.each(['none', 'deflate'] as const)(
    'is a new one after each build, before the last is done, with %s',
    async (kind) => {
      const builder = new BatchBuilder(LIMITS, HEAD)
      const parts = [temperatureRecords(50), temperatureRecords(50, 50)]
      const builds = parts.map((records) => {
        for (const one of records) builder.add(one)
        expect(builder.sizeBytes).toBeGreaterThan(1000)
        const build = builder.build(kind)
        expect([builder.records, builder.sizeBytes]).toEqual([0, 0])
        return build
      })
      const messages = await Promise.all(builds)
      const back = await Promise.all(messages.map(({ message }) => decoded(message)))
      expect(back).toEqual(parts.map((records) => records.map(expected)))
    },
  )

  it('stays as it is where compression makes it longer', async () => {
    const random = new SeededRandom(2)
    const noise = Buffer.from(Array.from({ length: 400 }, () => random.below(256)))
    const { message, plainBytes } = await built([record({ payload: noise })], 'deflate')
    expect(message.length).toBe(plainBytes)
  })
})

describe('on the wire', () => {
  it('200 temperatures take at most a quarter of 200 PUBLISHes', async () => {
    const records = temperatureRecords(200)
    const single = plainPublishBytes(records)
    const { message, plainBytes } = await built(records, 'deflate')
    expect(message.length / single).toBeLessThan(0.25)
    // Without compression: the topics and clients are there once, the payloads are all there is.
    expect(plainBytes / single).toBeLessThan(0.7)
  })
})

describe('what is no batch', () => {
  const whole = async () => (await built(temperatureRecords(20))).message

  it('is told with what is wrong', async () => {
    const bytes = Buffer.from(await whole())
    const longer = Buffer.concat([bytes, Buffer.from([0])])
    const version = Buffer.from(bytes)
    version[3] = 2
    const cases: [Uint8Array, RegExp][] = [
      [Buffer.alloc(0), /no bytes/],
      [Buffer.from('{"t":1}'), /does not begin as a batch/],
      [version, /version 1/],
      [longer, /stand behind its end/],
      [deflateSync(Buffer.from('x')), /does not begin/],
      [deflateSync(bytes).subarray(0, 40), /cannot be unpacked/],
      [gzipSync(bytes).subarray(0, 40), /cannot be unpacked/],
    ]
    for (const [message, says] of cases) {
      await expect(decodeBatch(message)).rejects.toThrow(says)
    }
  })

  it('is refused wherever it ends', async () => {
    const bytes = await whole()
    for (let end = 0; end < bytes.length; end++) {
      await expect(decodeBatch(bytes.subarray(0, end)), String(end)).rejects.toMatchObject({
        name: 'BatchError',
      })
    }
  })

  it('never ends in anything but records or a sentence, whatever bytes change', async () => {
    const random = new SeededRandom(7)
    const bytes = await whole()
    let refused = 0
    for (let run = 0; run < 3000; run++) {
      const changed = Buffer.from(bytes)
      for (let n = 1 + random.below(3); n > 0; n--) {
        changed[random.below(changed.length)] = random.below(256)
      }
      const outcome = await decodeBatch(changed).catch((error: Error) => error)
      if (!(outcome instanceof Error)) continue
      expect(outcome.name, `seed 7, run ${run}`).toBe('BatchError')
      refused++
    }
    expect(refused).toBeGreaterThan(500)
  })

  it('costs no memory for lengths that it only claims', async () => {
    const head = Buffer.from(await whole()).subarray(0, 120)
    const at = head.indexOf('records') + 'records'.length
    head.writeUInt32BE(0xffff_ffff, at + 1)
    await expect(decodeBatch(head)).rejects.toThrow('4294967295 records')
    head.writeUInt32BE(100_000, at + 1)
    await expect(decodeBatch(head)).rejects.toThrow('it ends within')
  })

  it.each([
    ['zlib', deflateSync],
    ['gzip', gzipSync],
  ])('is not unpacked past its limit, from %s', async (_what, pack) => {
    const bomb = pack(Buffer.alloc(50 * 1024 * 1024))
    expect(bomb.length).toBeLessThan(60_000)
    await expect(decodeBatch(bomb, 1024 * 1024)).rejects.toThrow('1,048,576 bytes')
  })
})
