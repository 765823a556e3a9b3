import { describe, expect, it } from 'vitest'
import { eventually, everything, type Fixture, frontEnd } from '../../support/front-end.ts'
import type { RawClient } from '../../support/raw-client.ts'

/** Publishes with QoS 1 and the retain flag, and waits for the acknowledgement. */
async function retain(
  client: RawClient,
  topic: string,
  payload: string,
  more: object = {},
): Promise<void> {
  const acked = client.of('puback').length
  client.publish(topic, payload, { qos: 1, messageId: acked + 1, retain: true, ...more })
  await client.packet('puback', acked)
}

async function reasonOf(client: RawClient, topic: string, payload: string): Promise<unknown> {
  const acked = client.of('puback').length
  await retain(client, topic, payload)
  return client.of('puback')[acked]?.reasonCode
}

const got = (client: RawClient) =>
  client.publishes.map(({ topic, payload, retain: flag }) => [topic, payload.toString(), flag])

/** Everything sent so far has arrived: a message of a topic of its own came behind it. */
async function settled({ connect }: Fixture, ...clients: RawClient[]): Promise<void> {
  const other = await connect()
  for (const client of clients) {
    const before = client.publishes.length
    await client.subscribe('settled', 0)
    other.publish('settled', 'x')
    const seen = () => client.publishes.slice(before).some(({ topic }) => topic === 'settled')
    await client.until(seen, 'the message behind all others')
    client.send({ cmd: 'unsubscribe', messageId: 999, unsubscriptions: ['settled'] } as never)
    const at = client.received.findIndex(
      (packet) => packet.cmd === 'publish' && packet.topic === 'settled',
    )
    client.received.splice(at, 1)
  }
}

describe.each([4, 5] as const)('retained messages over MQTT version %i', (version) => {
  it('gives a new subscriber the last message of each topic, with the retain flag', async () => {
    const fixture = await frontEnd()
    const client = await fixture.connect({ version })
    await retain(client, 'a/b', 'old')
    await retain(client, 'a/b', 'new')
    await retain(client, 'a/c', 'other')
    await retain(client, 'a/d', 'not retained', { retain: false })
    await client.subscribe('a/+', 1)
    await settled(fixture, client)
    expect(got(client)).toEqual([
      ['a/b', 'new', true],
      ['a/c', 'other', true],
    ])
    expect(client.publishes.map(({ qos }) => qos)).toEqual([1, 1])
  })

  it.each([
    [2, 1, 1],
    [1, 2, 1],
    [0, 2, 0],
    [2, 2, 2],
    [2, 0, 0],
  ] as const)(
    'sends one of QoS %i to a subscription with QoS %i with QoS %i',
    async (qos, granted, sent) => {
      const fixture = await frontEnd()
      const client = await fixture.connect({ version })
      client.publish('a', 'x', { qos, messageId: 7, retain: true })
      await settled(fixture, client)
      await client.subscribe('a', granted)
      expect(await client.packet('publish')).toMatchObject({ qos: sent, retain: true, dup: false })
    },
  )

  it('R1: is not retained before the log has kept it', async () => {
    const fixture = await frontEnd()
    const client = await fixture.connect({ version })
    fixture.log.hold()
    client.publish('a', 'x', { qos: 1, messageId: 1, retain: true })
    await client.ping()
    await client.subscribe('a', 0)
    await client.ping()
    expect(client.publishes).toEqual([])
    fixture.log.release()
    const other = await fixture.connect({ version })
    await other.subscribe('a', 0)
    await other.packet('publish')
    // The first one subscribed before: for it the message is a live one.
    expect(got(client)).toEqual([['a', 'x', false]])
  })

  it('clears a topic with an empty payload, which is delivered like any message', async () => {
    const fixture = await frontEnd()
    const client = await fixture.connect({ version })
    await client.subscribe('a', 1)
    await retain(client, 'a', 'x')
    await retain(client, 'a', '')
    await settled(fixture, client)
    expect(got(client)).toEqual([
      ['a', 'x', false],
      ['a', '', false],
    ])
    const other = await fixture.connect({ version })
    await other.subscribe('#', 0)
    await settled(fixture, other)
    expect(got(other)).toEqual([])
    expect(fixture.mqtt.stats.retained).toBe(0)
  })

  it('comes again with each SUBSCRIBE, also of a filter that the client has', async () => {
    const fixture = await frontEnd()
    const client = await fixture.connect({ version })
    await retain(client, 'a', 'x')
    await client.subscribe('a', 0)
    await client.subscribe('a', 0)
    await client.until(() => client.publishes.length === 2, 'both')
  })

  it('is kept with QoS 0 and without a stream of its own', async () => {
    const fixture = await frontEnd({}, [
      { ...everything, name: 'some', topics: ['some/#'], qos0: false },
    ])
    const client = await fixture.connect({ version })
    client.publish('some/a', 'x', { retain: true })
    client.publish('other/a', 'y', { retain: true })
    await eventually(() => fixture.records.length === 2, 'both in the log')
    expect(fixture.records.map(({ stream }) => stream).sort()).toEqual(['default', 'some'])
    await client.subscribe('#', 0)
    await client.until(() => client.publishes.length === 2, 'both')
    client.publish('some/a', '', { retain: true })
    await eventually(() => fixture.records.length === 3, 'the clearing in the log')
  })

  it('R3: gives each topic once, the newest last, while messages go on', async () => {
    const fixture = await frontEnd({ maxInflight: 3 })
    const publisher = await fixture.connect({ version })
    const topics = Array.from({ length: 300 }, (_, i) => `t/${i % 10}/${i}`)
    for (const topic of topics) publisher.publish(topic, 'old', { retain: true })
    await eventually(() => fixture.records.length === 300, 'all kept')
    const client = await fixture.connect({ version })
    publisher.publish('t/5/5', 'new', { qos: 1, messageId: 1, retain: true })
    await client.subscribe('t/#', 1)
    for (const topic of topics.slice(100)) publisher.publish(topic, 'new', { retain: true })
    await eventually(() => fixture.records.length === 501, 'all kept')
    await settled(fixture, client)
    for (const topic of topics) {
      const own = got(client).filter((one) => one[0] === topic)
      const isNew = topics.indexOf(topic) >= 100 || topic === 't/5/5'
      expect(own.at(-1)?.[1], topic).toBe(isNew ? 'new' : 'old')
      expect(own.filter(([, text]) => text === 'old').length, topic).toBeLessThanOrEqual(1)
    }
  })

  it('counts what may not be retained any more, and does not say in the log that it is', async () => {
    const fixture = await frontEnd({ maxRetained: 2 })
    const client = await fixture.connect({ version })
    await retain(client, 'a', 'x')
    await retain(client, 'b', 'x')
    const reason = await reasonOf(client, 'c', 'x')
    expect(reason).toBe(version === 5 ? 0x97 : undefined)
    client.publish('d', 'x', { retain: true })
    await retain(client, 'b', 'y')
    await retain(client, 'a', '')
    await retain(client, 'e', 'x')
    await client.subscribe('#', 0)
    await settled(fixture, client)
    expect(got(client)).toEqual([
      ['b', 'y', true],
      ['e', 'x', true],
    ])
    expect(fixture.mqtt.stats.notRetained).toBe(2)
    const kept = fixture.records.filter(({ retain: flag }) => flag).map(({ topic }) => topic)
    expect(kept).toEqual(['a', 'b', 'b', 'a', 'e'])
  })
})

describe('many retained messages', () => {
  it('come a page a loop turn, so that nobody else waits for all of them', async () => {
    const fixture = await frontEnd({ maxRetained: 20_000 })
    const publisher = await fixture.connect()
    for (let i = 0; i < 20_000; i++) publisher.publish(`many/${i}`, 'x', { retain: true })
    await eventually(() => fixture.mqtt.stats.retained === 20_000, 'all retained')
    const client = await fixture.connect()
    const other = await fixture.connect()
    await client.subscribe('many/+', 0)
    let pings = 0
    while (client.received.length < 20_000) {
      await other.ping()
      pings++
    }
    // 79 pages; with all in one turn it would be one or two.
    expect(pings).toBeGreaterThan(10)
    expect(new Set(client.publishes.map(({ topic }) => topic)).size).toBe(20_000)
  })
})

describe('retained messages in MQTT 5', () => {
  it('follows the retain handling', async () => {
    const fixture = await frontEnd()
    const client = await fixture.connect({ version: 5 })
    await retain(client, 'a', 'x')
    await client.subscribe('a', 0, { rh: 2 })
    await settled(fixture, client)
    expect(got(client)).toEqual([])
    await client.subscribe('a', 0, { rh: 1 })
    await settled(fixture, client)
    expect(got(client)).toEqual([])
    await client.subscribe('+', 0, { rh: 1 })
    await client.until(() => client.publishes.length === 1, 'the one of the new filter')
    await client.subscribe('a', 0, { rh: 0 })
    await client.until(() => client.publishes.length === 2, 'the one that was asked for')
  })

  it('leaves the retain flag of live messages to a subscriber that wants it', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version: 5 })
    await client.subscribe('a', 0, { rap: true })
    await retain(client, 'a', 'x')
    await client.until(() => client.publishes.length === 1, 'the message')
    expect(got(client)).toEqual([['a', 'x', true]])
  })

  it('says the identifier of the subscription that brought it', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version: 5 })
    await retain(client, 'a', 'x')
    client.send({
      cmd: 'subscribe',
      messageId: 9,
      subscriptions: [{ topic: 'a', qos: 0 }],
      properties: { subscriptionIdentifier: 77 },
    } as never)
    const { properties } = await client.packet('publish')
    expect(properties?.subscriptionIdentifier).toBe(77)
  })

  it('counts the expiry down, and gives and keeps nothing that has expired', async () => {
    const fixture = await frontEnd()
    const client = await fixture.connect({ version: 5 })
    await retain(client, 'a', 'x', { properties: { messageExpiryInterval: 100 } })
    await retain(client, 'b', 'y', { properties: { messageExpiryInterval: 30 } })
    fixture.clock.advance(40_000)
    await client.subscribe('#', 0)
    await settled(fixture, client)
    expect(got(client)).toEqual([['a', 'x', true]])
    expect(client.publishes[0]?.properties?.messageExpiryInterval).toBe(60)
    expect(fixture.mqtt.stats.retained).toBe(1)
  })

  it('does not give a client its own with No Local', async () => {
    const fixture = await frontEnd()
    const client = await fixture.connect({ version: 5 })
    const other = await fixture.connect({ version: 5 })
    await retain(client, 'a', 'mine')
    await retain(other, 'b', 'theirs')
    await client.subscribe('#', 0, { nl: true })
    await settled(fixture, client)
    expect(got(client)).toEqual([['b', 'theirs', true]])
  })

  it('keeps properties, and says in CONNACK nothing against retained messages', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version: 5 })
    const { properties: said } = await client.packet('connack')
    expect(said?.retainAvailable).not.toBe(false)
    const properties = { contentType: 'text', userProperties: { a: ['1', '2'] } }
    await retain(client, 'a', 'x', { properties })
    await client.subscribe('a', 0)
    expect((await client.packet('publish')).properties).toMatchObject({ contentType: 'text' })
  })
})
