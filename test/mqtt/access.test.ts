import { execFile, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { generate } from 'mqtt-packet'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { type AccessSettings, hashPassword } from '../../src/access/access.ts'
import { writePassword } from '../../src/access/password-file.ts'
import { eventually, everything, type Fixture, frontEnd } from '../support/front-end.ts'
import { type ConnectOptions, RawClient } from '../support/raw-client.ts'
import { tempDir } from '../support/temp-dir.ts'

const rules: AccessSettings['rules'] = [
  { user: '*', allow: [], topics: ['devices/+/secret'] },
  { user: '*', allow: ['publish', 'subscribe'], topics: ['devices/{client}/#'] },
  { user: 'analytics', allow: ['subscribe'], topics: ['devices/#'] },
]

const run = promisify(execFile)
const mosquitto = spawnSync('sh', ['-c', 'command -v mosquitto_pub']).status === 0

interface Given extends Fixture {
  readonly file: string
  readonly settings: AccessSettings
  /** Connects and answers the code of CONNACK. */
  code(options: ConnectOptions): Promise<number>
}

async function given(more: Partial<AccessSettings> = {}): Promise<Given> {
  const file = path.join(tempDir(), 'passwords')
  writeFileSync(file, '', { mode: 0o600 })
  for (const user of ['device', 'analytics']) {
    writePassword(file, user, await hashPassword(Buffer.from(`${user}-password`), 10))
  }
  const settings: AccessSettings = { anonymous: false, passwordFile: file, rules, ...more }
  const fixture = await frontEnd({}, [everything], settings)
  const code = async (options: ConnectOptions) => {
    const client = await fixture.open(options)
    client.send(client.connectPacket(options))
    const connack = await client.packet('connack')
    return connack.reasonCode ?? connack.returnCode ?? -1
  }
  return { ...fixture, file, settings, code }
}

const as = (user: string, more: ConnectOptions = {}): ConnectOptions => ({
  username: user,
  password: `${user}-password`,
  ...more,
})

const codesOf = (suback: unknown) => (suback as { granted: number[] }).granted

describe('CONNECT under [access]', () => {
  it.each([
    [as('device'), 0, 0],
    [{}, 5, 0x87],
    [{ username: 'device', password: 'wrong' }, 4, 0x86],
    [{ username: 'device' }, 4, 0x86],
    [{ username: '__proto__', password: 'x' }, 4, 0x86],
    [{ username: 'nobody', password: 'x' }, 4, 0x86],
  ])('as %j: return code %i, reason code %i', async (options, returnCode, reason) => {
    const { code, mqtt } = await given()
    expect(await code({ ...options, version: 4 })).toBe(returnCode)
    expect(await code({ ...options, version: 5 })).toBe(reason)
    expect(mqtt.stats.connections).toBe(returnCode === 0 ? 2 : 0)
    const denied = mqtt.stats.denied['bad-credentials'] + mqtt.stats.denied['not-authorized']
    expect(denied).toBe(returnCode === 0 ? 0 : 2)
  })

  it('too many failures: server unavailable, connection rate exceeded', async () => {
    const { code, mqtt } = await given()
    const wrong = { username: 'device', password: 'wrong' }
    for (let n = 0; n < 5; n++) await code(wrong)
    expect(await code({ ...wrong, version: 4 })).toBe(3)
    expect(await code({ ...wrong, version: 5 })).toBe(0x9f)
    expect(mqtt.stats.denied['backing-off']).toBe(2)
  })

  it('what came behind CONNECT waits for the password', async () => {
    const { open, records } = await given()
    const options = as('device', { clientId: 'd1' })
    const client = await open(options)
    client.send(client.connectPacket(options), {
      cmd: 'publish',
      topic: 'devices/d1/x',
      payload: 'early',
      qos: 1,
      messageId: 7,
      dup: false,
      retain: false,
    })
    await client.packet('puback')
    expect(client.received.map(({ cmd }) => cmd)).toEqual(['connack', 'puback'])
    expect(records.map(({ topic }) => topic)).toEqual(['devices/d1/x'])
  })

  it('a client that goes while its password is verified leaves nothing', async () => {
    const { open, mqtt } = await given()
    for (let n = 0; n < 20; n++) {
      const client = await open()
      client.send(client.connectPacket(as('device')))
      client.end()
    }
    await eventually(() => mqtt.stats.sockets === 0, 'all sockets are closed')
    await eventually(() => mqtt.stats.connections === 0, 'nobody is connected')
  })

  it('a will that no rule grants: not authorized; one that is granted comes', async () => {
    const { code, connect, records, mqtt } = await given()
    const will = (topic: string) => ({ topic, payload: Buffer.from('gone'), qos: 1, retain: false })
    for (const [version, expected] of [
      [4, 5],
      [5, 0x87],
    ] as const) {
      const clientId = `d${version}`
      for (const topic of ['devices/other/status', 'plant', `devices/${clientId}/secret`]) {
        const options = as('device', { clientId, version, will: will(topic) })
        expect(await code(options), topic).toBe(expected)
      }
    }
    expect(mqtt.stats.denied.will).toBe(6)
    const options = as('device', { clientId: 'd1', will: will('devices/d1/status') })
    const client = await connect(options)
    client.end()
    await eventually(() => records.length > 0, 'the will is kept')
    expect(records.map(({ topic }) => topic)).toEqual(['devices/d1/status'])
  })
})

describe('PUBLISH under rules', () => {
  it('MQTT 5 is told, and the message goes nowhere', async () => {
    const { connect, records, mqtt } = await given()
    const client = await connect(as('device', { clientId: 'd1', version: 5 }))
    client.publish('devices/d2/x', 'a', { qos: 1, messageId: 1 })
    client.publish('devices/d2/x', 'b', { qos: 2, messageId: 2 })
    client.publish('devices/d2/x', 'c')
    client.publish('devices/d1/secret', 'd', { qos: 1, messageId: 3 })
    client.publish('devices/d1/x', 'e', { qos: 1, messageId: 4 })
    await client.packet('puback', 2)
    expect(client.of('puback').map((ack) => [ack.messageId, ack.reasonCode ?? 0])).toEqual([
      [1, 0x87],
      [3, 0x87],
      [4, 0],
    ])
    expect((await client.packet('pubrec')).reasonCode).toBe(0x87)
    expect(records.map(({ payload }) => Buffer.from(payload).toString())).toEqual(['e'])
    expect(mqtt.stats.denied.publish).toBe(4)
    expect(mqtt.stats.dropped['not-authorized']).toBe(4)
  })

  it('MQTT 3.1.1 gets its acks, and the message goes nowhere', async () => {
    const { connect, records } = await given()
    const client = await connect(as('device', { clientId: 'd1' }))
    client.publish('devices/d2/x', 'a', { qos: 1, messageId: 1 })
    client.publish('devices/d2/x', 'b', { qos: 2, messageId: 2 })
    await client.packet('puback')
    client.send({ cmd: 'pubrel', messageId: 2 })
    await client.packet('pubcomp')
    client.publish('devices/d1/x', 'c', { qos: 2, messageId: 2 })
    await client.packet('pubrec', 1)
    expect(records.map(({ topic }) => topic)).toEqual(['devices/d1/x'])
  })
})

describe('SUBSCRIBE under rules', () => {
  it.each([4, 5] as const)('refuses what no rule could grant (MQTT %i)', async (version) => {
    const { connect, mqtt } = await given()
    const client = await connect(as('device', { clientId: 'd1', version }))
    const denied = version === 5 ? 0x87 : 0x80
    for (const filter of ['plant/#', 'devices/d2/x', 'devices/d1/secret']) {
      expect(codesOf(await client.subscribe(filter)), filter).toEqual([denied])
    }
    expect(codesOf(await client.subscribe('devices/d1/#', 1))).toEqual([1])
    expect(mqtt.stats.denied.subscribe).toBe(3)
    expect(mqtt.stats.subscriptions).toBe(1)
  })

  it('a wider subscription delivers what is granted, and nothing else', async () => {
    const { connect } = await given({ rules: [...rules, everyTopicToPublish] })
    const wide = await connect(as('device', { clientId: 'd1' }))
    const analytics = await connect(as('analytics', { clientId: 'a' }))
    expect(codesOf(await wide.subscribe('#', 1))).toEqual([1])
    expect(codesOf(await analytics.subscribe('#', 1))).toEqual([1])
    const publisher = await connect(as('device', { clientId: 'p' }))
    const topics = ['devices/d1/x', 'devices/d2/x', 'plant', 'devices/d1', 'devices/d1/secret']
    for (let round = 0; round < 3; round++) {
      for (const [n, topic] of topics.entries()) {
        publisher.publish(topic, 'x', { qos: 1, messageId: n + 1 })
      }
    }
    await publisher.packet('puback', 14)
    await wide.ping()
    await analytics.ping()
    const got = (client: RawClient) => client.publishes.map(({ topic }) => topic)
    expect(got(wide)).toEqual(Array(3).fill(['devices/d1/x', 'devices/d1']).flat())
    const all = ['devices/d1/x', 'devices/d2/x', 'devices/d1']
    expect(got(analytics)).toEqual(Array(3).fill(all).flat())
  })

  it('a client id with a wildcard in it is granted nothing', async () => {
    const { connect } = await given()
    for (const clientId of ['#', '+', 'd1/#', '__proto__/..']) {
      const client = await connect(as('device', { clientId }))
      for (const filter of ['devices/#', 'devices/+/x', '#', `devices/${clientId}`]) {
        if (filter === 'devices/d1/#/#') continue
        expect(codesOf(await client.subscribe(filter)), `${clientId} ${filter}`).toEqual([0x80])
      }
    }
  })
})

/** All may publish; what they may read is said by the rules before it. */
const everyTopicToPublish = { user: '*', allow: ['publish'], topics: ['#'] } as const

describe('a reload', () => {
  it('ends the connection of a user who is gone or has another password', async () => {
    const { connect, access, mqtt, file, settings } = await given()
    const device = await connect(as('device', { version: 5, clientId: 'd1' }))
    const old = await connect(as('device', { version: 4, clientId: 'd4' }))
    const analytics = await connect(as('analytics', { version: 5 }))
    writePassword(file, 'device', undefined)
    access.replace(settings)
    mqtt.accessChanged()
    expect((await device.packet('disconnect')).reasonCode).toBe(0x87)
    await old.closing()
    await analytics.ping()
    writePassword(file, 'analytics', await hashPassword(Buffer.from('new'), 10))
    access.replace(settings)
    mqtt.accessChanged()
    expect((await analytics.packet('disconnect')).reasonCode).toBe(0x87)
    await eventually(() => mqtt.stats.closed['not-authorized'] === 3, 'three are counted')
  })

  it('new rules hold with the next message, both ways', async () => {
    const { connect, access, mqtt, settings } = await given()
    const device = await connect(as('device', { clientId: 'd1', version: 5 }))
    const analytics = await connect(as('analytics'))
    await analytics.subscribe('devices/#')
    device.publish('devices/d1/x', 'first', { qos: 1, messageId: 1 })
    await device.packet('puback')
    await analytics.packet('publish')
    access.replace({ ...settings, rules: rules.slice(0, 2) })
    mqtt.accessChanged()
    device.publish('devices/d1/x', 'second', { qos: 1, messageId: 2 })
    await device.packet('puback', 1)
    await analytics.ping()
    expect(analytics.payloads).toEqual(['first'])
    access.replace({ ...settings, rules: rules.slice(2) })
    mqtt.accessChanged()
    device.publish('devices/d1/x', 'third', { qos: 1, messageId: 3 })
    expect((await device.packet('puback', 2)).reasonCode).toBe(0x87)
  })
})

describe('a rate', () => {
  it('slows a publisher down and drops nothing; others are not slowed', async () => {
    const clientRate = { messagesPerSecond: 50 }
    const { connect, mqtt, clock } = await frontEnd({ clientRate })
    const fast = await connect({ clientId: 'fast' })
    const other = await connect({ clientId: 'other' })
    for (let n = 1; n <= 120; n++) fast.publish('t', `${n}`, { qos: 1, messageId: n })
    await eventually(() => fast.of('puback').length >= 51, 'a second of messages is taken at once')
    await other.ping()
    other.publish('t', 'mine', { qos: 1, messageId: 1 })
    await other.packet('puback')
    expect(fast.of('puback').length).toBeLessThan(60)
    expect(mqtt.stats.limited['client-rate']).toBeGreaterThan(0)
    while (fast.of('puback').length < 120) {
      clock.advance(100)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    expect(fast.of('puback').map(({ messageId }) => messageId)).toEqual(
      Array.from({ length: 120 }, (_, n) => n + 1),
    )
    await eventually(() => mqtt.stats.pausedPublishers === 0, 'nobody is paused')
  })
})

describe('limits', () => {
  it('are those of the settings, have a code, and are counted', async () => {
    const limits = {
      subscriptionsMax: 2,
      topicBytesMax: 64,
      topicLevelsMax: 3,
      clientIdBytesMax: 23,
      unsentBytesMax: 256 * 1024,
      keepAliveMaxS: 0,
    }
    const { connect, open, mqtt } = await frontEnd({ limits })
    const client = await connect({ version: 5 })
    const code = async (filter: string) => codesOf(await client.subscribe(filter))[0]
    expect([await code('a'), await code('b'), await code('c'), await code('a')]).toEqual([
      0, 0, 0x97, 0,
    ])
    expect(await code('a/b/c/d')).toBe(0x8f)
    expect(await code('x'.repeat(65))).toBe(0x8f)
    client.publish('a/b/c/d', '', { qos: 1, messageId: 1 })
    client.publish('x'.repeat(65), '', { qos: 1, messageId: 2 })
    await client.packet('puback', 1)
    expect(client.of('puback').map(({ reasonCode }) => reasonCode)).toEqual([0x90, 0x90])
    const named = await open({ version: 5 })
    named.send(named.connectPacket({ clientId: 'x'.repeat(24) }))
    expect((await named.packet('connack')).reasonCode).toBe(0x85)
    expect(mqtt.stats.limited).toMatchObject({
      subscriptions: 1,
      'topic-levels': 2,
      topic: 2,
      'client-id': 1,
    })
  })

  it('the rate of connections from one address', async () => {
    const { port, mqtt } = await frontEnd({ connectionsPerSecond: 1 })
    const clients = []
    for (let n = 0; n < 12; n++) clients.push(await RawClient.open(port))
    await clients[10]?.closing()
    await clients[11]?.closing()
    expect(clients.slice(0, 10).some(({ closed }) => closed)).toBe(false)
    expect(mqtt.stats.limited['connection-rate']).toBe(2)
    for (const client of clients) client.end()
  })
})

// Skipped where it is missing: apt install mosquitto-clients
describe.skipIf(!mosquitto)('mosquitto_pub with a user', () => {
  it.each(['mqttv31', 'mqttv311', 'mqttv5'])('over %s', async (version) => {
    const { port, records } = await given()
    const publish = (password: string) =>
      run('mosquitto_pub', [
        ...['-p', `${port}`, '-V', version, '-i', 'd1', '-u', 'device', '-P', password],
        ...['-q', '1', '-t', 'devices/d1/x', '-m', 'x'],
      ])
    await expect(publish('wrong')).rejects.toThrow(/refused|not authori[sz]ed|bad user/i)
    await publish('device-password')
    expect(records.map(({ topic }) => topic)).toEqual(['devices/d1/x'])
  })
})

describe('before CONNECT', () => {
  it('a client that drips bytes is closed in time', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const { open, mqtt } = await given()
    const slow = await open()
    const packet = generate(slow.connectPacket(as('device')))
    for (const byte of packet.subarray(0, 20)) {
      slow.bytes(Uint8Array.of(byte))
      vi.advanceTimersByTime(1400)
    }
    while (mqtt.stats.receivedBytes < 20) await new Promise((resolve) => setImmediate(resolve))
    expect(mqtt.stats.sockets).toBe(1)
    vi.advanceTimersByTime(2001)
    vi.useRealTimers()
    await slow.closing()
    expect(mqtt.stats.closed['connect-timeout']).toBe(1)
    await eventually(() => mqtt.stats.sockets === 0, 'the socket is gone')
  })
})

describe('what waits for a client when the rules change', () => {
  const user: ConnectOptions = as('device', { clientId: 'd1' })
  const publish = [{ user: '*', allow: ['publish'], topics: ['devices/#'] }] as const

  it('is not sent to it', async () => {
    const { connect, access, settings, mqtt } = await given()
    const reader = await connect({
      ...user,
      version: 5,
      acks: false,
      properties: { receiveMaximum: 1 },
    })
    await reader.subscribe('devices/d1/#', 1)
    const writer = await connect(as('device', { clientId: 'w' }))
    access.replace({ ...settings, rules: [...rules, ...publish] })
    for (let n = 1; n <= 5; n++) writer.publish('devices/d1/x', `${n}`, { qos: 1, messageId: n })
    await writer.packet('puback', 4)
    await reader.packet('publish')
    access.replace({ ...settings, rules: publish })
    mqtt.accessChanged()
    reader.send({ cmd: 'puback', messageId: reader.publishes[0]?.messageId ?? 0 })
    reader.send({ cmd: 'pingreq' })
    await reader.packet('pingresp')
    expect(reader.publishes.map(({ payload }) => payload.toString())).toEqual(['1'])
  })

  it('and was sent before is not sent again', async () => {
    const { connect, access, settings, mqtt } = await given()
    const kept = { ...user, version: 5, clean: false, acks: false } as const
    const properties = { sessionExpiryInterval: 1000 }
    const first = await connect({ ...kept, properties })
    await first.subscribe('devices/d1/#', 1)
    first.publish('devices/d1/x', 'mine', { qos: 1, messageId: 1 })
    await first.packet('publish')
    first.end()
    await eventually(() => mqtt.stats.connections === 0, 'it is gone')
    access.replace({ ...settings, rules: publish })
    mqtt.accessChanged()
    const again = await connect({ ...kept, properties })
    expect(again.of('connack')[0]?.sessionPresent).toBe(true)
    again.send({ cmd: 'pingreq' })
    await again.packet('pingresp')
    // A read of the log may still be under way.
    for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(again.publishes).toEqual([])
  })
})
