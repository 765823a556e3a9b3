import { connectAsync } from 'mqtt'
import type { IPublishPacket, ISubackPacket } from 'mqtt-packet'
import { describe, expect, it, onTestFinished } from 'vitest'
import { eventually, frontEnd } from '../../support/front-end.ts'
import type { RawClient } from '../../support/raw-client.ts'
import { Site } from '../sessions/given.ts'

async function granted(client: RawClient, filter: string, qos: 0 | 1 | 2 = 1, more: object = {}) {
  return ((await client.subscribe(filter, qos, more)) as ISubackPacket).granted
}

const numbers = (count: number, from = 0) =>
  Array.from({ length: count }, (_, index) => String(from + index))

describe('$share/<group>/<filter>', () => {
  it.each([4, 5] as const)(
    'gives each message to one member, in turn (version %i)',
    async (version) => {
      const { connect } = await frontEnd()
      const [one, other] = [await connect({ version }), await connect({ version })]
      expect(await granted(one, '$share/g/a/#')).toEqual([1])
      expect(await granted(other, '$share/g/a/#')).toEqual([1])
      const publisher = await connect({ version: 5 })
      for (const text of numbers(10))
        publisher.publish('a/b', text, { qos: 1, messageId: 1 + +text })
      await one.until(() => one.publishes.length === 5, 'half of them')
      await other.until(() => other.publishes.length === 5, 'the other half')
      expect([...one.payloads, ...other.payloads].sort()).toEqual(numbers(10))
    },
  )

  it('is said in CONNACK to be there', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version: 5 })
    expect(client.of('connack')[0]?.properties?.sharedSubscriptionAvailable).not.toBe(false)
  })

  it.each([
    ['$share//a', 0x81],
    ['$share/g', 0x81],
    ['$share/g/', 0x81],
    ['$share/+/a', 0x81],
    ['$share/g#/a', 0x81],
  ])('ends the connection for %s [MQTT-4.8.2-1] [MQTT-4.8.2-2]', async (filter, reason) => {
    const { connect } = await frontEnd()
    const client = await connect({ version: 5 })
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos: 0 }] })
    expect((await client.packet('disconnect')).reasonCode).toBe(reason)
  })

  it('refuses a name that is none to MQTT 3.1.1, which knows no shared subscriptions', async () => {
    const { connect } = await frontEnd()
    expect(await granted(await connect({ version: 4 }), '$share//a')).toEqual([0x80])
  })

  it('ends the connection for No Local [MQTT-3.8.3-4]', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version: 5 })
    client.send({
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [{ topic: '$share/g/a', qos: 0, nl: true }],
    })
    expect((await client.packet('disconnect')).reasonCode).toBe(0x82)
  })

  it("sends no retained messages, with its identifier, beside the client's own subscriptions", async () => {
    const { connect } = await frontEnd()
    const publisher = await connect({ version: 5 })
    publisher.publish('a', 'old', { qos: 1, messageId: 1, retain: true })
    await publisher.packet('puback')
    const client = await connect({ version: 5 })
    client.send({
      cmd: 'subscribe',
      messageId: 7,
      subscriptions: [{ topic: '$share/g/a', qos: 1 }],
      properties: { subscriptionIdentifier: 9 },
    })
    await client.packet('suback')
    await client.subscribe('a', 0, { rh: 2 })
    publisher.publish('a', 'new', { qos: 1, messageId: 2 })
    await client.until(() => client.publishes.length === 2, 'both')
    const ids = client.publishes.map((p: IPublishPacket) => p.properties?.subscriptionIdentifier)
    expect(client.payloads).toEqual(['new', 'new'])
    expect(ids).toContain(9)
    expect(ids).toContain(undefined)
  })

  it('is of several groups at once, each of which gets every message', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version: 5 })
    await granted(client, '$share/g/a')
    await granted(client, '$share/h/a')
    const publisher = await connect()
    publisher.publish('a', 'x', { qos: 1, messageId: 1 })
    await client.until(() => client.publishes.length === 2, 'one for each group')
  })

  it('gives what a leaver did not acknowledge to the others', async () => {
    const { connect } = await frontEnd()
    const lazy = await connect({ version: 5, acks: false })
    await granted(lazy, '$share/g/a')
    const publisher = await connect()
    for (const text of numbers(6)) publisher.publish('a', text, { qos: 1, messageId: 1 + +text })
    await lazy.until(() => lazy.publishes.length === 6, 'all to the only member')
    const other = await connect({ version: 5 })
    await granted(other, '$share/g/a')
    lazy.end()
    await other.until(() => other.publishes.length === 6, 'all to the one that is left')
    expect(other.payloads).toEqual(numbers(6))
    expect(other.publishes.every(({ dup }) => dup)).toBe(true)
  })

  it('is left with UNSUBSCRIBE', async () => {
    const { connect, mqtt } = await frontEnd()
    const client = await connect({ version: 5 })
    await granted(client, '$share/g/a')
    expect(mqtt.stats.subscriptions).toBe(1)
    client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['$share/g/a', '$share/h/a'] })
    expect((await client.packet('unsuback')).granted).toEqual([0, 0x11])
    expect(mqtt.stats.subscriptions).toBe(0)
    const publisher = await connect()
    publisher.publish('a', 'x', { qos: 1, messageId: 1 })
    await publisher.packet('puback')
    await client.ping()
    expect(client.publishes).toEqual([])
  })

  it('gives a member only what the rules grant it', async () => {
    const { connect } = await frontEnd({}, undefined, {
      anonymous: true,
      rules: [
        { user: '*', allow: ['publish'], topics: ['a/#'] },
        { user: '*', allow: ['subscribe'], topics: ['a/{client}'] },
      ],
    } as never)
    const [x, y] = [
      await connect({ version: 5, clientId: 'x' }),
      await connect({ version: 5, clientId: 'y' }),
    ]
    expect(await granted(x, '$share/g/b')).toEqual([0x87])
    await granted(x, '$share/g/a/#')
    await granted(y, '$share/g/a/#')
    const publisher = await connect()
    publisher.publish('a/z', 'for nobody', { qos: 1, messageId: 99 })
    for (const text of numbers(6)) publisher.publish('a/y', text, { qos: 1, messageId: 1 + +text })
    await y.until(() => y.publishes.length === 6, 'all that only one may have')
    expect(x.publishes).toEqual([])
  })

  it('serves mqtt.js', async () => {
    const { port } = await frontEnd()
    const client = await connectAsync(`mqtt://127.0.0.1:${port}`, { protocolVersion: 5 })
    onTestFinished(() => client.endAsync(true))
    const got: string[] = []
    client.on('message', (_topic, payload) => got.push(String(payload)))
    await client.subscribeAsync('$share/workers/jobs/#', { qos: 2 })
    await client.publishAsync('jobs/1', 'do', { qos: 2 })
    await eventually(() => got.length === 1, 'the message')
  })
})

describe('a member with a persistent session', () => {
  const session = { version: 5, clean: false, properties: { sessionExpiryInterval: 3600 } } as const

  it('keeps the group while it is away, over a restart, also for topics of no stream', async () => {
    const site = await new Site({}, []).start()
    const member = await site.connect({ ...session, clientId: 'm' })
    await granted(member, '$share/g/a/#')
    member.end()
    await eventually(() => site.run.mqtt.stats.connections === 0, 'it is gone')
    const publisher = await site.connect()
    for (const text of numbers(5)) publisher.publish('a/b', text, { qos: 1, messageId: 1 + +text })
    await publisher.packet('puback', 4)
    await site.restart()
    const again = await site.connect({ ...session, clientId: 'm' })
    await again.until(() => again.publishes.length === 5, 'what was published meanwhile')
    expect(again.payloads).toEqual(numbers(5))
  })

  it('ends the group with the session', async () => {
    const site = await new Site({}, []).start()
    const member = await site.connect({ ...session, clientId: 'm' })
    await granted(member, '$share/g/a/#')
    const cursors = () => site.run.log.state.cursors.list().map(({ name }) => name)
    expect(cursors()).toContain('share/g/a/#/default')
    member.send({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 0 } })
    await eventually(() => cursors().length === 0, 'no cursor is left')
  })

  it('takes over a group that members without one began', async () => {
    const site = await new Site({}).start()
    const clean = await site.connect({ version: 5, acks: false })
    await granted(clean, '$share/g/a/#')
    const publisher = await site.connect()
    publisher.publish('a', 'open', { qos: 1, messageId: 1 })
    await clean.until(() => clean.publishes.length === 1, 'one that it does not acknowledge')
    const member = await site.connect({ ...session, clientId: 'm' })
    await granted(member, '$share/g/a/#')
    member.end()
    clean.end()
    await eventually(() => site.run.mqtt.stats.connections === 1, 'both are gone')
    publisher.publish('a', 'later', { qos: 1, messageId: 2 })
    await publisher.packet('puback', 1)
    const again = await site.connect({ ...session, clientId: 'm' })
    await again.until(() => again.publishes.length === 2, 'both')
    expect(again.payloads).toEqual(['open', 'later'])
  })
})
