import { describe, expect, it } from 'vitest'
import { eventually, everything, type Fixture, frontEnd } from '../../support/front-end.ts'
import type { ConnectOptions, RawClient } from '../../support/raw-client.ts'

const DAY_S = 86_400

/** Options of a client whose session outlives its connection. */
function lasting(version: 4 | 5, more: ConnectOptions = {}): ConnectOptions {
  const properties = { sessionExpiryInterval: DAY_S, ...more.properties }
  return {
    version,
    clean: false,
    clientId: 'keeper',
    ...more,
    ...(version === 5 ? { properties } : {}),
  }
}

const present = (client: RawClient) => client.of('connack')[0]?.sessionPresent

async function publishAll(fixture: Fixture, topic: string, payloads: readonly string[], qos = 1) {
  const publisher = await fixture.connect()
  for (const [index, payload] of payloads.entries()) {
    publisher.publish(topic, payload, { qos: qos as 1, messageId: index + 1 })
    if (qos === 2) publisher.send({ cmd: 'pubrel', messageId: index + 1 } as never)
  }
  await publisher.until(
    () => publisher.of(qos === 1 ? 'puback' : 'pubcomp').length === payloads.length,
    'all acks',
  )
  await leave(fixture, publisher)
}

const numbered = (count: number, from = 0) =>
  Array.from({ length: count }, (_, index) => String(from + index))

async function leave(fixture: Fixture, client: RawClient): Promise<void> {
  const lost = fixture.mqtt.stats.closed['connection-lost']
  client.end()
  await eventually(
    () => fixture.mqtt.stats.closed['connection-lost'] > lost,
    'the connection has ended',
  )
}

describe.each([4, 5] as const)('a persistent session over MQTT version %i', (version) => {
  it('is not there at first, is there again, and is gone with a clean start', async () => {
    const fixture = await frontEnd()
    const first = await fixture.connect(lasting(version))
    expect(present(first)).toBe(false)
    await leave(fixture, first)
    const second = await fixture.connect(lasting(version))
    expect(present(second)).toBe(true)
    await leave(fixture, second)
    const clean = await fixture.connect({ version, clean: true, clientId: 'keeper' })
    expect(present(clean)).toBe(false)
    await leave(fixture, clean)
    const third = await fixture.connect(lasting(version))
    expect(present(third)).toBe(false)
  })

  it.each([1, 2] as const)(
    'gets what was published with QoS %i meanwhile, in order',
    async (qos) => {
      const fixture = await frontEnd()
      const first = await fixture.connect(lasting(version))
      await first.subscribe('a/#', qos)
      await leave(fixture, first)
      expect(fixture.mqtt.stats.subscriptions).toBe(0)
      await publishAll(fixture, 'a/b', numbered(300), qos)
      const second = await fixture.connect(lasting(version))
      await second.until(() => second.payloads.length >= 300, 'all messages')
      await publishAll(fixture, 'a/b', ['live'], qos)
      await second.until(() => second.payloads.includes('live'), 'the live message')
      expect(second.payloads).toEqual([...numbered(300), 'live'])
      expect(second.publishes.every((packet) => packet.qos === qos && !packet.dup)).toBe(true)
    },
  )

  it('keeps QoS 0 messages for nobody who is away', async () => {
    const fixture = await frontEnd()
    const first = await fixture.connect(lasting(version))
    await first.subscribe('a', 1)
    await first.subscribe('b', 0)
    await leave(fixture, first)
    const publisher = await fixture.connect()
    publisher.publish('a', 'zero')
    publisher.publish('b', 'granted zero', { qos: 1, messageId: 1 })
    await publisher.packet('puback')
    await publishAll(fixture, 'a', ['one'])
    const second = await fixture.connect(lasting(version))
    await second.packet('publish')
    await second.ping()
    expect(second.payloads).toEqual(['one'])
  })

  it('sends again what was not acknowledged: same identifiers, DUP, first order', async () => {
    const fixture = await frontEnd({ maxInflight: 5 })
    const first = await fixture.connect(lasting(version, { acks: false }))
    await first.subscribe('a', 1)
    await publishAll(fixture, 'a', numbered(20))
    await first.until(() => first.publishes.length === 5, 'a full window')
    const ids = first.publishes.map(({ messageId }) => messageId)
    first.send({ cmd: 'puback', messageId: ids[1] } as never)
    await first.until(() => first.publishes.length === 6, 'one more')
    await leave(fixture, first)
    const second = await fixture.connect(lasting(version))
    await second.until(() => second.payloads.length >= 19, 'the rest')
    await second.ping()
    expect(second.payloads).toEqual(numbered(20).filter((payload) => payload !== '1'))
    const again = second.publishes.slice(0, 5)
    expect(again.map(({ messageId }) => messageId)).toEqual([
      ids[0],
      ...ids.slice(2),
      first.publishes[5]?.messageId,
    ])
    expect(again.every(({ dup }) => dup)).toBe(true)
    expect(second.publishes.slice(5).every(({ dup }) => !dup)).toBe(true)
  })

  it('goes on with QoS 2 handshakes where they stood', async () => {
    const fixture = await frontEnd()
    const first = await fixture.connect(lasting(version, { acks: false }))
    await first.subscribe('a', 2)
    await publishAll(fixture, 'a', ['released', 'unknown'], 2)
    await first.until(() => first.publishes.length === 2, 'both messages')
    const [released, unknown] = first.publishes.map(({ messageId }) => messageId)
    first.send({ cmd: 'pubrec', messageId: released } as never)
    await first.packet('pubrel')
    await leave(fixture, first)
    const second = await fixture.connect(lasting(version, { acks: false }))
    await second.packet('publish')
    expect(second.received.slice(1).map(({ cmd, messageId }) => [cmd, messageId])).toEqual([
      ['pubrel', released],
      ['publish', unknown],
    ])
    expect(second.publishes[0]).toMatchObject({ dup: true, qos: 2 })
  })

  it('resends within a smaller window than before', async () => {
    const fixture = await frontEnd()
    const first = await fixture.connect(lasting(version, { acks: false }))
    await first.subscribe('a', 1)
    await publishAll(fixture, 'a', numbered(10))
    await first.until(() => first.publishes.length === 10, 'ten in flight')
    await leave(fixture, first)
    if (version === 4) return
    const properties = { receiveMaximum: 3 }
    const second = await fixture.connect(lasting(version, { acks: false, properties }))
    await second.until(() => second.publishes.length === 3, 'a full window')
    await second.ping()
    expect(second.payloads).toEqual(['0', '1', '2'])
    for (let sent = 0; sent < 10; sent++) {
      await second.until(() => second.publishes.length > sent, `message ${sent}`)
      second.send({ cmd: 'puback', messageId: second.publishes[sent]?.messageId } as never)
    }
    expect(second.payloads).toEqual(numbered(10))
  })

  it('has no hole and no repeat where the backlog meets the live tail', async () => {
    const fixture = await frontEnd({ maxInflight: 7 })
    const first = await fixture.connect(lasting(version))
    await first.subscribe('a', 1)
    await leave(fixture, first)
    const publisher = await fixture.connect()
    let sent = 0
    const more = () => {
      for (let i = 0; i < 10; i++, sent++) {
        publisher.publish('a', String(sent), { qos: 1, messageId: (sent % 65_535) + 1 })
      }
    }
    for (let i = 0; i < 60; i++) more()
    await publisher.until(() => publisher.of('puback').length === sent, 'acks')
    const second = await fixture.connect(lasting(version))
    while (second.payloads.length < 600) {
      more()
      await second.ping()
    }
    await second.until(() => second.payloads.length >= sent, 'all')
    await second.ping()
    expect(second.payloads).toEqual(numbered(sent))
  })

  it('gives a filter nothing older than its SUBSCRIBE, also while it reads older messages', async () => {
    const fixture = await frontEnd({ maxInflight: 3 })
    const first = await fixture.connect(lasting(version))
    await first.subscribe('a', 1)
    await leave(fixture, first)
    await publishAll(fixture, 'a', numbered(50))
    await publishAll(fixture, 'b', ['old'])
    const second = await fixture.connect(lasting(version, { acks: false }))
    await second.until(() => second.publishes.length === 3, 'a full window')
    await second.subscribe('b', 1)
    await publishAll(fixture, 'b', ['new'])
    for (let sent = 0; sent < 51; sent++) {
      await second.until(() => second.publishes.length > sent, `message ${sent}`)
      second.send({ cmd: 'puback', messageId: second.publishes[sent]?.messageId } as never)
    }
    await second.ping()
    expect(second.payloads).toEqual([...numbered(50), 'new'])
  })

  it('an UNSUBSCRIBE ends what a filter would still have got', async () => {
    const fixture = await frontEnd({ maxInflight: 2 })
    const first = await fixture.connect(lasting(version))
    await first.subscribe('a', 1)
    await leave(fixture, first)
    await publishAll(fixture, 'a', numbered(2000))
    const second = await fixture.connect(lasting(version, { acks: false }))
    await second.until(() => second.publishes.length === 2, 'a full window')
    second.send({ cmd: 'unsubscribe', messageId: 7, unsubscriptions: ['a'] } as never)
    await second.packet('unsuback')
    for (let sent = 0; sent < second.publishes.length; sent++) {
      second.send({ cmd: 'puback', messageId: second.publishes[sent]?.messageId } as never)
      await second.ping()
    }
    expect(second.payloads.length).toBeLessThan(1000)
    await leave(fixture, second)
    await publishAll(fixture, 'a', ['later'])
    const third = await fixture.connect(lasting(version))
    expect(present(third)).toBe(true)
    await third.ping()
    expect(third.payloads).toEqual([])
  })

  it('goes to the newest connection, without a hole', async () => {
    const fixture = await frontEnd({ maxInflight: 4 })
    const first = await fixture.connect(lasting(version, { acks: false }))
    await first.subscribe('a', 1)
    await publishAll(fixture, 'a', numbered(30))
    await first.until(() => first.publishes.length === 4, 'a full window')
    const second = await fixture.connect(lasting(version))
    expect(present(second)).toBe(true)
    await first.closing()
    await second.until(() => second.payloads.length >= 30, 'all')
    await second.ping()
    expect(second.payloads).toEqual(numbered(30))
    await publishAll(fixture, 'a', ['live'])
    await second.until(() => second.payloads.includes('live'), 'the live one')
  })

  it('remembers the QoS 2 messages that it has taken', async () => {
    const fixture = await frontEnd()
    const first = await fixture.connect(lasting(version))
    first.publish('a', 'once', { qos: 2, messageId: 9 })
    await first.packet('pubrec')
    await leave(fixture, first)
    const second = await fixture.connect(lasting(version))
    second.publish('a', 'once', { qos: 2, messageId: 9, dup: true })
    await second.packet('pubrec')
    second.send({ cmd: 'pubrel', messageId: 9 } as never)
    await second.packet('pubcomp')
    second.publish('a', 'another', { qos: 2, messageId: 9 })
    await second.packet('pubrec', 1)
    expect(fixture.records.map(({ payload }) => Buffer.from(payload).toString())).toEqual([
      'once',
      'another',
    ])
  })

  it('answers a QoS 2 message that an earlier connection left unkept once it is kept', async () => {
    const fixture = await frontEnd()
    const first = await fixture.connect(lasting(version))
    fixture.log.hold()
    first.publish('a', 'once', { qos: 2, messageId: 9 })
    await first.ping()
    await leave(fixture, first)
    const second = await fixture.connect(lasting(version))
    second.publish('a', 'once', { qos: 2, messageId: 9, dup: true })
    await second.ping()
    expect(second.of('pubrec')).toHaveLength(0)
    fixture.log.release()
    await second.packet('pubrec')
    expect(fixture.records).toHaveLength(1)
  })

  it('gets messages that no stream takes, by the built-in stream', async () => {
    const fixture = await frontEnd({}, [{ ...everything, name: 'events', topics: ['events/#'] }])
    const first = await fixture.connect(lasting(version))
    await first.subscribe('other/+', 1)
    await leave(fixture, first)
    await publishAll(fixture, 'other/x', ['kept'])
    await publishAll(fixture, 'third/x', ['not kept'])
    const second = await fixture.connect(lasting(version))
    await second.packet('publish')
    expect(second.payloads).toEqual(['kept'])
    expect(fixture.records.map(({ topic }) => topic)).toEqual(['other/x'])
  })
})
