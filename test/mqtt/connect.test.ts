import { describe, expect, it } from 'vitest'
import { eventually, frontEnd } from '../support/front-end.ts'
import { packet, string } from '../support/wire.ts'

/** A CONNECT made byte by byte. */
function connect(
  version: 4 | 5,
  flags: number,
  properties: number[],
  ...payload: Buffer[]
): Buffer {
  const block = version === 5 ? [properties.length, ...properties] : []
  return packet(0x10, string('MQTT'), [version, flags, 0, 0], block, ...payload)
}

const id = string('an-id')
const none = Buffer.from([0])
const will = (version: 4 | 5, properties: number[] = [], topic = 'w') =>
  Buffer.concat([
    id,
    Buffer.from(version === 5 ? [properties.length, ...properties] : []),
    string(topic),
    string('gone'),
  ])

describe.each([4, 5] as const)('CONNECT of MQTT version %i', (version) => {
  it.each([
    ['its reserved flag set', connect(version, 3, [], id)],
    ['a will of QoS 3', connect(version, 0x1e, [], will(version))],
    ['a will QoS and no will', connect(version, 0x0a, [], id)],
    ['a will to a wildcard', connect(version, 6, [], will(version, [], 'a/#'))],
    ['a will below $', connect(version, 6, [], will(version, [], '$SYS/x'))],
    ['bytes behind its payload', connect(version, 2, [], id, none)],
    ['a payload that is cut short', connect(version, 0x82, [], id)],
    ['an id that is no UTF-8', connect(version, 2, [], string(Buffer.from([0xff, 0xfe])))],
    ['an id with the null character', connect(version, 2, [], string('a\0b'))],
    ['an id of 65,535 bytes', connect(version, 2, [], string(Buffer.alloc(65_535, 'x')))],
    [
      'a user name that is no UTF-8',
      connect(version, 0x82, [], id, string(Buffer.from([0xc0, 0x80]))),
    ],
  ])('is refused with %s', async (_what, bytes) => {
    const { open, mqtt, records } = await frontEnd()
    const client = await open({ version })
    client.bytes(bytes)
    await client.closing()
    const accepted = client.of('connack').filter((ack) => (ack.reasonCode ?? ack.returnCode) === 0)
    expect(accepted).toEqual([])
    expect(mqtt.stats.closed.refused).toBe(1)
    expect(records).toEqual([])
  })

  it('takes ids of 256 bytes, in any script', async () => {
    const { connect: open } = await frontEnd()
    const client = await open({ version, clientId: 'ж'.repeat(128) })
    await client.ping()
  })

  it('says so when the id is too long', async () => {
    const { open } = await frontEnd()
    const client = await open({ version })
    client.bytes(connect(version, 2, [], string('x'.repeat(257))))
    const connack = await client.packet('connack')
    expect(connack.reasonCode ?? connack.returnCode).toBe(version === 5 ? 0x85 : 2)
  })

  it('leaves nothing behind when the client is gone before CONNACK', async () => {
    const { open, mqtt } = await frontEnd()
    for (let i = 0; i < 100; i++) {
      const client = await open({ version })
      client.bytes(connect(version, 2, [], string(`flapping-${i}`)))
      client.end()
    }
    await eventually(() => mqtt.stats.sockets === 0, 'all are gone')
    await eventually(() => mqtt.stats.connections === 0, 'nobody counts as connected')
  })

  it('leaves one connection of an id, however many come at once', async () => {
    const { connect: connected, open, mqtt } = await frontEnd()
    for (let round = 0; round < 20; round++) {
      const first = await connected({ version, clientId: 'twin' })
      const others = [await open({ version }), await open({ version })]
      for (const other of others) other.bytes(connect(version, 2, [], string('twin')))
      await first.closing()
      await eventually(() => mqtt.stats.connections === 1, 'one of three is left')
      for (const other of others) other.end()
      await eventually(() => mqtt.stats.connections === 0, 'none is left')
    }
  })

  it('is answered before what came behind it', async () => {
    const { open } = await frontEnd()
    const client = await open({ version })
    const properties = version === 5 ? [0] : []
    client.bytes(
      Buffer.concat([
        connect(version, 2, [], id),
        packet(0x32, string('$x'), [0, 9], properties, Buffer.from('x')),
        packet(0x62, [0, 2]),
      ]),
    )
    await client.packet('pubcomp')
    expect(client.received.map(({ cmd }) => cmd)).toEqual(['connack', 'puback', 'pubcomp'])
  })

  it('publishes the will with all its properties but the delay', async () => {
    const { open, records } = await frontEnd()
    const client = await open({ version })
    const properties = [0x18, 0, 0, 0, 0, 1, 1, 0x26, 0, 1, 0x61, 0, 1, 0x62]
    client.bytes(connect(version, 0x2e, [], will(version, properties)))
    await client.packet('connack')
    client.end()
    await eventually(() => records.length === 1, 'the will is published')
    const [record] = records
    expect(record).toMatchObject({ topic: 'w', qos: 1, retain: true, client: 'an-id' })
    expect(Buffer.from(record?.payload ?? []).toString()).toBe('gone')
    expect([...(record?.properties ?? [])]).toEqual(version === 5 ? properties.slice(5) : [])
  })
})

describe('CONNECT of MQTT 5', () => {
  it.each([
    ['a receive maximum of 0', [0x21, 0, 0]],
    ['a maximum packet size of 0', [0x27, 0, 0, 0, 0]],
    ['a property given twice', [0x21, 0, 1, 0x21, 0, 2]],
    ['a property of another packet', [8, 0, 1, 0x61]],
    ['a truncated property', [0x11, 0, 0]],
  ])('is refused with %s', async (_what, properties) => {
    const { open } = await frontEnd()
    const client = await open({ version: 5 })
    client.bytes(connect(5, 2, properties, id))
    expect((await client.packet('connack')).reasonCode).toBeGreaterThanOrEqual(0x80)
    await client.closing()
  })

  it.each([
    ['a response topic with a wildcard', [8, 0, 1, 0x23]],
    ['a response topic that is cut short', [8, 0, 9, 0x61]],
    ['a subscription identifier', [11, 5]],
    ['a topic alias', [35, 0, 1]],
    ['a session expiry', [17, 0, 0, 0, 1]],
    ['a user property with null', [38, 0, 1, 0, 0, 1, 0x61]],
  ])('is refused when its will has %s', async (_what, properties) => {
    const { open } = await frontEnd()
    const client = await open({ version: 5 })
    client.bytes(connect(5, 6, [], will(5, properties)))
    await client.closing()
    expect(client.of('connack').map(({ reasonCode }) => reasonCode)).not.toContain(0)
  })

  it('publishes the will of a DISCONNECT that asks for it', async () => {
    const { open, records, mqtt } = await frontEnd()
    const client = await open({ version: 5 })
    client.bytes(connect(5, 6, [], will(5)))
    await client.packet('connack')
    client.bytes(packet(0xe0, [4]))
    await eventually(() => records.length === 1, 'the will is published')
    expect(mqtt.stats.closed['client-disconnected']).toBe(1)
  })
})

it.each([3, 6, 0x84])('a protocol level of %i for MQTT is answered and closed', async (level) => {
  const { open } = await frontEnd()
  const client = await open()
  client.bytes(packet(0x10, string('MQTT'), [level, 2, 0, 0], id))
  expect((await client.packet('connack')).returnCode).toBe(1)
  await client.closing()
})
