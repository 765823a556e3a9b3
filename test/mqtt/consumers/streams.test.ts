import { connectAsync } from 'mqtt'
import type { IPublishPacket, ISubackPacket } from 'mqtt-packet'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { Position, StreamSettings } from '../../../src/log/log.ts'
import { eventually, everything, frontEnd } from '../../support/front-end.ts'
import type { RawClient } from '../../support/raw-client.ts'
import { Site } from '../sessions/given.ts'

const one: StreamSettings = { ...everything, name: 'telemetry', topics: ['d/#'], partitions: 1 }
const four: StreamSettings = { ...one, partitions: 4 }
const session = { version: 5, clean: false, properties: { sessionExpiryInterval: 3600 } } as const

const numbers = (count: number, from = 0) =>
  Array.from({ length: count }, (_, index) => String(from + index))

interface Asking {
  readonly qos?: 0 | 1 | 2
  readonly id?: number
  readonly user?: Record<string, string>
}

let packetId = 100

/** Subscribes with user properties; the SUBACK. */
async function ask(client: RawClient, topic: string, { qos = 1, id, user }: Asking = {}) {
  const before = client.of('suback').length
  client.send({
    cmd: 'subscribe',
    messageId: ++packetId,
    subscriptions: [{ topic, qos }],
    properties: {
      ...(id === undefined ? {} : { subscriptionIdentifier: id }),
      ...(user === undefined ? {} : { userProperties: user }),
    },
  })
  return (await client.packet('suback', before)) as ISubackPacket
}

async function publish(publisher: RawClient, topic: string, texts: readonly string[]) {
  const before = publisher.of('puback').length
  for (const text of texts) publisher.publish(topic, text, { qos: 1, messageId: 1 + +text })
  await publisher.until(() => publisher.of('puback').length === before + texts.length, 'the acks')
}

const propertyOf = (packet: IPublishPacket | undefined, name: string) =>
  (packet?.properties?.userProperties as Record<string, string> | undefined)?.[name]

describe('$stream/<name>', () => {
  it('replays from the start and goes on live, with where each record is', async () => {
    const { connect } = await frontEnd({}, [one])
    const publisher = await connect()
    await publish(publisher, 'd/1', numbers(300))
    const client = await connect({ version: 5 })
    const suback = await ask(client, '$stream/telemetry', {
      id: 5,
      user: { 'stream-offset': 'earliest' },
    })
    expect(suback.granted).toEqual([1])
    await publish(publisher, 'd/2', numbers(10, 300))
    await client.until(() => client.publishes.length === 310, 'all of them')
    expect(client.payloads).toEqual(numbers(310))
    expect(client.publishes[7]).toMatchObject({
      topic: 'd/1',
      qos: 1,
      properties: {
        subscriptionIdentifier: 5,
        userProperties: { stream: 'telemetry', partition: '0', offset: '7', time: '1763700000000' },
      },
    })
  })

  it('begins live without a wish, and is for a filter and a partition', async () => {
    const { connect } = await frontEnd({}, [four])
    const publisher = await connect()
    await publish(publisher, 'd/1', numbers(5))
    const live = await connect({ version: 5 })
    await ask(live, '$stream/telemetry')
    const filtered = await connect({ version: 5 })
    await ask(filtered, '$stream/telemetry/d/2', { user: { 'stream-offset': 'earliest' } })
    const partition = await connect({ version: 5 })
    await ask(partition, '$stream/telemetry', {
      user: { 'stream-offset': 'earliest', 'stream-partition': '3' },
    })
    for (const topic of ['d/2', 'd/3', 'd/4', 'd/5', 'd/6']) {
      await publish(publisher, topic, numbers(2, 5))
    }
    await live.until(() => live.publishes.length === 10, 'what came later')
    await filtered.until(() => filtered.publishes.length === 2, 'one topic')
    await partition.ping()
    const partitions = partition.publishes.map((packet) => propertyOf(packet, 'partition'))
    expect(new Set(partitions)).toEqual(new Set(partitions.length > 0 ? ['3'] : []))
    expect(filtered.publishes.every(({ topic }) => topic === 'd/2')).toBe(true)
  })

  it('is for MQTT 3.1.1 with the start in the name, and ends with UNSUBSCRIBE', async () => {
    const { connect } = await frontEnd({}, [one])
    const publisher = await connect()
    await publish(publisher, 'd/1', numbers(20))
    const client = await connect({ version: 4 })
    expect(
      ((await client.subscribe('$stream@0:15/telemetry', 0)) as ISubackPacket).granted,
    ).toEqual([0])
    await client.until(() => client.publishes.length === 5, 'from offset 15 on')
    expect(client.payloads).toEqual(numbers(5, 15))
    client.send({ cmd: 'unsubscribe', messageId: 5, unsubscriptions: ['$stream@0:15/telemetry'] })
    await client.packet('unsuback')
    await publish(publisher, 'd/1', ['99'])
    await client.ping()
    expect(client.publishes.length).toBe(5)
  })

  it.each([
    ['$stream/nothing', {}, 0x8f, 'there is no stream "nothing"'],
    ['$stream/', {}, 0x8f, 'names one stream'],
    ['$queue/nothing', {}, 0x8f, 'there is no queue "nothing"'],
    ['$stream/telemetry', { 'stream-offset': 'yesterday' }, 0x83, 'stream-offset'],
    ['$stream/telemetry', { 'stream-partition': '4' }, 0x83, 'there is no partition "4"'],
    ['$share/g/$queue/jobs', {}, 0x8f, 'a queue is shared by itself'],
    ['$share/g/$stream/telemetry', { 'stream-partition': '1' }, 0x83, 'divides the partitions'],
  ])('refuses %s %o with %i and a sentence', async (filter, user, code, sentence) => {
    const { connect } = await frontEnd({}, [four])
    const client = await connect({ version: 5 })
    const suback = await ask(client, filter, {
      ...(Object.keys(user).length === 0 ? {} : { user: user as Record<string, string> }),
    })
    expect(suback.granted).toEqual([code])
    expect(suback.properties?.reasonString).toContain(sentence)
    const old = await connect({ version: 4 })
    if (Object.keys(user).length === 0) {
      expect(((await old.subscribe(filter)) as ISubackPacket).granted).toEqual([0x80])
    }
  })

  it('gives only what the rules grant, record by record', async () => {
    const { connect } = await frontEnd({}, [one], {
      anonymous: true,
      rules: [
        { user: '*', allow: ['publish'], topics: ['d/#'] },
        { user: '*', allow: ['subscribe'], topics: ['$stream/telemetry/d/{client}'] },
      ],
    } as never)
    const publisher = await connect()
    await publish(publisher, 'd/me', numbers(3))
    await publish(publisher, 'd/you', numbers(3, 3))
    await publish(publisher, 'd/me', numbers(1, 6))
    const client = await connect({ version: 5, clientId: 'me' })
    const suback = await ask(client, '$stream/telemetry', { user: { 'stream-offset': 'earliest' } })
    expect(suback.granted).toEqual([1])
    await client.until(() => client.publishes.length === 4, 'its own')
    expect(client.payloads).toEqual(['0', '1', '2', '6'])
    expect((await ask(client, '$stream/telemetry/x')).granted).toEqual([0x87])
    expect((await ask(client, '$queue/jobs')).granted).toEqual([0x87])
  })

  it.each([4, 5] as const)('tells in-band what it will not get (version %i)', async (version) => {
    const { connect, log } = await frontEnd({}, [one])
    const client = await connect({ ...session, version, clientId: 'c' })
    const name = '$stream@latest/telemetry'
    await client.subscribe(name, 1)
    const first = 3 as Position
    await log.state.gaps.add([
      {
        stream: 'telemetry',
        cursor: `replay/c/${name}`,
        first,
        end: 6 as Position,
        records: 3,
        sizeBytes: 0,
        reason: 'retention',
      },
    ])
    await client.until(() => client.publishes.length === 1, 'the gap')
    const [gap] = client.publishes
    expect(gap).toMatchObject({ topic: '$stream/telemetry/gap', qos: 1 })
    expect(gap?.payload.length).toBe(0)
    if (version < 5) return
    expect(gap?.properties?.userProperties).toMatchObject({
      stream: 'telemetry',
      reason: 'retention',
      first: '3',
      end: '6',
      records: '3',
    })
  })

  it('resumes for a persistent session where its acks ended, also after a restart', async () => {
    const site = await new Site({}, [one]).start()
    const publisher = await site.connect()
    await publish(publisher, 'd/1', numbers(10))
    const client = await site.connect({ ...session, clientId: 'c', acks: false })
    const start = { user: { 'stream-offset': 'earliest' } }
    await ask(client, '$stream/telemetry', start)
    await client.until(() => client.publishes.length === 10, 'all')
    for (const { messageId } of client.publishes.slice(0, 4)) {
      client.send({ cmd: 'puback', messageId } as never)
    }
    await client.ping()
    await site.restart()
    const again = await site.connect({ ...session, clientId: 'c' })
    await again.until(() => again.publishes.length === 6, 'the rest')
    expect(again.payloads).toEqual(numbers(6, 4))
    // Asked for again as before it goes on; asked for otherwise it begins anew.
    await ask(again, '$stream/telemetry', start)
    await again.ping()
    await ask(again, '$stream/telemetry', { user: { 'stream-offset': '0:8' } })
    await again.until(() => again.payloads.slice(-2).join() === '8,9', 'from 8 on')
    again.send({ cmd: 'unsubscribe', messageId: 6, unsubscriptions: ['$stream/telemetry'] })
    await again.packet('unsuback')
    expect(
      site.run.log.state.cursors.list().filter(({ name }) => name.startsWith('replay')),
    ).toEqual([])
  })

  it('has a bound for each client', async () => {
    const { connect, mqtt } = await frontEnd({}, [one])
    const client = await connect({ version: 5 })
    for (let i = 0; i < 16; i++) await ask(client, `$stream/telemetry/d/${i}`)
    const suback = await ask(client, '$stream/telemetry')
    expect(suback.granted).toEqual([0x97])
    expect(mqtt.stats.limited.subscriptions).toBe(1)
    client.end()
    await eventually(() => mqtt.stats.subscriptions === 0, 'all are gone')
    const other = await connect({ version: 5 })
    expect((await ask(other, '$stream/telemetry')).granted).toEqual([1])
  })
})

describe('$share/<group>/$stream/<name>', () => {
  it('divides the partitions, and moves them when a member leaves', async () => {
    const { connect, consumers } = await frontEnd({}, [four])
    const publisher = await connect()
    const topics = ['d/1', 'd/2', 'd/3', 'd/4', 'd/5', 'd/6', 'd/7', 'd/8']
    for (const topic of topics) await publish(publisher, topic, numbers(4))
    const first = await connect({ version: 5, acks: false })
    expect((await ask(first, '$share/g/$stream/telemetry')).granted).toEqual([1])
    await first.until(() => first.publishes.length === 32, 'all, from the start')
    const second = await connect({ version: 5 })
    await ask(second, '$share/g/$stream/telemetry')
    expect(consumers.groupInfos()[0]?.members.length).toBe(2)
    first.end()
    await second.until(() => second.publishes.length === 32, 'all, to the one that is left')
    for (const topic of topics) {
      const own = second.publishes.filter((packet) => packet.topic === topic)
      expect(own.map(({ payload }) => String(payload))).toEqual(numbers(4))
    }
    expect(second.publishes.every(({ dup }) => dup)).toBe(true)
  })

  it('goes on after a restart where acks ended, for MQTT 3.1.1 as well', async () => {
    const site = await new Site({}, [one]).start()
    const publisher = await site.connect()
    await publish(publisher, 'd/1', numbers(10))
    const member = await site.connect({ acks: false })
    await member.subscribe('$share/g/$stream/telemetry', 1)
    await member.until(() => member.publishes.length === 10, 'all')
    for (const { messageId } of member.publishes.slice(0, 6)) {
      member.send({ cmd: 'puback', messageId } as never)
    }
    await member.ping()
    await site.restart()
    const again = await site.connect()
    await again.subscribe('$share/g/$stream/telemetry', 1)
    await again.until(() => again.publishes.length === 4, 'the rest')
    expect(again.payloads).toEqual(numbers(4, 6))
  })

  it('reads one filter', async () => {
    const { connect } = await frontEnd({}, [four])
    const [a, b] = [await connect({ version: 5 }), await connect({ version: 5 })]
    expect((await ask(a, '$share/g/$stream/telemetry/d/1')).granted).toEqual([1])
    const suback = await ask(b, '$share/g/$stream/telemetry/d/2')
    expect(suback.granted).toEqual([0x97])
    expect(suback.properties?.reasonString).toContain('"d/1"')
  })
})

describe('$queue/<name>', () => {
  const settings = { name: 'jobs', topics: ['jobs/#'], ackTimeoutMs: 30_000, maxDeliveries: 2 }
  const jobs: StreamSettings = { ...one, name: 'jobs', topics: ['jobs/#'] }
  const dead: StreamSettings = { ...one, name: 'dead', topics: [] }

  it("gives single messages to whoever has room, and a leaver's to others, counted", async () => {
    const { connect, consumers } = await frontEnd({}, [jobs], undefined, [settings])
    const [a, b] = [await connect({ version: 5, acks: false }), await connect({ version: 5 })]
    expect((await ask(a, '$queue/jobs')).granted).toEqual([1])
    const publisher = await connect()
    await publish(publisher, 'jobs/1', numbers(4))
    await a.until(() => a.publishes.length === 4, 'all to the only worker')
    expect(propertyOf(a.publishes[0], 'delivery-count')).toBe('1')
    await ask(b, '$queue/jobs')
    a.end()
    await b.until(() => b.publishes.length === 4, 'what it did not do')
    expect(b.payloads).toEqual(numbers(4))
    expect(b.publishes.every(({ dup }) => dup)).toBe(true)
    expect(propertyOf(b.publishes[0], 'delivery-count')).toBe('2')
    await eventually(() => consumers.queueInfos()[0]?.depth === 0, 'it is empty')
  })

  it('puts away what is refused too often, and redrives it', async () => {
    const queue = { ...settings, deadLetter: 'dead' }
    const { connect, consumers, records } = await frontEnd({}, [jobs, dead], undefined, [queue])
    const worker = await connect({ version: 5, acks: false })
    await ask(worker, '$queue/jobs')
    const publisher = await connect()
    await publish(publisher, 'jobs/1', ['0'])
    for (const delivery of [0, 1]) {
      await worker.until(() => worker.publishes.length > delivery, 'a delivery')
      const { messageId } = worker.publishes[delivery] as IPublishPacket
      worker.send({ cmd: 'puback', messageId, reasonCode: 0x83 } as never)
    }
    await eventually(() => records.some(({ stream }) => stream === 'dead'), 'the dead letter')
    expect(await consumers.queue('jobs')?.redrive()).toEqual({ records: 1, stopped: undefined })
    await worker.until(() => worker.publishes.length === 3, 'it is back')
    expect(propertyOf(worker.publishes[2], 'delivery-count')).toBe('1')
  })

  it('serves mqtt.js', async () => {
    const { port, consumers } = await frontEnd({}, [jobs], undefined, [settings])
    const client = await connectAsync(`mqtt://127.0.0.1:${port}`)
    onTestFinished(() => client.endAsync(true))
    const got: string[] = []
    client.on('message', (_topic, payload) => got.push(String(payload)))
    await client.publishAsync('jobs/1', 'do', { qos: 1 })
    await client.subscribeAsync('$queue/jobs', { qos: 1 })
    await eventually(() => got.length === 1, 'the message')
    await eventually(() => consumers.queueInfos()[0]?.depth === 0, 'its ack')
  })
})
