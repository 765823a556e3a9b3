/** SUBSCRIBE, UNSUBSCRIBE, topic filters and shared subscriptions. */
import type { IUnsubackPacket } from 'mqtt-packet'
import { describe, expect, it } from 'vitest'
import { frontEnd } from '../support/front-end.ts'
import type { RawClient } from '../support/raw-client.ts'
import { packet, string } from '../support/wire.ts'
import { allTold, cut, lasting, noProperties, publish, versions } from './given.ts'

const granted = (client: RawClient, index = 0): unknown[] =>
  ((client.of('suback')[index]?.granted ?? []) as unknown[]).map((one) =>
    typeof one === 'number' ? one : Object(one).qos,
  )

async function unsubscribe(client: RawClient, ...filters: string[]): Promise<IUnsubackPacket> {
  const before = client.of('unsuback').length
  client.send({ cmd: 'unsubscribe', messageId: 77 + before, unsubscriptions: filters } as never)
  return (await client.packet('unsuback', before)) as IUnsubackPacket
}

describe.each(versions)('SUBSCRIBE of version %i', (version) => {
  it('is answered with its identifier, a code for each filter, and the QoS that it gets', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version })
    const filters = [string('a'), [2], string('b/'.repeat(150)), [1], string('c'), [0]]
    const parts = filters.map((part) => Buffer.from(part as Buffer))
    client.bytes(packet(0x82, [1, 2], noProperties(version), ...parts))
    expect((await client.packet('suback')).messageId).toBe(0x102)
    expect(granted(client)).toEqual([2, version === 5 ? 0x8f : 0x80, 0])
    expect(client.of('suback')).toHaveLength(1)
  })

  it('replaces the subscription of the same filter without losing a message', async () => {
    const { connect } = await frontEnd()
    const publisher = await connect({ version })
    await publish(publisher, 'a', 'kept', { qos: 1, retain: true })
    const client = await connect({ version })
    await client.subscribe('a', 2)
    await client.subscribe('a', 0)
    await publish(publisher, 'a', 'x', { qos: 2 })
    await client.packet('publish', 2)
    expect(allTold(client)).toEqual(['a kept 1 retained', 'a kept 0 retained', 'a x 0'])
  })

  it('sends overlapping subscriptions one copy, at the highest QoS', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version })
    for (const [filter, qos] of [
      ['a/#', 0],
      ['a/+', 2],
      ['+/b', 1],
    ] as const) {
      await client.subscribe(filter, qos)
    }
    const publisher = await connect({ version })
    await publish(publisher, 'a/b', 'x', { qos: 2 })
    await client.packet('publish')
    await client.ping()
    expect(allTold(client)).toEqual(['a/b x 2'])
  })

  it.each([
    ['a/#', ['a', 'a/', 'a/b', 'a/b/c'], ['b', 'A', 'aa']],
    ['#', ['a', '/', '/a/b'], ['$SYS/broker/uptime']],
    ['+', ['a'], ['/a', 'a/b', 'a/']],
    ['/+', ['/a', '/'], ['a', 'a/b']],
    ['+/+', ['/a', 'a/', '/'], ['a', '/a/b', '$SYS/x']],
    ['a/+/c', ['a/b/c', 'a//c'], ['a/c', 'a/b/b/c']],
    ['+/b/#', ['a/b', '/b/c/d'], ['b', 'a/c/b']],
  ])('%s matches what it should', async (filter, matching, others) => {
    const { connect } = await frontEnd()
    const client = await connect({ version })
    await client.subscribe(filter)
    const publisher = await connect({ version })
    for (const topic of [...others, ...matching]) await publish(publisher, topic, 'x')
    await client.until(() => client.publishes.length >= matching.length, 'all messages')
    await client.ping()
    expect(client.publishes.map(({ topic }) => topic)).toEqual(matching)
  })

  it('UNSUBSCRIBE ends exactly its filters, and is answered also for others', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version })
    for (const filter of ['a', 'b', 'c/+']) await client.subscribe(filter)
    const ack = await unsubscribe(client, 'a', 'c/d', 'c/+')
    expect(ack.messageId).toBe(77)
    expect((await unsubscribe(client, 'nothing')).messageId).toBe(78)
    if (version === 5) expect(ack.granted).toEqual([0, 0x11, 0])
    const publisher = await connect({ version })
    for (const topic of ['a', 'c/d', 'b']) await publish(publisher, topic, 'x')
    await client.packet('publish')
    expect(client.publishes.map(({ topic }) => topic)).toEqual(['b'])
  })

  it('UNSUBSCRIBE leaves the handshakes that have begun', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version, acks: false })
    await client.subscribe('a', 2)
    const publisher = await connect({ version })
    await publish(publisher, 'a', 'x', { qos: 2 })
    const { messageId } = await client.packet('publish')
    await unsubscribe(client, 'a')
    await publish(publisher, 'a', 'y', { qos: 2 })
    client.send({ cmd: 'pubrec', messageId } as never)
    expect((await client.packet('pubrel')).messageId).toBe(messageId)
    client.send({ cmd: 'pubcomp', messageId } as never)
    await client.ping()
    expect(client.payloads).toEqual(['x'])
  })

  it('$share divides the messages of a filter among its group', async () => {
    const fixture = await frontEnd()
    const { connect } = fixture
    const members = [await connect({ version }), await connect({ version })]
    const alone = await connect({ version })
    for (const member of members) await member.subscribe('$share/g/a/+', 1)
    await alone.subscribe('$share/other/a/+', 1)
    const publisher = await connect({ version })
    for (let n = 0; n < 10; n++) await publish(publisher, `a/${n}`, String(n), { qos: 2 })
    const all = () => members.flatMap(({ publishes }) => publishes)
    await alone.until(() => alone.publishes.length === 10, 'all messages of the other group')
    await members[0]?.until(() => all().length === 10, 'all messages of the group')
    expect(new Set(all().map(({ payload }) => String(payload))).size).toBe(10)
    expect(members.map(({ publishes }) => publishes.length)).toEqual([5, 5])
    expect(new Set(all().map(({ qos }) => qos))).toEqual(new Set([1]))
  })

  it('$share gives what a leaver did not acknowledge to another', async () => {
    const fixture = await frontEnd()
    const { connect } = fixture
    const leaver = await connect({ version, acks: false })
    await leaver.subscribe('$share/g/a', 1)
    const publisher = await connect({ version })
    await publish(publisher, 'a', 'x', { qos: 1 })
    await leaver.packet('publish')
    const stays = await connect({ version })
    await stays.subscribe('$share/g/a', 1)
    await cut(fixture, leaver)
    await stays.packet('publish')
    expect(stays.payloads).toEqual(['x'])
  })

  it('$share does not send again what a member refuses', async () => {
    const { connect } = await frontEnd()
    if (version === 4) return
    const member = await connect({ version, acks: false })
    await member.subscribe('$share/g/a', 1)
    const publisher = await connect({ version })
    await publish(publisher, 'a', 'no', { qos: 1 })
    const { messageId } = await member.packet('publish')
    member.send({ cmd: 'puback', messageId, reasonCode: 0x97 } as never)
    await publish(publisher, 'a', 'next', { qos: 1 })
    await member.packet('publish', 1)
    await member.ping()
    expect(member.payloads).toEqual(['no', 'next'])
  })

  it('$share gives nobody else what its member has taken over', async () => {
    const fixture = await frontEnd()
    const member = await fixture.connect({ version, acks: false })
    await member.subscribe('$share/g/a', 2)
    const publisher = await fixture.connect({ version })
    await publish(publisher, 'a', 'x', { qos: 2 })
    const { messageId } = await member.packet('publish')
    member.send({ cmd: 'pubrec', messageId } as never)
    await member.packet('pubrel')
    const other = await fixture.connect({ version })
    await other.subscribe('$share/g/a', 2)
    await cut(fixture, member)
    await publish(publisher, 'a', 'next', { qos: 1 })
    await other.packet('publish')
    expect(other.payloads).toEqual(['next'])
  })

  it('$share goes on with a QoS 2 handshake of the member that comes back', async () => {
    const fixture = await frontEnd()
    const member = await fixture.connect(lasting(version, { acks: false }))
    await member.subscribe('$share/g/a', 2)
    const publisher = await fixture.connect({ version })
    await publish(publisher, 'a', 'x', { qos: 2 })
    const { messageId } = await member.packet('publish')
    member.send({ cmd: 'pubrec', messageId } as never)
    await member.packet('pubrel')
    const other = await fixture.connect({ version })
    await other.subscribe('$share/g/a', 2)
    await cut(fixture, member)
    const again = await fixture.connect(lasting(version))
    expect((await again.packet('pubrel')).messageId).toBe(messageId)
    await again.ping()
    await other.ping()
    expect([...again.publishes, ...other.publishes]).toEqual([])
  })
})

describe('subscription options of MQTT 5', () => {
  it('No Local keeps the own messages of a client from it', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version: 5 })
    const other = await connect({ version: 5 })
    for (const one of [client, other]) await one.subscribe('a', 1, { nl: true })
    await publish(client, 'a', 'mine', { qos: 1 })
    await other.packet('publish')
    await client.ping()
    expect([client.payloads, other.payloads]).toEqual([[], ['mine']])
  })

  it('Retain As Published leaves the retain flag', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version: 5 })
    await client.subscribe('a', 1, { rap: true })
    for (const retain of [false, true]) await publish(client, 'a', 'x', { qos: 1, retain })
    await client.packet('publish', 1)
    expect(client.publishes.map(({ retain }) => retain)).toEqual([false, true])
  })

  it.each([
    [0, [1, 2]],
    [1, [1, 1]],
    [2, [0, 0]],
  ] as const)('retain handling %i sends %j retained messages', async (rh, counts) => {
    const { connect } = await frontEnd()
    const publisher = await connect({ version: 5 })
    await publish(publisher, 'a', 'x', { qos: 1, retain: true })
    const client = await connect({ version: 5 })
    for (const count of counts) {
      await client.subscribe('a', 1, { rh })
      await client.until(() => client.publishes.length >= count, 'the retained messages')
      await client.ping()
      expect(client.publishes).toHaveLength(count)
    }
  })

  it('identifiers of all matching subscriptions stand in the message', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version: 5 })
    for (const [filter, id] of [
      ['a/#', 1],
      ['a/+', 268_435_455],
      ['+/b', 0],
    ] as const) {
      const properties = id === 0 ? {} : { properties: { subscriptionIdentifier: id } }
      const messageId = 1000 + client.of('suback').length
      client.send({
        cmd: 'subscribe',
        messageId,
        subscriptions: [{ topic: filter, qos: 0 }],
        ...properties,
      } as never)
      await client.until(
        () => client.of('suback').some((suback) => suback.messageId === messageId),
        'SUBACK',
      )
    }
    const publisher = await connect({ version: 5 })
    await publish(publisher, 'a/b', 'x')
    const { properties } = await client.packet('publish')
    const ids = properties?.subscriptionIdentifier as unknown as number[]
    expect([...ids].sort((a, b) => a - b)).toEqual([1, 268_435_455])
  })
})
