/** Packets that must end their connection: one for each statement that says so. */
import { describe, expect, it } from 'vitest'
import { frontEnd } from '../support/front-end.ts'
import { packet, string } from '../support/wire.ts'
import { connectBytes, noProperties, properties, SURROGATE, versions } from './given.ts'

const user = (bytes: Buffer) => properties([38], string('a'), string(bytes))
const alias = (n: number) => properties([35, 0, n])

type Case = readonly [title: string, bytes: Buffer, reason: number]

describe.each(versions)('a connected client of version %i is closed for', (version) => {
  const none = noProperties(version)
  const is5 = version === 5

  const cases: readonly Case[] = [
    ['a surrogate in a topic', packet(0x30, string(SURROGATE), none), 0x81],
    ['a null character in a topic', packet(0x30, string('a\0'), none), 0x81],
    ['flags of PUBACK that are reserved', packet(0x41, [0, 1]), 0x82],
    ['flags of PUBREL that are reserved', packet(0x60, [0, 1]), 0x82],
    ['flags of PINGREQ that are reserved', packet(0xc2), 0x82],
    ['flags of DISCONNECT that are reserved', packet(0xe1), 0x82],
    ['PUBLISH with QoS 1 and identifier 0', packet(0x32, string('a'), [0, 0], none), 0x82],
    ['SUBSCRIBE with identifier 0', packet(0x82, [0, 0], none, string('a'), [0]), 0x82],
    ['UNSUBSCRIBE with identifier 0', packet(0xa2, [0, 0], none, string('a')), 0x82],
    ['a second CONNECT', connectBytes(version), 0x82],
    ['DUP with QoS 0', packet(0x38, string('a'), none), 0x81],
    ['QoS 3', packet(0x36, string('a'), [0, 1], none), 0x81],
    ['+ in a topic', packet(0x30, string('a/+'), none), 0x90],
    ['# in a topic', packet(0x30, string('#'), none), 0x90],
    ['an empty topic', packet(0x30, string(''), none), is5 ? 0x82 : 0x90],
    ['flags of SUBSCRIBE that are reserved', packet(0x80, [0, 1], none, string('a'), [0]), 0x82],
    ['a filter that is no UTF-8', packet(0x82, [0, 1], none, string(SURROGATE), [0]), 0x81],
    ['SUBSCRIBE without a filter', packet(0x82, [0, 1], none), 0x82],
    ['reserved bits in the options', packet(0x82, [0, 1], none, string('a'), [0xc1]), 0x81],
    ['QoS 3 in the options', packet(0x82, [0, 1], none, string('a'), [3]), 0x81],
    ['# before the end of a filter', packet(0x82, [0, 1], none, string('a/#/b'), [0]), 0x81],
    ['# beside other characters', packet(0x82, [0, 1], none, string('a#'), [0]), 0x81],
    ['+ beside other characters', packet(0x82, [0, 1], none, string('a+/b'), [0]), 0x81],
    ['an empty filter', packet(0x82, [0, 1], none, string(''), [0]), 0x81],
    ['flags of UNSUBSCRIBE that are reserved', packet(0xa0, [0, 1], none, string('a')), 0x82],
    ['UNSUBSCRIBE of no UTF-8', packet(0xa2, [0, 1], none, string(SURROGATE)), 0x81],
    ['UNSUBSCRIBE without a filter', packet(0xa2, [0, 1], none), 0x82],
    ['a packet that only servers send', packet(0xd0), 0x82],
  ]

  const only5: readonly Case[] = [
    ['a property length of more bytes than it needs', packet(0x30, string('a'), [0x80, 0]), 0x81],
    ['a user property that is no UTF-8', packet(0x30, string('a'), user(SURROGATE)), 0x81],
    ['topic alias 0', packet(0x30, string('a'), alias(0)), 0x94],
    ['a topic alias beyond those offered', packet(0x30, string('a'), alias(17)), 0x94],
    ['a topic alias that stands for nothing yet', packet(0x30, string(''), alias(3)), 0x82],
    [
      'a response topic that is no UTF-8',
      packet(0x30, string('a'), properties([8], string(SURROGATE))),
      0x81,
    ],
    [
      'a response topic with a wildcard',
      packet(0x30, string('a'), properties([8], string('a/+'))),
      0x82,
    ],
    [
      'a content type that is no UTF-8',
      packet(0x30, string('a'), properties([3], string(SURROGATE))),
      0x81,
    ],
    ['a subscription identifier', packet(0x30, string('a'), properties([11, 1])), 0x82],
    ['a payload format that there is not', packet(0x30, string('a'), properties([1, 2])), 0x82],
    ['a property given twice', packet(0x30, string('a'), properties([1, 1], [1, 1])), 0x82],
    ['a property of another packet', packet(0x30, string('a'), properties([33, 0, 1])), 0x81],
    ['PUBACK with an unknown reason', packet(0x40, [0, 1, 0x55]), 0x82],
    ['PUBREC with an unknown reason', packet(0x50, [0, 1, 0x55]), 0x82],
    ['PUBREL with an unknown reason', packet(0x62, [0, 1, 0x80]), 0x82],
    ['PUBCOMP with an unknown reason', packet(0x70, [0, 1, 0x80]), 0x82],
    ['PUBACK with broken properties', packet(0x40, [0, 1, 0, 9]), 0x81],
    [
      'No Local on a shared subscription',
      packet(0x82, [0, 1], none, string('$share/g/a'), [4]),
      0x82,
    ],
    ['retain handling 3', packet(0x82, [0, 1], none, string('a'), [0x30]), 0x81],
    ['subscription identifier 0', packet(0x82, [0, 1], [2, 11, 0], string('a'), [0]), 0x82],
    ['DISCONNECT with an unknown reason', packet(0xe0, [0x55]), 0x82],
    ['AUTH', packet(0xf0, [0x18, 0]), 0x82],
    ['AUTH with flags', packet(0xf1, [0x18, 0]), 0x82],
  ]

  it.each(is5 ? [...cases, ...only5] : cases)('%s', async (_title, bytes, reason) => {
    const fixture = await frontEnd()
    const client = await fixture.connect({ version })
    client.bytes(bytes)
    await client.closing()
    expect(fixture.records).toEqual([])
    expect(client.of('disconnect').map(({ reasonCode }) => reasonCode)).toEqual(is5 ? [reason] : [])
  })

  it.each(['$share//a', '$share/g', '$share/g/', '$share/+/a'])(
    'the shared subscription %s',
    async (filter) => {
      const { connect } = await frontEnd()
      const client = await connect({ version })
      client.bytes(packet(0x82, [0, 1], none, string(filter), [0]))
      await client.until(
        () => client.closed || client.of('suback').length > 0,
        'the close, or a SUBACK',
      )
      const granted = client.of('suback')[0]?.granted as readonly unknown[] | undefined
      for (const code of granted ?? []) {
        expect(typeof code === 'number' ? code : Number(Object(code).qos)).toBeGreaterThan(2)
      }
    },
  )
})

describe.each(versions)('a CONNECT of version %i is refused for', (version) => {
  const is5 = version === 5
  const will = is5 ? [Buffer.of(0)] : []

  type Refused = readonly [title: string, bytes: Buffer, reason?: number, code?: number]
  const cases: readonly Refused[] = [
    ['coming second to something else', packet(0xc0)],
    ['another protocol name', connectBytes(version, { name: 'hj' })],
    ['another protocol level', connectBytes(version, { level: 9 }), 1, 1],
    ['its reserved flag', connectBytes(version, { flags: 3 }), 0x81],
    ['a will QoS without a will', connectBytes(version, { flags: 0x0a }), 0x81],
    ['will retain without a will', connectBytes(version, { flags: 0x22 }), 0x81],
    ['a will with QoS 3', connectBytes(version, { flags: 0x1e }), 0x81],
    ['a will that is not there', connectBytes(version, { flags: 0x06 }), 0x81],
    ['a user name that is not there', connectBytes(version, { flags: 0x82 }), 0x81],
    [
      'a password that is not there',
      connectBytes(version, { flags: 0xc2, payload: [string('user')] }),
      0x81,
    ],
    [
      'a user name that its flags do not have',
      connectBytes(version, { payload: [string('user')] }),
      0x81,
    ],
    ['a client id that is not there', packet(0x10, string('MQTT'), [version, 2, 0, 0]), 0x81],
    ['a client id that is no UTF-8', connectBytes(version, { id: SURROGATE }), 0x81],
    [
      'a will topic that is no UTF-8',
      connectBytes(version, { flags: 6, payload: [...will, string(SURROGATE), string('x')] }),
      0x81,
    ],
    [
      'a user name that is no UTF-8',
      connectBytes(version, { flags: 0x82, payload: [string(SURROGATE)] }),
      0x81,
    ],
    ['flags in its header', Buffer.concat([Buffer.of(0x11), connectBytes(version).subarray(1)])],
  ]
  const only4: readonly Refused[] = [
    ['a session without an id', connectBytes(4, { flags: 0, id: '' }), 2, 2],
    ['a password without a user name', connectBytes(4, { flags: 0x42, payload: [string('x')] })],
  ]
  const method = properties([21], string('SCRAM-SHA-1'))
  const only5: readonly Refused[] = [
    ['an authentication method', connectBytes(5, { properties: method }), 0x8c],
    [
      'authentication data without a method',
      connectBytes(5, { properties: properties([22], string('x')) }),
      0x82,
    ],
    ['a receive maximum of 0', connectBytes(5, { properties: properties([33, 0, 0]) }), 0x82],
    [
      'a maximum packet size of 0',
      connectBytes(5, { properties: properties([39, 0, 0, 0, 0]) }),
      0x82,
    ],
  ]

  const all = [...cases, ...(is5 ? only5 : only4)].map(([title, bytes, reason, code]) => {
    return { title, bytes, reason, code }
  })
  it.each(all)('$title', async ({ bytes, reason, code }) => {
    const fixture = await frontEnd()
    const client = await fixture.open({ version: code === undefined ? version : 4 })
    const behind = packet(0x30, string('a'), noProperties(version), Buffer.from('unseen'))
    client.bytes(Buffer.concat([bytes, behind]))
    await client.closing()
    expect(fixture.records).toEqual([])
    const connacks = client.of('connack')
    const codes = connacks.map((connack) => connack.reasonCode ?? connack.returnCode)
    expect(connacks.map(({ sessionPresent }) => sessionPresent)).not.toContain(true)
    if (code !== undefined) expect(codes).toEqual([code])
    else expect(codes).toEqual(is5 && reason !== undefined ? [reason] : [])
    expect(client.of('disconnect')).toEqual([])
  })
})
