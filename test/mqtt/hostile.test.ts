import { once } from 'node:events'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { eventually, type Fixture, frontEnd } from '../support/front-end.ts'
import type { RawClient } from '../support/raw-client.ts'
import { packet, string } from '../support/wire.ts'

const connectBody = (version: number, properties: number[] = [0], id = 'x', flags = 2) =>
  packet(0x10, string('MQTT'), [version, flags, 0, 0], version === 5 ? properties : [], string(id))

/** The process stays, and others are served: G8. */
describe('a hostile client harms only itself', () => {
  let fixture: Fixture
  let witness: RawClient

  beforeEach(async () => {
    fixture = await frontEnd({ maxPacketBytes: 100_000 })
    witness = await fixture.connect({ clientId: 'witness' })
    await witness.subscribe('witness', 1)
  })

  afterEach(async () => {
    const before = witness.publishes.length
    witness.publish('witness', 'still here', { qos: 1, messageId: 1 })
    await witness.packet('publish', before)
    expect(witness.closed).toBe(false)
  })

  /** Sends bytes on a connected client and expects that it is closed. */
  async function closes(version: 4 | 5, bytes: Buffer, reasonCode?: number): Promise<RawClient> {
    const client = await fixture.connect({ version })
    client.bytes(bytes)
    await client.closing()
    if (version === 5 && reasonCode !== undefined) {
      expect(client.of('disconnect')[0]).toMatchObject({ reasonCode })
    }
    return client
  }

  describe.each([4, 5] as const)('with malformed packets of MQTT version %i', (version) => {
    const none = version === 5 ? [0] : []

    it.each([
      ['a remaining length of five bytes', Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 1]), 0x81],
      ['packet type 0', packet(0x00), 0x82],
      ['a packet that only servers send', packet(0x20, [0, 0]), 0x82],
      ['CONNECT twice', connectBody(version), 0x82],
      ['SUBSCRIBE with wrong flags', packet(0x80, [0, 1], none, string('a'), [0]), 0x82],
      ['PUBREL with wrong flags', packet(0x60, [0, 1]), 0x82],
      ['PINGREQ with flags', packet(0xc1), 0x82],
      ['PUBLISH with QoS 3', packet(0x36, string('a'), [0, 1], none), 0x81],
      ['PUBLISH with DUP at QoS 0', packet(0x38, string('a'), none), 0x81],
      ['PUBLISH with packet identifier 0', packet(0x32, string('a'), [0, 0], none), 0x82],
      ['PUBLISH without an identifier', packet(0x32, string('a')), 0x81],
      ['PUBLISH with an empty body', packet(0x30), 0x81],
      ['PUBLISH with a topic that is cut short', packet(0x30, [0, 9, 65]), 0x81],
      ['PUBLISH to an empty topic', packet(0x30, string(''), none), version === 5 ? 0x82 : 0x90],
      ['PUBLISH to a wildcard', packet(0x30, string('a/+'), none), 0x90],
      ['PUBLISH to a topic with null', packet(0x30, string('a\0b'), none), 0x81],
      [
        'PUBLISH to a topic that is no UTF-8',
        packet(0x30, string(Buffer.from([0xc3, 0x28])), none),
        0x81,
      ],
      ['PUBACK of one byte', packet(0x40, [1]), 0x81],
      ['PUBACK for identifier 0', packet(0x40, [0, 0]), 0x82],
      ['SUBSCRIBE without a filter', packet(0x82, [0, 1], none), 0x82],
      ['SUBSCRIBE to an empty filter', packet(0x82, [0, 1], none, string(''), [0]), 0x81],
      ['SUBSCRIBE to a wrong filter', packet(0x82, [0, 1], none, string('a/#/b'), [0]), 0x81],
      ['SUBSCRIBE with QoS 3', packet(0x82, [0, 1], none, string('a'), [3]), 0x81],
      ['SUBSCRIBE with identifier 0', packet(0x82, [0, 0], none, string('a'), [0]), 0x82],
      ['SUBSCRIBE that is cut short', packet(0x82, [0, 1], none, string('a')), 0x81],
      ['SUBSCRIBE to no UTF-8', packet(0x82, [0, 1], none, [0, 2, 0x61, 0xff], [0]), 0x81],
      ['SUBSCRIBE with reserved options', packet(0x82, [0, 1], none, string('a'), [0xc0]), 0x81],
      ['UNSUBSCRIBE without a filter', packet(0xa2, [0, 1], none), 0x82],
      ['UNSUBSCRIBE with identifier 0', packet(0xa2, [0, 0], none, string('a')), 0x82],
      ['PINGREQ with a body', packet(0xc0, [1]), 0x81],
      ['AUTH', packet(0xf0), 0x82],
    ] as const)('%s is refused', async (_what, bytes, reason) => {
      await closes(version, bytes, reason)
    })

    it.each(['constructor', '__proto__', 'toString', 'hasOwnProperty'])(
      'serves a client id and a filter named %s like any other',
      async (name) => {
        const client = await fixture.connect({ version, clientId: name })
        await client.subscribe(name, 1)
        client.publish(name, 'x', { qos: 1, messageId: 1 })
        await client.packet('publish')
        client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: [name] } as never)
        await client.packet('unsuback')
        client.end()
      },
    )

    it('serves several filters of which one is named __proto__', async () => {
      const client = await fixture.connect({ version })
      const subscriptions = [
        { topic: '__proto__', qos: 0 },
        { topic: 'b', qos: 1 },
      ]
      client.send({ cmd: 'subscribe', messageId: 1, subscriptions } as never)
      expect((await client.packet('suback')).granted).toEqual([0, 1])
      client.publish('__proto__', 'x')
      await client.packet('publish')
    })

    it('survives the same PUBREL twice in one write', async () => {
      const client = await fixture.connect({ version })
      client.publish('q', 'x', { qos: 2, messageId: 5 })
      await client.packet('pubrec')
      client.send({ cmd: 'pubrel', messageId: 5 }, { cmd: 'pubrel', messageId: 5 })
      await client.packet('pubcomp', 1)
      await client.ping()
    })

    it('refuses a topic of 65 kB and one of 200 levels', async () => {
      for (const topic of ['x'.repeat(65_535), 'a/'.repeat(199).concat('a')]) {
        const client = await fixture.connect({ version })
        client.publish(topic, 'x', { qos: 1, messageId: 1 })
        if (version === 5) {
          expect(await client.packet('puback')).toMatchObject({ reasonCode: 0x90 })
          await client.ping()
        } else {
          await client.closing()
        }
        expect(fixture.records.filter((record) => record.topic === topic)).toHaveLength(0)
      }
    })

    it('refuses to publish below $', async () => {
      const client = await fixture.connect({ version })
      client.publish('$SYS/broker/uptime', 'x', { qos: 1, messageId: 1 })
      const puback = await client.packet('puback')
      if (version === 5) expect(puback).toMatchObject({ reasonCode: 0x87 })
      expect(fixture.records.filter(({ topic }) => topic.startsWith('$'))).toHaveLength(0)
    })

    it('closes a client whose payload is over the limit before it has sent it', async () => {
      const client = await fixture.connect({ version })
      client.bytes(Buffer.concat([Buffer.from([0x30, 0x80, 0xb5, 0x18]), Buffer.alloc(1000)]))
      await client.closing()
      if (version === 5) expect(client.of('disconnect')[0]).toMatchObject({ reasonCode: 0x95 })
      expect(fixture.mqtt.stats.closed['packet-too-large']).toBe(1)
    })

    it('closes a CONNECT that announces 200 MB at once', async () => {
      const client = await fixture.open({ version })
      client.bytes(Buffer.from([0x10, 0x80, 0x84, 0xaf, 0x5f, 0, 4]))
      await client.closing()
      expect(fixture.mqtt.stats.closed['packet-too-large']).toBe(1)
    })

    it('refuses anything before CONNECT', async () => {
      const client = await fixture.open({ version })
      client.bytes(packet(0x30, string('a'), none))
      await client.closing()
      expect(fixture.records.filter(({ topic }) => topic === 'a')).toHaveLength(0)
    })

    it('refuses a will to a wildcard, and to a topic of too many levels', async () => {
      for (const topic of ['a/#', 'a/'.repeat(150).concat('a'), '$SYS/x']) {
        const client = await fixture.open({ version })
        const will = { topic, payload: Buffer.from('x'), qos: 0, retain: false }
        client.send(client.connectPacket({ will }))
        await client.closing()
        expect(
          client.of('connack').filter((ack) => (ack.returnCode ?? ack.reasonCode) === 0),
        ).toEqual([])
      }
    })

    it('handles what is sent right behind CONNECT, once it has answered it', async () => {
      const client = await fixture.open({ version })
      client.bytes(
        Buffer.concat([
          connectBody(version, [0], 'eager'),
          packet(0x82, [0, 1], none, string('eager'), [1]),
          packet(0x32, string('eager'), [0, 2], none, Buffer.from('x')),
        ]),
      )
      await client.packet('puback')
      expect(client.received[0]?.cmd).toBe('connack')
      await client.packet('publish')
    })
  })

  describe('with packets of MQTT 5 that the protocol library does not survive', () => {
    it('a session expiry given twice in CONNECT', async () => {
      const client = await fixture.open({ version: 5 })
      client.bytes(connectBody(5, [10, 0x11, 0, 0, 0, 10, 0x11, 0, 0, 0, 20]))
      await client.closing()
    })

    it('a PUBLISH with a truncated response topic', async () => {
      await closes(5, packet(0x30, string('a'), [3, 8, 0, 9]), 0x81)
    })

    it('a topic alias beyond those that were offered', async () => {
      await closes(5, packet(0x30, string('a'), [3, 35, 0, 17]), 0x94)
    })

    it('a subscription identifier of a publisher', async () => {
      await closes(5, packet(0x30, string('a'), [2, 11, 5]), 0x82)
    })
  })

  it('an exception in the handling of one packet closes that client, and says so', async () => {
    const client = await fixture.connect({ clientId: 'unlucky' })
    const route = fixture.log.route.bind(fixture.log)
    fixture.log.route = (topic) => {
      if (topic === 'trap') throw new TypeError('a bug')
      return route(topic)
    }
    client.publish('trap', 'x', { qos: 1, messageId: 1 })
    await client.closing()
    expect(fixture.complaints.join()).toMatch(/only its connection is closed.*unlucky/)
    expect(fixture.mqtt.stats.closed['internal-error']).toBe(1)
  })

  it('does not read on from a client that asks and never reads the answers', async () => {
    const client = await fixture.connect()
    client.socket.pause()
    const pings = Buffer.alloc(64 * 1024, Buffer.from([0xc0, 0]))
    let sent = 0
    const send = (): void => {
      while (sent < 64 * 1024 * 1024 && client.socket.write(pings)) sent += pings.length
    }
    client.socket.on('drain', send)
    send()
    let handled = -1
    await eventually(() => {
      const before = handled
      handled = fixture.mqtt.stats.receivedBytes
      return handled > 1024 * 1024 && handled === before
    }, 'the gateway stops reading')
    // What the kernel's buffers of both sides hold comes on top of our limit.
    expect(fixture.mqtt.stats.sentBytes).toBeLessThan(16 * 1024 * 1024)
    expect(sent).toBeLessThan(64 * 1024 * 1024)
  })

  it('refuses connections over the limit, and takes new ones when others have gone', async () => {
    const small = await frontEnd({ maxConnections: 2 })
    const first = await small.connect()
    await small.connect()
    const third = await small.open()
    await third.closing()
    expect(small.mqtt.stats.connectionsRefused).toBe(1)
    first.end()
    await eventually(() => small.mqtt.stats.sockets === 1, 'a place is free')
    await small.connect()
  })

  it('floods of connections that say nothing leave nothing behind', async () => {
    const clients = await Promise.all(Array.from({ length: 100 }, () => fixture.open()))
    await eventually(() => fixture.mqtt.stats.sockets === 101, 'all are accepted')
    for (const client of clients) client.end()
    await Promise.all(
      clients.map((client) => (client.closed ? undefined : once(client.socket, 'close'))),
    )
    await eventually(() => fixture.mqtt.stats.sockets === 1, 'all are gone')
    expect(fixture.mqtt.stats.connections).toBe(1)
  })
})
