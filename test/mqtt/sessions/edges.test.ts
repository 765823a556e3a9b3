import { describe, expect, it } from 'vitest'
import { eventually, everything, frontEnd } from '../../support/front-end.ts'
import { numbered, present, Site } from './given.ts'

const CURSOR = 'session/keeper/default'

describe('a session', () => {
  it('gets what a stream took that the configuration has only since', async () => {
    const streams = [everything]
    const site = await new Site({}, streams).start()
    const first = await site.keeper()
    await first.subscribe('doors/#', 1)
    await site.leave(first)
    streams.unshift({ ...everything, name: 'doors', topics: ['doors/#'] })
    await site.restart()
    await site.publish('doors/1', numbered(3))
    expect(site.run.log.state.cursors.get('session/keeper/doors')).toBeDefined()
    const second = await site.keeper()
    await second.until(() => second.payloads.length >= 3, 'all that it missed')
    expect(second.payloads).toEqual(numbered(3))
  })

  it('loses nothing to a connection that ends before it begins', async () => {
    const site = await new Site().start()
    const first = await site.keeper()
    await first.subscribe('a', 1)
    await site.leave(first)
    await site.publish('a', numbered(3))
    const { stats } = site.run.mqtt
    const refused = stats.closed.refused
    site.keeper({ properties: { maximumPacketSize: 2 } }).catch(() => undefined)
    await eventually(() => stats.closed.refused > refused, 'no CONNACK is short enough')
    const second = await site.keeper()
    expect(present(second)).toBe(true)
    await second.until(() => second.payloads.length >= 3, 'all that it missed')
  })

  it('leaves no cursor when a filter goes before its cursor is there', async () => {
    const site = await new Site().start()
    const client = await site.keeper()
    client.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [{ topic: 'a', qos: 1 }],
    } as never)
    client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['a'] } as never)
    await client.until(() => client.of('unsuback').length === 1, 'UNSUBACK')
    await client.until(() => client.of('suback').length === 1, 'SUBACK')
    const { cursors } = site.run.log.state
    await eventually(() => cursors.get(CURSOR) === undefined, 'the cursor goes')
  })

  it('is told of its subscription before it gets what is retained', async () => {
    const site = await new Site().start()
    const publisher = await site.connect()
    publisher.publish('a', 'kept', { qos: 1, messageId: 1, retain: true })
    await publisher.packet('puback')
    const client = await site.keeper()
    await client.subscribe('a', 1)
    await client.packet('publish')
    expect(client.received.map(({ cmd }) => cmd)).toEqual(['connack', 'suback', 'publish'])
  })
})

describe('a QoS 2 handshake that goes on', () => {
  it('sends no PUBREL before the disk knows of the PUBREC of an earlier connection', async () => {
    const fixture = await frontEnd()
    const keeper = { version: 4, clean: false, clientId: 'keeper', acks: false } as const
    const first = await fixture.connect(keeper)
    await first.subscribe('a', 2)
    const publisher = await fixture.connect()
    publisher.publish('a', 'once', { qos: 2, messageId: 1 })
    const { messageId } = await first.packet('publish')
    const { documents } = fixture.log.state
    const putNow = documents.putNow.bind(documents)
    let answer = (): void => undefined
    const disk = new Promise<void>((resolve) => {
      answer = resolve
    })
    documents.putNow = (writes) => disk.then(() => putNow(writes))
    first.send({ cmd: 'pubrec', messageId } as never)
    await first.ping()
    first.end()
    const second = await fixture.connect(keeper)
    await second.ping()
    expect(second.of('pubrel')).toEqual([])
    answer()
    await second.packet('pubrel')
  })
})

describe('retained messages that wait for room', () => {
  it('are sent also when a live message of their topic comes that is not retained', async () => {
    const fixture = await frontEnd({ maxInflight: 1 })
    const publisher = await fixture.connect()
    for (const [index, topic] of ['a/1', 'a/2'].entries()) {
      publisher.publish(topic, 'kept', { qos: 1, messageId: index + 1, retain: true })
    }
    await publisher.until(() => publisher.of('puback').length === 2, 'both')
    const client = await fixture.connect({ acks: false })
    await client.subscribe('a/#', 1)
    await client.until(() => client.publishes.length === 1, 'the first')
    publisher.publish('a/1', 'live', { qos: 1, messageId: 3 })
    publisher.publish('a/2', 'live', { qos: 1, messageId: 4 })
    await publisher.until(() => publisher.of('puback').length === 4, 'both live ones')
    for (let got = 1; got <= 4; got++) {
      await client.until(() => client.publishes.length === got, `message ${got}`)
      const { messageId } = client.publishes[got - 1] ?? {}
      client.send({ cmd: 'puback', messageId } as never)
    }
    const seen = client.publishes.map(({ topic, retain }) => `${topic} ${retain}`)
    expect(seen.slice(0, 2).sort()).toEqual(['a/1 true', 'a/2 true'])
    expect(seen.slice(2)).toEqual(['a/1 false', 'a/2 false'])
  })
})
