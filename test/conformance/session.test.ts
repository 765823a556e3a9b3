/** Sessions that outlive their connection. */
import { describe, expect, it } from 'vitest'
import { frontEnd } from '../support/front-end.ts'
import { packet } from '../support/wire.ts'
import { cut, isPresent, lasting, publish, versions } from './given.ts'

describe.each(versions)('a session of version %i', (version) => {
  it('keeps its subscriptions, and the QoS 1 and 2 messages meanwhile', async () => {
    const fixture = await frontEnd()
    const first = await fixture.connect(lasting(version))
    await first.subscribe('a/#', 2)
    await cut(fixture, first)
    const publisher = await fixture.connect({ version })
    for (const qos of [0, 1, 2] as const) await publish(publisher, `a/${qos}`, 'x', { qos })
    const again = await fixture.connect(lasting(version))
    await again.packet('publish', 1)
    expect(again.publishes.map(({ topic, qos }) => `${topic} ${qos}`)).toEqual(['a/1 1', 'a/2 2'])
    await publish(publisher, 'a/live', 'y')
    await again.packet('publish', 2)
  })

  it('begins anew with a clean start, but retained messages stay', async () => {
    const fixture = await frontEnd()
    const first = await fixture.connect(lasting(version))
    await first.subscribe('a', 1)
    await publish(first, 'a', 'kept', { qos: 1, retain: true })
    await cut(fixture, first)
    const clean = await fixture.connect(lasting(version, { clean: true }))
    await clean.ping()
    expect([isPresent(clean), clean.publishes.length]).toEqual([false, 0])
    await clean.subscribe('a', 1)
    expect((await clean.packet('publish')).retain).toBe(true)
  })

  it('is sent again what it did not acknowledge: in order, same identifiers, DUP', async () => {
    const fixture = await frontEnd()
    const first = await fixture.connect(lasting(version, { acks: false }))
    await first.subscribe('a', 2)
    const publisher = await fixture.connect({ version })
    for (const qos of [1, 2, 1] as const) await publish(publisher, 'a', String(qos), { qos })
    await first.packet('publish', 2)
    const sent = first.publishes.map(({ messageId, payload }) => `${messageId} ${payload}`)
    await cut(fixture, first)
    const again = await fixture.connect(lasting(version))
    await again.packet('publish', 2)
    await again.ping()
    const resent = again.publishes.map(({ messageId, payload }) => `${messageId} ${payload}`)
    expect(resent).toEqual(sent)
    expect(again.publishes.map(({ dup }) => dup)).toEqual([true, true, true])
  })

  it('is sent PUBREL again, not the message, and none of it while it is connected', async () => {
    const fixture = await frontEnd()
    const first = await fixture.connect(lasting(version, { acks: false }))
    await first.subscribe('a', 2)
    const publisher = await fixture.connect({ version })
    await publish(publisher, 'a', 'x', { qos: 2 })
    const { messageId } = await first.packet('publish')
    first.send({ cmd: 'pubrec', messageId } as never)
    await first.packet('pubrel')
    await first.ping()
    expect([first.publishes.length, first.of('pubrel').length]).toEqual([1, 1])
    await cut(fixture, first)
    const again = await fixture.connect(lasting(version, { acks: false }))
    expect((await again.packet('pubrel')).messageId).toBe(messageId)
    again.send({ cmd: 'pubcomp', messageId } as never)
    await again.ping()
    expect(again.publishes).toEqual([])
  })

  it('remembers the QoS 2 identifiers that it has not released', async () => {
    const fixture = await frontEnd()
    const first = await fixture.connect(lasting(version))
    first.publish('a', 'x', { qos: 2, messageId: 9 })
    await first.packet('pubrec')
    await cut(fixture, first)
    const again = await fixture.connect(lasting(version))
    again.publish('a', 'x', { qos: 2, messageId: 9, dup: true })
    await again.packet('pubrec')
    again.send({ cmd: 'pubrel', messageId: 9 } as never)
    await again.packet('pubcomp')
    expect(fixture.records).toHaveLength(1)
  })
})

describe('a session of MQTT 5', () => {
  it('ends with its expiry interval, and not before', async () => {
    const fixture = await frontEnd()
    const options = lasting(5, { properties: { sessionExpiryInterval: 10 } })
    await cut(fixture, await fixture.connect(options))
    fixture.clock.advance(9000)
    await fixture.mqtt.maintainSessions()
    const again = await fixture.connect(options)
    expect(isPresent(again)).toBe(true)
    await cut(fixture, again)
    fixture.clock.advance(10_001)
    await fixture.mqtt.maintainSessions()
    expect(isPresent(await fixture.connect(options))).toBe(false)
  })

  it('goes on with a handshake whose message expires meanwhile', async () => {
    const fixture = await frontEnd()
    const first = await fixture.connect(lasting(5, { acks: false }))
    await first.subscribe('a', 2)
    const publisher = await fixture.connect({ version: 5 })
    const properties = { messageExpiryInterval: 2 }
    await publish(publisher, 'a', 'x', { qos: 2, properties })
    const { messageId } = await first.packet('publish')
    fixture.clock.advance(5000)
    first.send({ cmd: 'pubrec', messageId } as never)
    expect((await first.packet('pubrel')).messageId).toBe(messageId)
    await cut(fixture, first)
    const again = await fixture.connect(lasting(5, { acks: false }))
    expect((await again.packet('pubrel')).messageId).toBe(messageId)
  })

  it('is sent again what has expired since it was sent first', async () => {
    const fixture = await frontEnd()
    const first = await fixture.connect(lasting(5, { acks: false }))
    await first.subscribe('a', 2)
    const publisher = await fixture.connect({ version: 5 })
    const properties = { messageExpiryInterval: 2 }
    await publish(publisher, 'a', 'x', { qos: 2, properties })
    const { messageId } = await first.packet('publish')
    fixture.clock.advance(5000)
    await cut(fixture, first)
    const again = await fixture.connect(lasting(5))
    expect(await again.packet('publish')).toMatchObject({ messageId, dup: true })
  })

  it('has its will published after the delay, unless the client comes back before', async () => {
    const fixture = await frontEnd()
    const witness = await fixture.connect({ version: 5 })
    await witness.subscribe('gone')
    const will = {
      topic: 'gone',
      payload: Buffer.from('w'),
      qos: 0,
      retain: false,
      properties: { willDelayInterval: 5 },
    }
    await cut(fixture, await fixture.connect(lasting(5, { will })))
    const again = await fixture.connect(lasting(5))
    again.bytes(packet(0xe0))
    await again.closing()
    fixture.clock.advance(10_000)
    await witness.ping()
    expect(witness.publishes).toEqual([])
  })
})
