/** PUBLISH, its acks and its properties, from publisher to subscriber. */
import { describe, expect, it } from 'vitest'
import { frontEnd } from '../support/front-end.ts'
import type { RawClient } from '../support/raw-client.ts'
import { packet, string } from '../support/wire.ts'
import { allTold, lasting, properties, publish, told, versions } from './given.ts'

describe.each(versions)('PUBLISH of version %i', (version) => {
  it('gets the ack of its QoS, with its identifier', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version })
    client.publish('a', '0')
    client.publish('a', '1', { qos: 1, messageId: 7 })
    client.publish('a', '2', { qos: 2, messageId: 8 })
    await client.packet('pubrec')
    client.send({ cmd: 'pubrel', messageId: 8 } as never)
    await client.packet('pubcomp')
    const acks = client.received.slice(1).map((one) => `${one.cmd} ${one.messageId}`)
    expect(acks).toEqual(['puback 7', 'pubrec 8', 'pubcomp 8'])
  })

  it('may use an identifier again after its handshake', async () => {
    const { connect, records } = await frontEnd()
    const client = await connect({ version })
    await publish(client, 'a', 'first', { qos: 2, messageId: 5 })
    await publish(client, 'a', 'second', { qos: 2, messageId: 5 })
    await publish(client, 'a', 'third', { qos: 1, messageId: 5 })
    await publish(client, 'a', 'fourth', { qos: 1, messageId: 5 })
    expect(records).toHaveLength(4)
  })

  it('is taken once with QoS 2 until its PUBREL, however often it comes', async () => {
    const { connect, records } = await frontEnd()
    const client = await connect({ version })
    for (let i = 0; i < 3; i++) client.publish('a', 'x', { qos: 2, messageId: 5, dup: i > 0 })
    await client.packet('pubrec')
    await client.ping()
    expect(records).toHaveLength(1)
  })

  it('is sent with the lower of its QoS and the granted one', async () => {
    const { connect } = await frontEnd()
    const subscriber = await connect({ version })
    const publisher = await connect({ version })
    for (const qos of [0, 1, 2] as const) await subscriber.subscribe(`${qos}/+`, qos)
    for (const granted of [0, 1, 2] as const) {
      for (const qos of [0, 1, 2] as const) await publish(publisher, `${granted}/x`, 'm', { qos })
    }
    await subscriber.until(() => subscriber.publishes.length === 9, 'all messages')
    expect(subscriber.publishes.map(({ qos }) => qos)).toEqual([0, 0, 0, 0, 1, 1, 0, 1, 2])
  })

  it('is sent with free identifiers, DUP 0, and its retain flag cleared', async () => {
    const { connect } = await frontEnd()
    const subscriber = await connect({ version, acks: false })
    await subscriber.subscribe('a', 2)
    const publisher = await connect({ version })
    await publish(publisher, 'a', '1', { qos: 1, retain: true })
    publisher.publish('a', '2', { qos: 1, messageId: 44, dup: true })
    await publish(publisher, 'a', '3', { qos: 2 })
    await publish(publisher, 'a', '4')
    await subscriber.until(() => subscriber.publishes.length === 4, 'all messages')
    const sent = subscriber.publishes
    expect(sent.map(({ dup, retain }) => dup || retain)).toEqual([false, false, false, false])
    expect(new Set(sent.slice(0, 3).map(({ messageId }) => messageId)).size).toBe(3)
    expect(sent[3]?.messageId).toBeUndefined()
    expect(sent.slice(0, 3).map(({ messageId }) => messageId)).not.toContain(0)
  })

  it('goes on with PUBREL after PUBREC, and never sends the message again', async () => {
    const { connect } = await frontEnd()
    const subscriber = await connect({ version, acks: false })
    await subscriber.subscribe('a', 2)
    const publisher = await connect({ version })
    await publish(publisher, 'a', 'x', { qos: 2 })
    const { messageId } = await subscriber.packet('publish')
    subscriber.send({ cmd: 'pubrec', messageId } as never)
    expect((await subscriber.packet('pubrel')).messageId).toBe(messageId)
    subscriber.send({ cmd: 'pubrec', messageId } as never)
    await subscriber.packet('pubrel', 1)
    subscriber.send({ cmd: 'pubcomp', messageId } as never)
    await subscriber.ping()
    expect(subscriber.publishes).toHaveLength(1)
  })

  it('PUBRELs leave in the order of the PUBRECs', async () => {
    const { connect } = await frontEnd()
    const subscriber = await connect({ version, acks: false })
    await subscriber.subscribe('a', 2)
    const publisher = await connect({ version })
    for (let n = 0; n < 3; n++) await publish(publisher, 'a', 'x', { qos: 2 })
    await subscriber.packet('publish', 2)
    const ids = [2, 0, 1].map((n) => subscriber.publishes[n]?.messageId)
    for (const messageId of ids) subscriber.send({ cmd: 'pubrec', messageId } as never)
    await subscriber.packet('pubrel', 2)
    expect(subscriber.of('pubrel').map(({ messageId }) => messageId)).toEqual(ids)
  })

  it('of one topic reaches all subscribers in the order of its arrival', async () => {
    const { connect } = await frontEnd()
    const subscriber = await connect({ version })
    await subscriber.subscribe('#', 2)
    const publisher = await connect({ version })
    const payloads = Array.from({ length: 50 }, (_, n) => String(n))
    for (const [n, payload] of payloads.entries()) {
      publisher.publish('a/b', payload, { qos: 1, messageId: n + 1 })
    }
    await subscriber.until(() => subscriber.publishes.length === 50, 'all messages')
    expect(subscriber.payloads).toEqual(payloads)
    expect(publisher.of('puback').map(({ messageId }) => messageId)).toEqual(
      payloads.map((_, n) => n + 1),
    )
  })

  it('retained replaces what its topic had; an empty one clears it and is not kept', async () => {
    const { connect } = await frontEnd()
    const publisher = await connect({ version })
    for (const qos of [0, 1, 2] as const) {
      await publish(publisher, 'r', 'old', { qos: 1, retain: true })
      await publish(publisher, 'r', `new ${qos}`, { qos, retain: true })
      await publish(publisher, 'r', 'not retained', { qos: 1 })
      const subscriber = await connect({ version })
      await subscriber.subscribe('r', 2)
      await subscriber.packet('publish')
      expect(allTold(subscriber)).toEqual([`r new ${qos} ${qos} retained`])
      await publish(publisher, 'r', '', { qos, retain: true })
      await subscriber.packet('publish', 1)
      expect(allTold(subscriber)[1]).toBe(`r  ${qos}`)
    }
    const late = await connect({ version })
    await late.subscribe('r', 2)
    await late.ping()
    expect(late.publishes).toEqual([])
  })

  it('keeps U+FEFF, and topics that look alike apart', async () => {
    const { connect } = await frontEnd()
    const subscriber = await connect({ version })
    const topics = ['\ufeffa', 'a', 'A', 'a ', 'e\u0301', '\u00e9', '/a', 'a/', '/']
    for (const topic of topics) await subscriber.subscribe(topic)
    const publisher = await connect({ version })
    for (const topic of topics) await publish(publisher, topic, 'x')
    await subscriber.until(() => subscriber.publishes.length === topics.length, 'all messages')
    expect(subscriber.publishes.map(({ topic }) => topic)).toEqual(topics)
  })

  it('with a topic of 4096 bytes is taken', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version })
    const topic = 'x'.repeat(4096)
    await client.subscribe(topic)
    await publish(client, topic, 'm')
    expect((await client.packet('publish')).topic).toBe(topic)
  })

  it('has its will like any message, retained or not, at its QoS', async () => {
    for (const retain of [false, true]) {
      const { connect } = await frontEnd()
      const witness = await connect({ version })
      await witness.subscribe('gone', 2)
      const will = { topic: 'gone', payload: Buffer.from('w'), qos: 1, retain }
      const client = await connect({ version, will })
      client.end()
      await witness.packet('publish')
      expect(allTold(witness)).toEqual(['gone w 1'])
      const late = await connect({ version })
      await late.subscribe('gone', 2)
      await late.ping()
      expect(allTold(late)).toEqual(retain ? ['gone w 1 retained'] : [])
      const bare = await connect({ version })
      bare.end()
      await witness.ping()
      expect(witness.publishes).toHaveLength(1)
    }
  })
})

const PROPERTIES = properties(
  [1, 1],
  [3],
  string('text/plain'),
  [8],
  string('answers/1'),
  [9],
  string('id-1'),
  [38],
  string('a'),
  string('1'),
  [38],
  string('b'),
  string(''),
  [38],
  string('a'),
  string('0'),
)

describe('properties of PUBLISH', () => {
  it('reach the subscriber as they are, user properties in their order', async () => {
    const { connect } = await frontEnd()
    const subscriber = await connect({ version: 5 })
    await subscriber.subscribe('a', 2)
    const chunks: Buffer[] = []
    subscriber.socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    const publisher = await connect({ version: 5 })
    publisher.bytes(packet(0x30, string('a'), PROPERTIES, Buffer.from('x')))
    await subscriber.packet('publish')
    expect(Buffer.concat(chunks).includes(PROPERTIES.subarray(1))).toBe(true)
  })

  it('of a will reach the subscriber in their order', async () => {
    const { connect, open } = await frontEnd()
    const subscriber = await connect({ version: 5 })
    await subscriber.subscribe('gone', 2)
    const chunks: Buffer[] = []
    subscriber.socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    const client = await open({ version: 5 })
    const head = [string('MQTT'), [5, 6, 0, 0], [0], string('will')] as const
    client.bytes(packet(0x10, ...head, PROPERTIES, string('gone'), string('w')))
    await client.packet('connack')
    client.end()
    await subscriber.packet('publish')
    expect(Buffer.concat(chunks).includes(PROPERTIES.subarray(1))).toBe(true)
  })

  it('have what is left of the message expiry, and none of an expired message', async () => {
    const fixture = await frontEnd()
    const keeper = await fixture.connect(lasting(5))
    await keeper.subscribe('a', 1)
    keeper.end()
    const publisher = await fixture.connect({ version: 5 })
    for (const [payload, messageExpiryInterval] of [
      ['short', 2],
      ['long', 60],
    ] as const) {
      await publish(publisher, 'a', payload, { qos: 1, properties: { messageExpiryInterval } })
    }
    fixture.clock.advance(5000)
    const again = await fixture.connect(lasting(5))
    await again.packet('publish')
    await again.ping()
    expect(again.payloads).toEqual(['long'])
    expect(again.publishes[0]?.properties?.messageExpiryInterval).toBe(55)
  })
})

describe('topic aliases', () => {
  const aliased = (topic: string, alias: number, payload: string) =>
    packet(0x30, string(topic), properties([35, 0, alias]), Buffer.from(payload))

  it('of a publisher stand for the topic of their last use, and are not passed on', async () => {
    const { connect } = await frontEnd()
    const subscriber = await connect({ version: 5 })
    await subscriber.subscribe('#')
    const publisher = await connect({ version: 5 })
    publisher.bytes(
      Buffer.concat([
        aliased('a/b', 1, '1'),
        aliased('', 1, '2'),
        aliased('c', 16, '3'),
        aliased('', 16, '4'),
        aliased('d', 1, '5'),
        aliased('', 1, '6'),
      ]),
    )
    await subscriber.until(() => subscriber.publishes.length === 6, 'all messages')
    expect(subscriber.publishes.map(({ topic, payload }) => `${topic} ${payload}`)).toEqual([
      'a/b 1',
      'a/b 2',
      'c 3',
      'c 4',
      'd 5',
      'd 6',
    ])
    expect(subscriber.publishes.map((one) => one.properties?.topicAlias)).toEqual(
      Array(6).fill(undefined),
    )
  })

  it('of a publisher leave its other properties as they are', async () => {
    const { connect } = await frontEnd()
    const subscriber = await connect({ version: 5 })
    await subscriber.subscribe('a')
    const publisher = await connect({ version: 5 })
    const block = properties([38], string('k'), string('v'), [35, 0, 1], [1, 1])
    publisher.bytes(packet(0x30, string('a'), block, Buffer.from('x')))
    const { properties: got, payload } = await subscriber.packet('publish')
    expect({ ...got, payload: String(payload) }).toEqual({
      userProperties: Object.assign(Object.create(null), { k: 'v' }),
      payloadFormatIndicator: true,
      payload: 'x',
    })
  })

  it('end with the connection', async () => {
    const { connect } = await frontEnd()
    const first = await connect(lasting(5))
    first.bytes(aliased('a', 1, 'x'))
    await first.ping()
    first.end()
    const second = await connect(lasting(5))
    second.bytes(aliased('', 1, 'y'))
    await second.closing()
    expect(second.of('disconnect')[0]).toMatchObject({ reasonCode: 0x82 })
  })

  async function repeated(topicAliasMaximum: number, isLasting = false): Promise<RawClient> {
    const { connect } = await frontEnd()
    const options = { version: 5, properties: { topicAliasMaximum } } as const
    const subscriber = await connect(isLasting ? lasting(5, options) : options)
    await subscriber.subscribe('#', 2)
    const publisher = await connect({ version: 5 })
    for (const qos of [0, 1, 2] as const) {
      for (const topic of ['a', 'b']) await publish(publisher, topic, 'x', { qos })
    }
    await subscriber.until(() => subscriber.publishes.length === 6, 'all messages')
    return subscriber
  }

  it.each([
    ['a clean one', false],
    ['one with a session', true],
  ])('of a subscriber are used for the topics that come first: %s', async (_who, isLasting) => {
    const subscriber = await repeated(1, isLasting)
    expect(subscriber.publishes.map((one) => [one.topic, one.properties?.topicAlias])).toEqual([
      ['a', 1],
      ['b', undefined],
      ['', 1],
      ['b', undefined],
      ['', 1],
      ['b', undefined],
    ])
  })

  it('are not used for a subscriber that offers none', async () => {
    const subscriber = await repeated(0)
    expect(subscriber.publishes.map((one) => one.topic)).toEqual(['a', 'b', 'a', 'b', 'a', 'b'])
    expect(subscriber.publishes.map((one) => one.properties?.topicAlias)).toEqual(
      Array(6).fill(undefined),
    )
  })
})

describe('flow control', () => {
  it('sends no more than the receive maximum, and all else meanwhile', async () => {
    const { connect } = await frontEnd()
    const options = { version: 5, acks: false, properties: { receiveMaximum: 2 } } as const
    const subscriber = await connect(options)
    await subscriber.subscribe('a', 2)
    await subscriber.subscribe('b', 0)
    const publisher = await connect({ version: 5 })
    for (const qos of [1, 2, 1, 2] as const) await publish(publisher, 'a', String(qos), { qos })
    await publish(publisher, 'b', '0')
    await subscriber.ping()
    const inFlight = () => subscriber.publishes.filter(({ qos }) => qos > 0)
    expect(inFlight()).toHaveLength(2)
    const [first, second] = inFlight()
    subscriber.send({ cmd: 'puback', messageId: first?.messageId } as never)
    await subscriber.until(() => inFlight().length === 3, 'the third')
    subscriber.send({ cmd: 'pubrec', messageId: second?.messageId } as never)
    await subscriber.packet('pubrel')
    await subscriber.ping()
    expect(inFlight()).toHaveLength(3)
    subscriber.send({ cmd: 'pubcomp', messageId: second?.messageId } as never)
    await subscriber.until(() => inFlight().length === 4, 'the fourth')
  })

  it('ends a client that has more in flight than it was offered', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version: 5 })
    for (let id = 1; id <= 4097; id++) {
      client.bytes(packet(0x34, string('a'), [id >> 8, id & 255], [0]))
    }
    await client.closing()
    expect(client.of('disconnect')[0]).toMatchObject({ reasonCode: 0x93 })
  })

  it('drops what is larger than the client takes, as if it had been sent', async () => {
    const { connect } = await frontEnd()
    const subscriber = await connect({ version: 5, properties: { maximumPacketSize: 64 } })
    await subscriber.subscribe('a', 2)
    const publisher = await connect({ version: 5 })
    await publish(publisher, 'a', 'x'.repeat(100), { qos: 1 })
    await publish(publisher, 'a', 'small', { qos: 1 })
    await subscriber.packet('publish')
    expect(subscriber.payloads).toEqual(['small'])
  })

  it('ends the handshake of a message that the client refuses', async () => {
    const { connect } = await frontEnd()
    const options = { version: 5, acks: false, properties: { receiveMaximum: 1 } } as const
    const subscriber = await connect(options)
    await subscriber.subscribe('a', 2)
    const publisher = await connect({ version: 5 })
    await publish(publisher, 'a', '1', { qos: 2 })
    await publish(publisher, 'a', '2', { qos: 1 })
    await publish(publisher, 'a', '3', { qos: 1 })
    const refuse = (cmd: string, n: number) =>
      subscriber.send({
        cmd,
        messageId: subscriber.publishes[n]?.messageId,
        reasonCode: 0x97,
      } as never)
    await subscriber.packet('publish')
    refuse('pubrec', 0)
    await subscriber.packet('publish', 1)
    refuse('puback', 1)
    await subscriber.packet('publish', 2)
    expect(subscriber.publishes.map(told)).toEqual(['a 1 2', 'a 2 1', 'a 3 1'])
    expect(subscriber.of('pubrel')).toEqual([])
  })
})

it.each(versions)('nothing is written on a connection of version %i after it ends', async (v) => {
  const { connect } = await frontEnd()
  const client = await connect({ version: v })
  await client.subscribe('a')
  client.bytes(packet(0xc1))
  const publisher = await connect({ version: v })
  await publish(publisher, 'a', 'x')
  await client.closing()
  expect(client.received.at(-1)?.cmd).toBe(v === 5 ? 'disconnect' : 'suback')
})
