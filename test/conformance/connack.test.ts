/** CONNECT that is accepted, what CONNACK says, and how connections end. */
import type { IConnackPacket } from 'mqtt-packet'
import { describe, expect, it } from 'vitest'
import { eventually, frontEnd, testSettings } from '../support/front-end.ts'
import { packet, string } from '../support/wire.ts'
import { connectBytes, cut, isPresent, lasting, noProperties, versions } from './given.ts'

const propertiesOf = (connack: IConnackPacket | undefined): Record<string, unknown> => ({
  ...connack?.properties,
})

describe.each(versions)('CONNACK to version %i', (version) => {
  it('comes first and once, with code 0 and no reserved flag', async () => {
    const { open } = await frontEnd()
    const client = await open({ version })
    const bytes: Buffer[] = []
    client.socket.on('data', (chunk: Buffer) => bytes.push(chunk))
    const subscribe = packet(0x82, [0, 1], noProperties(version), string('a'), [0])
    client.bytes(Buffer.concat([connectBytes(version), subscribe]))
    await client.packet('suback')
    const all = Buffer.concat(bytes)
    expect(all[0]).toBe(0x20)
    expect([all[2], all[3]]).toEqual([0, 0])
    expect(client.received.map(({ cmd }) => cmd)).toEqual(['connack', 'suback'])
  })

  it('takes ids of 1 to 23 letters and digits, and tells them apart', async () => {
    const { connect, mqtt } = await frontEnd()
    for (const clientId of ['a', 'A', '0', '0123456789abcdefghiXYZ9']) {
      await connect({ version, clientId })
    }
    expect(mqtt.stats.connections).toBe(4)
  })

  it('gives a client without an id one of its own', async () => {
    const { connect, mqtt } = await frontEnd()
    const clients = [
      await connect({ version, clientId: '' }),
      await connect({ version, clientId: '' }),
    ]
    expect(mqtt.stats.connections).toBe(2)
    const ids = clients.map(
      (client) => propertiesOf(client.of('connack')[0])['assignedClientIdentifier'],
    )
    if (version === 4) expect(ids).toEqual([undefined, undefined])
    else {
      expect(ids[0]).toMatch(/^auto-[0-9a-f-]{36}$/)
      expect(new Set(ids).size).toBe(2)
    }
    const [first] = clients
    await first?.subscribe('a')
    first?.publish('a', 'x')
    await first?.packet('publish')
  })

  it('says whether a session is there, and never with a clean start', async () => {
    const fixture = await frontEnd()
    const first = await fixture.connect(lasting(version))
    await first.subscribe('a', 1)
    await cut(fixture, first)
    const again = await fixture.connect(lasting(version))
    await cut(fixture, again)
    const clean = await fixture.connect(lasting(version, { clean: true }))
    expect([first, again, clean].map(isPresent)).toEqual([false, true, false])
  })

  it('goes to the newer connection of an id, and the older one is closed', async () => {
    const { connect } = await frontEnd()
    const older = await connect({ version, clientId: 'one' })
    const newer = await connect({ version, clientId: 'one' })
    await older.closing()
    await newer.ping()
    const codes = older.of('disconnect').map(({ reasonCode }) => reasonCode)
    expect(codes).toEqual(version === 5 ? [0x8e] : [])
  })

  it('is answered with nothing else once it refuses', async () => {
    const limits = { ...testSettings.limits, clientIdBytesMax: 3 }
    const { open, records } = await frontEnd({ limits })
    const client = await open({ version })
    const publish = packet(0x30, string('a'), noProperties(version), Buffer.from('x'))
    client.bytes(Buffer.concat([connectBytes(version), publish]))
    await client.closing()
    expect(client.received.map(({ cmd }) => cmd)).toEqual(['connack'])
    const connack = client.of('connack')[0]
    expect(connack?.sessionPresent).toBe(false)
    expect(connack?.reasonCode ?? connack?.returnCode).not.toBe(0)
    expect(records).toEqual([])
  })

  it('is followed by the end of a client that is silent for one and a half keep-alives', async () => {
    const { connect, mqtt } = await frontEnd()
    const will = { topic: 'gone', payload: Buffer.from('w'), qos: 0, retain: false }
    const witness = await connect({ version })
    await witness.subscribe('gone')
    const begin = performance.now()
    const client = await connect({ version, keepalive: 1, will })
    await client.closing()
    expect(performance.now() - begin).toBeGreaterThan(1400)
    expect((await witness.packet('publish')).topic).toBe('gone')
    expect(mqtt.stats.closed['keep-alive']).toBe(1)
    const codes = client.of('disconnect').map(({ reasonCode }) => reasonCode)
    expect(codes).toEqual(version === 5 ? [0x8d] : [])
  })

  it('PINGREQ is answered with PINGRESP', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version })
    await client.ping()
    expect(client.of('pingresp')).toHaveLength(1)
  })

  it('DISCONNECT ends the connection from both sides, without the will', async () => {
    const { connect, mqtt, records } = await frontEnd()
    const will = { topic: 'gone', payload: Buffer.from('w'), qos: 0, retain: false }
    const client = await connect({ version, will })
    client.bytes(packet(0xe0))
    await client.closing()
    await eventually(() => mqtt.stats.connections === 0, 'the connection has ended')
    expect(mqtt.stats.closed['client-disconnected']).toBe(1)
    expect(records).toEqual([])
    expect(client.of('disconnect')).toEqual([])
  })
})

describe('MQTT 3.1', () => {
  it('is served, and its CONNACK says nothing of sessions', async () => {
    const fixture = await frontEnd()
    for (let time = 0; time < 2; time++) {
      const client = await fixture.connect({ version: 3, clean: false, clientId: 'old' })
      expect(isPresent(client)).toBe(false)
      if (time === 0) await client.subscribe('a', 1)
      client.publish('a', String(time), { qos: 1, messageId: 1 })
      expect(String((await client.packet('publish')).payload)).toBe(String(time))
      await client.ping()
      await cut(fixture, client)
    }
  })

  it('has ids of at most 23 characters', async () => {
    const { open } = await frontEnd()
    const client = await open({ version: 3 })
    client.send(client.connectPacket({ clientId: 'x'.repeat(24) }))
    await client.closing()
    expect(client.received.map((one) => one.cmd)).toEqual(['connack'])
    expect(client.of('connack')[0]?.returnCode).toBe(2)
  })
})

describe('CONNACK to MQTT 5', () => {
  it('says what the gateway takes, and nothing against what it has', async () => {
    const { connect } = await frontEnd()
    const client = await connect({ version: 5 })
    expect(propertiesOf(client.of('connack')[0])).toEqual({
      receiveMaximum: 4096,
      maximumPacketSize: 256 * 1024,
      topicAliasMaximum: 16,
    })
  })

  it('says the session expiry where it is not what the client asked for', async () => {
    const { connect } = await frontEnd({ sessionExpiryMs: 60_000 })
    const client = await connect({ version: 5, properties: { sessionExpiryInterval: 61 } })
    expect(propertiesOf(client.of('connack')[0])['sessionExpiryInterval']).toBe(60)
  })

  it.each([
    [0, 1],
    [2, 1],
    [1, undefined],
  ] as const)('answers a keep-alive of %i s with %s', async (keepalive, held) => {
    const limits = { ...testSettings.limits, keepAliveMaxS: 1 }
    const { connect } = await frontEnd({ limits })
    const client = await connect({ version: 5, keepalive })
    expect(propertiesOf(client.of('connack')[0])['serverKeepAlive']).toBe(held)
    await client.closing()
    expect(client.of('disconnect')[0]).toMatchObject({ reasonCode: 0x8d })
  })

  it('tells response information only to who asks for it', async () => {
    const { connect } = await frontEnd()
    const asking = await connect({
      version: 5,
      clientId: 'asks',
      properties: { requestResponseInformation: true },
    })
    expect(propertiesOf(asking.of('connack')[0])['responseInformation']).toBe('response/asks')
    const silent = await connect({
      version: 5,
      properties: { requestResponseInformation: false },
    })
    expect(propertiesOf(silent.of('connack')[0])['responseInformation']).toBeUndefined()
  })

  it('leaves out what makes it larger than the client takes', async () => {
    const { connect, open } = await frontEnd()
    const properties = { requestResponseInformation: true, maximumPacketSize: 20 }
    const client = await connect({ version: 5, clientId: 'asks', properties })
    expect(propertiesOf(client.of('connack')[0])).toEqual({
      receiveMaximum: 4096,
      maximumPacketSize: 256 * 1024,
      topicAliasMaximum: 16,
    })
    const tiny = await open({ version: 5 })
    tiny.send(tiny.connectPacket({ version: 5, properties: { maximumPacketSize: 7 } }))
    await tiny.closing()
    expect(tiny.received).toEqual([])
  })
})

describe('reason strings', () => {
  const reasons = (client: { received: readonly object[] }) =>
    client.received.map((one) => {
      const { cmd, properties } = one as { cmd: string; properties?: { reasonString?: string } }
      return `${cmd} ${properties?.reasonString === undefined ? 'without' : 'with'}`
    })

  async function refusals(more: object) {
    const { connect } = await frontEnd()
    const client = await connect({ version: 5, properties: more })
    client.publish('$SYS/no', 'x', { qos: 1, messageId: 1 })
    await client.packet('puback')
    await client.subscribe('a/'.repeat(150).concat('a'))
    client.bytes(packet(0x62, [0, 9]))
    await client.packet('pubcomp')
    client.bytes(packet(0xf0, [0x18, 0]))
    await client.closing()
    return reasons(client).slice(1)
  }

  it('go with refusals', async () => {
    expect(await refusals({})).toEqual([
      'puback with',
      'suback with',
      'pubcomp with',
      'disconnect with',
    ])
  })

  it('go only with CONNACK and DISCONNECT where the client wants no problem information', async () => {
    expect(await refusals({ requestProblemInformation: false })).toEqual([
      'puback without',
      'suback without',
      'pubcomp without',
      'disconnect with',
    ])
  })

  it('are left out where they make a packet too large for the client', async () => {
    expect(await refusals({ maximumPacketSize: 20 })).toEqual([
      'puback without',
      'suback without',
      'pubcomp without',
      'disconnect without',
    ])
  })

  it('go with a CONNACK that refuses', async () => {
    const { open } = await frontEnd()
    const client = await open({ version: 5 })
    client.bytes(connectBytes(5, { flags: 3 }))
    await client.closing()
    expect(reasons(client)).toEqual(['connack with'])
  })
})
