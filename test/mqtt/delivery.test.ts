import { describe, expect, it } from 'vitest'
import { eventually, everything, frontEnd } from '../support/front-end.ts'
import type { RawClient } from '../support/raw-client.ts'

/** Publishes `count` numbered messages and waits for their acks. */
async function publishMany(
  client: RawClient,
  topic: string,
  count: number,
  size = 0,
): Promise<void> {
  const acked = client.of('puback').length
  for (let i = 0; i < count; i++) {
    const payload = Buffer.concat([Buffer.from(String(i)), Buffer.alloc(size, ' ')])
    client.publish(topic, payload, { qos: 1, messageId: (i % 65_535) + 1 })
  }
  await client.until(() => client.of('puback').length === acked + count, `${count} acks`)
}

const numbers = (client: RawClient) => client.payloads.map((text) => Number(text))
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i)

describe.each([4, 5] as const)('delivery over MQTT version %i', (version) => {
  it.each([
    [0, 2, 0],
    [1, 2, 1],
    [2, 2, 2],
    [2, 1, 1],
    [2, 0, 0],
    [1, 0, 0],
  ] as const)(
    'D1: QoS %i to a subscription with QoS %i arrives with QoS %i',
    async (published, granted, got) => {
      const { connect } = await frontEnd()
      const client = await connect({ version })
      await client.subscribe('a/+', granted)
      client.publish('a/b', 'x', { qos: published, messageId: 9 })
      const packet = await client.packet('publish')
      expect(packet).toMatchObject({ topic: 'a/b', qos: got, retain: false, dup: false })
      await client.ping()
      expect(client.publishes).toHaveLength(1)
    },
  )

  it('sends one copy, at the highest QoS, to overlapping subscriptions', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version })
    await client.subscribe('a/#', 0)
    await client.subscribe('a/b', 2)
    await client.subscribe('+/b', 1)
    client.publish('a/b', 'x', { qos: 2, messageId: 9 })
    await client.packet('publish')
    await client.ping()
    expect(client.publishes.map(({ qos }) => qos)).toEqual([2])
  })

  it('does not forward the DUP flag of the publisher', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version })
    await client.subscribe('a', 1)
    client.publish('a', 'x', { qos: 1, messageId: 4, dup: true })
    expect((await client.packet('publish')).dup).toBe(false)
  })

  it('goes through the whole QoS 2 handshake', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version, acks: false })
    await client.subscribe('a', 2)
    client.publish('a', 'x', { qos: 2, messageId: 4 })
    const { messageId } = await client.packet('publish')
    client.send({ cmd: 'pubrec', messageId } as never)
    expect(await client.packet('pubrel')).toMatchObject({ messageId })
    client.send({ cmd: 'pubrec', messageId } as never)
    expect(await client.packet('pubrel', 1)).toMatchObject({ messageId })
    client.send({ cmd: 'pubcomp', messageId } as never)
    await client.ping()
    expect(client.publishes).toHaveLength(1)
  })

  it('W1: keeps no more in flight than the window, and the rest in order', async () => {
    const { connect } = await frontEnd({ maxInflight: 5 })
    const subscriber = await connect({ version, acks: false })
    await subscriber.subscribe('a', 1)
    const publisher = await connect({ version })
    await publishMany(publisher, 'a', 40)
    await subscriber.ping()
    expect(numbers(subscriber)).toEqual(upTo(5))
    for (let sent = 0; sent < 40; sent++) {
      await subscriber.until(() => subscriber.publishes.length > sent, `message ${sent}`)
      const unacknowledged = subscriber.publishes.length - sent
      expect(unacknowledged).toBeLessThanOrEqual(5)
      subscriber.send({ cmd: 'puback', messageId: subscriber.publishes[sent]?.messageId } as never)
    }
    await subscriber.ping()
    expect(numbers(subscriber)).toEqual(upTo(40))
  })

  it('D3: reads the log for a subscriber that is far behind: nothing missing, nothing twice', async () => {
    const { connect, mqtt } = await frontEnd({ maxInflight: 3 })
    const subscriber = await connect({ version, acks: false })
    await subscriber.subscribe('a/#', 1)
    const publisher = await connect({ version })
    await publishMany(publisher, 'a/b', 9000)
    expect(mqtt.stats.laggingSubscribers).toBe(1)
    let acked = 0
    const ack = () => {
      const ids = subscriber.publishes.slice(acked).map(({ messageId }) => messageId)
      acked += ids.length
      for (const messageId of ids) subscriber.send({ cmd: 'puback', messageId } as never)
    }
    subscriber.socket.on('data', ack)
    ack()
    // While it catches up, more arrives: the seam between log and live tail must not show.
    await publishMany(publisher, 'a/b', 500)
    await subscriber.until(() => subscriber.publishes.length >= 9500, '9,500 messages')
    expect(numbers(subscriber)).toEqual([...upTo(9000), ...upTo(500)])
    await eventually(() => mqtt.stats.laggingSubscribers === 0, 'it has caught up')
    await publishMany(publisher, 'a/b', 3)
    await subscriber.until(() => subscriber.publishes.length >= 9503, 'live again')
    expect(subscriber.publishes).toHaveLength(9503)
    expect(mqtt.stats.dropped['slow-subscriber']).toBe(0)
  })

  it('D4: a subscriber that does not read delays nobody, and what it loses is counted', async () => {
    const { connect, mqtt } = await frontEnd()
    const stuck = await connect({ version })
    await stuck.subscribe('a', 0)
    stuck.socket.pause()
    const healthy = await connect({ version })
    await healthy.subscribe('a', 0)
    const publisher = await connect({ version })
    await publishMany(publisher, 'a', 20_000, 1000)
    await healthy.until(() => healthy.publishes.length === 20_000, 'all messages')
    // Queue and socket hold some of the 20 MB; the rest was dropped for the stuck one alone.
    expect(mqtt.stats.dropped['slow-subscriber']).toBeGreaterThan(0)
    expect(mqtt.stats.delivered[0] + mqtt.stats.dropped['slow-subscriber']).toBeLessThanOrEqual(
      40_000,
    )
  })

  it('D3: counts what left the log before a lagging subscriber came to it', async () => {
    const { connect, mqtt, log } = await frontEnd({ maxInflight: 3 })
    const subscriber = await connect({ version, acks: false })
    await subscriber.subscribe('a', 1)
    await publishMany(await connect({ version }), 'a', 9000)
    const read = log.read.bind(log)
    log.read = (query) => read({ ...query, from: Math.max(query.from, 8000) as never })
    for (let acked = 0; mqtt.stats.laggingSubscribers > 0; ) {
      const known = subscriber.publishes.length
      for (; acked < known; acked++) {
        const { messageId } = subscriber.publishes[acked] ?? {}
        subscriber.send({ cmd: 'puback', messageId } as never)
      }
      await subscriber.until(
        () => subscriber.publishes.length > known || mqtt.stats.laggingSubscribers === 0,
        'more',
      )
    }
    const gone = mqtt.stats.dropped['lagged-past-retention']
    expect(gone).toBeGreaterThan(7000)
    expect(gone).toBeLessThanOrEqual(8000)
  })

  it('D3: bounds what a stuck subscriber holds of messages that no stream takes', async () => {
    const { connect, mqtt } = await frontEnd({}, [{ ...everything, topics: ['kept/#'] }])
    const stuck = await connect({ version, acks: false })
    await stuck.subscribe('live/#', 1)
    const publisher = await connect({ version })
    await publishMany(publisher, 'live/a', 300, 100_000)
    // The window of 64 and 1 MiB of queue are kept; 30 MB were published.
    expect(mqtt.stats.dropped['slow-subscriber']).toBeGreaterThan(200)
  })

  it('W2: gives each message in flight an identifier of its own', async () => {
    const { connect } = await frontEnd({ maxInflight: 50 })
    const subscriber = await connect({ version, acks: false })
    await subscriber.subscribe('a', 1)
    await publishMany(await connect({ version }), 'a', 50)
    await subscriber.until(() => subscriber.publishes.length === 50, '50 messages')
    expect(new Set(subscriber.publishes.map(({ messageId }) => messageId)).size).toBe(50)
  })

  it('ends a subscription with UNSUBSCRIBE and with the connection', async () => {
    const { connect, mqtt } = await frontEnd()
    const client = await connect({ version })
    await client.subscribe('a/#', 1)
    await client.subscribe('b', 1)
    expect(mqtt.stats.subscriptions).toBe(2)
    client.send({ cmd: 'unsubscribe', messageId: 5, unsubscriptions: ['a/#'] } as never)
    await client.packet('unsuback')
    client.publish('a/x', 'not for me', { qos: 1, messageId: 1 })
    client.publish('b', 'for me', { qos: 1, messageId: 2 })
    await client.packet('publish')
    expect(client.payloads).toEqual(['for me'])
    client.end()
    await eventually(() => mqtt.stats.subscriptions === 0, 'the subscriptions are gone')
    expect(mqtt.stats.connections).toBe(0)
  })

  it('closes the older connection when a client id comes again', async () => {
    const { connect, mqtt } = await frontEnd()
    const older = await connect({ version, clientId: 'twin' })
    await older.subscribe('a', 0)
    const newer = await connect({ version, clientId: 'twin' })
    await older.closing()
    if (version === 5) expect(older.of('disconnect')[0]).toMatchObject({ reasonCode: 0x8e })
    await newer.ping()
    expect(mqtt.stats.connections).toBe(1)
    expect(mqtt.stats.subscriptions).toBe(0)
    expect(mqtt.stats.closed['taken-over']).toBe(1)
  })
})

describe('delivery over MQTT 5', () => {
  it('W1: respects the receive maximum of the client', async () => {
    const { connect } = await frontEnd()
    const subscriber = await connect({ version: 5, acks: false, properties: { receiveMaximum: 2 } })
    await subscriber.subscribe('a', 2)
    await publishMany(await connect(), 'a', 10)
    await subscriber.ping()
    expect(subscriber.publishes).toHaveLength(2)
  })

  it('drops what is larger than the client takes, and counts it', async () => {
    const { connect, mqtt } = await frontEnd()
    const subscriber = await connect({ version: 5, properties: { maximumPacketSize: 60 } })
    await subscriber.subscribe('a', 1)
    const publisher = await connect()
    publisher.publish('a', Buffer.alloc(100), { qos: 1, messageId: 1 })
    publisher.publish('a', 'small', { qos: 1, messageId: 2 })
    await subscriber.packet('publish')
    expect(subscriber.payloads).toEqual(['small'])
    expect(mqtt.stats.dropped['too-large-for-subscriber']).toBe(1)
  })

  it('does not send a client its own message under No Local', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version: 5 })
    await client.subscribe('a', 1, { nl: true })
    const other = await connect({ version: 5 })
    client.publish('a', 'mine', { qos: 1, messageId: 1 })
    await client.packet('puback')
    other.publish('a', 'theirs', { qos: 1, messageId: 1 })
    await client.packet('publish')
    expect(client.payloads).toEqual(['theirs'])
  })

  it('adds the identifiers of all matching subscriptions', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version: 5 })
    for (const [topic, subscriptionIdentifier] of [
      ['a/#', 7],
      ['a/b', 200_000],
    ] as const) {
      client.send({
        cmd: 'subscribe',
        messageId: subscriptionIdentifier % 60_000,
        subscriptions: [{ topic, qos: 1 }],
        properties: { subscriptionIdentifier },
      } as never)
    }
    await client.packet('suback', 1)
    client.publish('a/b', 'x', { qos: 1, messageId: 1 })
    const { properties } = await client.packet('publish')
    expect(properties?.subscriptionIdentifier).toEqual([7, 200_000])
  })

  it('keeps the retain flag under Retain As Published', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version: 5 })
    await client.subscribe('a', 0, { rap: true })
    client.publish('a', 'x', { retain: true })
    expect((await client.packet('publish')).retain).toBe(true)
  })

  it('tells clients that the server shuts down', async () => {
    const { connect, mqtt } = await frontEnd()
    const client = await connect({ version: 5 })
    const closing = mqtt.close()
    expect(await client.packet('disconnect')).toMatchObject({ reasonCode: 0x8b })
    await client.closing()
    await closing
    expect(client.of('disconnect')).toHaveLength(1)
    expect(mqtt.stats.closed.shutdown).toBe(1)
  })
})
