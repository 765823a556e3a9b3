import { execFile, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import tls from 'node:tls'
import { promisify } from 'node:util'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { generate } from 'mqtt-packet'
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { WebSocket } from 'ws'
import type { AccessSettings } from '../../src/access/access.ts'
import { PENDING_MAX } from '../../src/mqtt/listener.ts'
import { networkOf } from '../../src/mqtt/listener-rate.ts'
import { HANDSHAKE_TIMEOUT_MS } from '../../src/mqtt/listener-tls.ts'
import type { ListenerSettings, ListenerTls } from '../../src/mqtt/mqtt.ts'
import { type Authority, authority, hasOpenssl } from '../support/certificates.ts'
import { eventually, everything, type Fixture, frontEnd } from '../support/front-end.ts'

const run = promisify(execFile)
const mosquitto = spawnSync('sh', ['-c', 'command -v mosquitto_pub']).status === 0

const loopback = { host: '127.0.0.1', port: 0 }

function start(more: Partial<ListenerSettings>, access?: AccessSettings): Promise<Fixture> {
  return frontEnd({ listeners: [{ ...loopback, ...more }] }, [everything], access)
}

async function connected(url: string, options: IClientOptions = {}): Promise<MqttClient> {
  const client = await mqtt.connectAsync(url, { reconnectPeriod: 0, ...options })
  onTestFinished(async () => void client.end(true))
  return client
}

/** Sends a message through the broker and back. */
async function echo(client: MqttClient, payload: string | Buffer = 'hello'): Promise<Buffer> {
  const got = new Promise<Buffer>((resolve) => {
    client.once('message', (_topic, message) => resolve(message))
  })
  await client.subscribeAsync('echo', { qos: 1 })
  await client.publishAsync('echo', payload, { qos: 1 })
  return await got
}

it.each([
  ['10.0.0.1', '10.0.0.1'],
  ['::ffff:10.0.0.1', '10.0.0.1'],
  ['::1', '0:0:0:0::/64'],
  ['2001:db8::1', '2001:db8:0:0::/64'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::', '2001:db8:1:2::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
])('%s counts as %s', (address, network) => {
  expect(networkOf(address)).toBe(network)
})

describe('a WebSocket listener', () => {
  it.each([4, 5] as const)('serves mqtt.js with protocol %i', async (protocolVersion) => {
    const { port } = await start({ websocket: true })
    const client = await connected(`ws://127.0.0.1:${port}/mqtt`, { protocolVersion })
    expect((await echo(client)).toString()).toBe('hello')
    const large = Buffer.alloc(200_000, 7)
    expect((await echo(client, large)).equals(large)).toBe(true)
  })

  async function socket(port: number, protocol: string | string[] = 'mqtt'): Promise<WebSocket> {
    const webSocket = new WebSocket(`ws://127.0.0.1:${port}/mqtt`, protocol)
    onTestFinished(() => webSocket.terminate())
    await once(webSocket, 'open')
    return webSocket
  }

  const connectAs = (clientId: string) =>
    generate({
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 4,
      clean: true,
      clientId,
      keepalive: 0,
    })
  const connect = connectAs('ws')

  it.each([
    ['mqtt', 'mqtt'],
    ['mqttv3.1', 'mqttv3.1'],
    [['x', 'mqtt'], 'mqtt'],
    [['mqttv3.1', 'mqtt'], 'mqtt'],
  ])('offered %j it speaks %s', async (offered, spoken) => {
    const { port } = await start({ websocket: true })
    expect((await socket(port, offered)).protocol).toBe(spoken)
  })

  it('a message of countless fragments closes its socket', async () => {
    const { port, mqtt: broker } = await start({ websocket: true })
    const webSocket = await socket(port)
    webSocket.on('error', () => undefined)
    for (let n = 0; n < 1000; n++) webSocket.send(Buffer.alloc(0), { fin: false })
    await once(webSocket, 'close')
    await eventually(() => broker.stats.sockets === 0, 'it is gone')
  })

  it('a flood of sockets that say nothing keeps nobody out', async () => {
    const { port, mqtt: broker } = await start({ websocket: true })
    const flood: net.Socket[] = []
    onTestFinished(() => {
      for (const one of flood) one.destroy()
    })
    for (let n = 0; n < PENDING_MAX + 20; n++) {
      flood.push(net.connect(port, '127.0.0.1').on('error', () => undefined))
      if (n % 100 === 99) await new Promise((resolve) => setImmediate(resolve))
    }
    await eventually(() => broker.stats.limited.handshake >= 20, 'the oldest are closed')
    const client = await connected(`ws://127.0.0.1:${port}/mqtt`)
    expect((await echo(client)).toString()).toBe('hello')
    expect(broker.stats.sockets).toBe(1)
  })

  it('takes packets that span frames, and several in one [MQTT-6.0.0-2]', async () => {
    const { port } = await start({ websocket: true })
    const webSocket = await socket(port)
    const bytes = Buffer.concat([connect, Buffer.from([0xc0, 0]), Buffer.from([0xc0, 0])])
    const answers: Buffer[] = []
    webSocket.on('message', (data) => answers.push(data as Buffer))
    for (const byte of bytes.subarray(0, bytes.length - 3)) webSocket.send(Buffer.from([byte]))
    webSocket.send(bytes.subarray(bytes.length - 3))
    await eventually(() => Buffer.concat(answers).length >= 8, 'CONNACK and two PINGRESP')
    expect(Buffer.concat(answers)).toEqual(Buffer.from([0x20, 2, 0, 0, 0xd0, 0, 0xd0, 0]))
  })

  it('closes on a text frame [MQTT-6.0.0-1]', async () => {
    const { port, mqtt: broker } = await start({ websocket: true })
    const webSocket = await socket(port)
    webSocket.send(connect.toString('latin1'))
    const [code] = await once(webSocket, 'close')
    expect(code).toBe(1003)
    await eventually(() => broker.stats.sockets === 0, 'the connection is gone')
  })

  it('closes on a message larger than any packet', async () => {
    const { port } = await start({ websocket: true })
    const webSocket = await socket(port)
    webSocket.on('error', () => undefined)
    webSocket.send(connect)
    webSocket.send(Buffer.alloc(1024 * 1024))
    const [code] = await once(webSocket, 'close')
    expect([1006, 1009]).toContain(code)
  })

  async function httpAnswer(port: number, request: string): Promise<string> {
    const client = net.connect(port, '127.0.0.1')
    client.write(request)
    let text = ''
    client.on('data', (chunk) => {
      text += chunk
    })
    await once(client, 'close')
    return text
  }

  const upgrade = (target: string, protocol: string) =>
    [
      `GET ${target} HTTP/1.1`,
      'Host: x',
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      ...(protocol === '' ? [] : [`Sec-WebSocket-Protocol: ${protocol}`]),
      '\r\n',
    ].join('\r\n')

  it.each([
    ['another path', upgrade('/', 'mqtt'), 'HTTP/1.1 404 '],
    ['a longer path', upgrade('/mqtt/x', 'mqtt'), 'HTTP/1.1 404 '],
    ['no subprotocol', upgrade('/mqtt', ''), 'HTTP/1.1 400 '],
    ['another subprotocol', upgrade('/mqtt', 'chat, amqp'), 'HTTP/1.1 400 '],
    ['a plain request', 'GET /mqtt HTTP/1.1\r\nHost: x\r\n\r\n', 'HTTP/1.1 426 '],
    ['a plain request elsewhere', 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', 'HTTP/1.1 404 '],
    ['what is no HTTP', '\x10\x10\x00\x04MQTT', ''],
  ])('refuses %s and goes on', async (_what, request, answer) => {
    const { port, mqtt: broker } = await start({ websocket: true })
    expect((await httpAnswer(port, request)).slice(0, answer.length || 1)).toBe(answer)
    expect(broker.stats.sockets).toBe(0)
    expect((await echo(await connected(`ws://127.0.0.1:${port}/mqtt`))).toString()).toBe('hello')
  })

  it('is not read while its publishers are held, and holds little', async () => {
    const { port, log } = await start({ websocket: true })
    const webSocket = await socket(port)
    webSocket.send(connect)
    await once(webSocket, 'message')
    log.hold()
    const publish = generate({
      cmd: 'publish',
      topic: 't',
      payload: Buffer.alloc(1000),
      qos: 1,
      messageId: 1,
      dup: false,
      retain: false,
    })
    let taken = 0
    const sending = (async () => {
      for (; taken < 40_000; taken += 100) {
        for (let n = 1; n < 100; n++) webSocket.send(publish)
        // Called when the kernel has taken it.
        await new Promise((resolve) => webSocket.send(publish, resolve))
      }
    })()
    let [last, same] = [0, 0]
    await eventually(() => {
      same = taken === last ? same + 1 : 0
      last = taken
      return same > 100
    }, 'nothing moves any more')
    // What the two sockets hold in the kernel, and a little of ours.
    expect(taken).toBeLessThan(20_000)
    let answered = 0
    webSocket.on('message', (data) => {
      answered += (data as Buffer).length
    })
    log.release()
    await sending
    await eventually(() => answered >= 40_000 * 4, 'everything is acknowledged')
  })

  it('a subscriber that does not read holds no more than on TCP', async () => {
    const { port, mqtt: broker } = await start({ websocket: true })
    const webSocket = await socket(port)
    webSocket.send(connect)
    await once(webSocket, 'message')
    webSocket.send(
      generate({
        cmd: 'subscribe',
        messageId: 1,
        subscriptions: [{ topic: 't', qos: 0 }],
      } as never),
    )
    await once(webSocket, 'message')
    webSocket.pause()
    const publisher = await socket(port)
    publisher.send(connectAs('publisher'))
    const publish = generate({
      cmd: 'publish',
      topic: 't',
      payload: Buffer.alloc(1000),
      qos: 0,
      dup: false,
      retain: false,
    })
    for (let n = 0; n < 25_000; n++) publisher.send(publish)
    await eventually(() => broker.stats.received[0] === 25_000, 'the publisher is not held up')
    await eventually(() => broker.stats.dropped['slow-subscriber'] > 0, 'messages are dropped')
    expect(await echo(await connected(`ws://127.0.0.1:${port}/mqtt`))).toBeDefined()
  })

  it('closing works from both sides', async () => {
    const { port, mqtt: broker } = await start({ websocket: true })
    const client = await connected(`ws://127.0.0.1:${port}/mqtt`)
    await client.endAsync()
    await eventually(() => broker.stats.sockets === 0, 'the socket is gone')
    expect(broker.stats.closed['client-disconnected']).toBe(1)
    const other = await connected(`ws://127.0.0.1:${port}/mqtt`, { protocolVersion: 5 })
    const told = new Promise((resolve) => {
      other.once('disconnect', resolve)
    })
    await broker.close()
    expect(await told).toMatchObject({ reasonCode: 0x8b })
  })
})

// Skipped where it is missing: apt install openssl
describe.skipIf(!hasOpenssl)('TLS', () => {
  let folder = ''
  let ca: Authority
  let devices: Authority
  let server: ListenerTls

  beforeAll(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'sluice-tls-'))
    ca = authority(folder)
    devices = authority(folder, 'devices')
    server = { ...ca.sign('server'), requireClientCert: false }
    return () => rmSync(folder, { recursive: true, force: true })
  })

  const trusting = (): IClientOptions => ({ ca: readFileSync(ca.certFile) })
  const showing = ({ certFile, keyFile }: { certFile: string; keyFile: string }) => ({
    ...trusting(),
    cert: readFileSync(certFile),
    key: readFileSync(keyFile),
  })

  it.each(['mqtts', 'wss'] as const)('serves mqtt.js over %s', async (scheme) => {
    const { port } = await start({ tls: server, websocket: scheme === 'wss' })
    const client = await connected(`${scheme}://localhost:${port}/mqtt`, trusting())
    const large = Buffer.alloc(200_000, 9)
    expect((await echo(client, large)).equals(large)).toBe(true)
  })

  it('requires a certificate of the right authority', async () => {
    const { port, mqtt: broker } = await start({
      tls: { ...server, clientCaFile: devices.certFile, requireClientCert: true },
    })
    const url = `mqtts://localhost:${port}`
    const stranger = ca.sign('stranger')
    const shown = { cert: readFileSync(stranger.certFile), key: readFileSync(stranger.keyFile) }
    for (const more of [{}, shown]) {
      const socket = tls.connect({
        port,
        host: '127.0.0.1',
        servername: 'localhost',
        ca: readFileSync(ca.certFile),
        ...more,
      })
      await new Promise((resolve) => {
        socket.on('error', () => undefined).once('close', resolve)
      })
    }
    expect(broker.stats.sockets).toBe(0)
    const client = await connected(url, showing(devices.sign('d1')))
    expect((await echo(client)).toString()).toBe('hello')
  })

  it.each([
    ['cn', 'mqtts', 'd7', 'DNS:x', 'd7'],
    ['san', 'mqtts', 'x', 'IP:127.0.0.1,DNS:d7,DNS:d8', 'd7'],
    ['san', 'wss', 'x', 'URI:urn:device:7', 'urn:device:7'],
    ['cn', 'wss', 'd7', 'DNS:x', 'd7'],
  ] as const)('the %s over %s is the user', async (userFrom, scheme, name, san, user) => {
    const access: AccessSettings = {
      anonymous: false,
      rules: [{ user, allow: ['publish', 'subscribe'], topics: ['echo'] }],
    }
    const tlsOf = { ...server, clientCaFile: devices.certFile, userFrom }
    const { port, mqtt: broker } = await start({ tls: tlsOf, websocket: scheme === 'wss' }, access)
    const url = `${scheme}://localhost:${port}/mqtt`
    const client = await connected(url, showing(devices.sign(name, san)))
    expect((await echo(client)).toString()).toBe('hello')
    // Another name, a certificate that nobody verified, and none at all.
    const other = await connected(url, showing(devices.sign('other', 'DNS:other')))
    await expect(other.subscribeAsync('echo')).rejects.toThrow()
    await expect(connected(url, showing(ca.sign(name, san)))).rejects.toThrow(/Not authorized/i)
    await expect(connected(url, trusting())).rejects.toThrow(/Not authorized/i)
    expect(broker.stats.denied['not-authorized']).toBe(2)
  })

  it('without user_from a certificate names nobody', async () => {
    const access: AccessSettings = {
      anonymous: true,
      rules: [{ user: 'd7', allow: ['subscribe'], topics: ['#'] }],
    }
    const { port } = await start(
      { tls: { ...server, clientCaFile: devices.certFile, requireClientCert: true } },
      access,
    )
    const client = await connected(`mqtts://localhost:${port}`, showing(devices.sign('d7')))
    await expect(client.subscribeAsync('echo')).rejects.toThrow()
  })

  it('new certificates are used at a reload, and nobody is disconnected', async () => {
    const own = path.join(folder, 'reload.pem')
    const key = path.join(folder, 'reload.key')
    const use = ({ certFile, keyFile }: { certFile: string; keyFile: string }) => {
      copyFileSync(certFile, own)
      copyFileSync(keyFile, key)
    }
    use(ca.sign('first'))
    const {
      port,
      mqtt: broker,
      complaints,
    } = await start({
      tls: { certFile: own, keyFile: key, requireClientCert: false },
    })
    const subject = async () => {
      const socket = tls.connect({
        port,
        host: '127.0.0.1',
        ca: readFileSync(ca.certFile),
        servername: 'localhost',
      })
      await once(socket, 'secureConnect')
      const { CN } = socket.getPeerCertificate().subject
      socket.destroy()
      return CN
    }
    const client = await connected(`mqtts://localhost:${port}`, trusting())
    expect(await subject()).toBe('first')
    use(ca.sign('second'))
    broker.reloadCertificates()
    expect(await subject()).toBe('second')
    copyFileSync(ca.sign('third').keyFile, key)
    broker.reloadCertificates()
    expect(await subject()).toBe('second')
    expect(complaints.join()).toMatch(/old certificates stay.*not the key of the certificate/)
    writeFileSync(own, 'no certificate')
    broker.reloadCertificates()
    expect(await subject()).toBe('second')
    expect((await echo(client)).toString()).toBe('hello')
  })

  it.each([
    [
      'a missing certificate',
      () => ({ ...server, certFile: 'no-such.pem' }),
      /certificate file no-such.pem cannot be read: there is no such file/,
    ],
    [
      'a missing key',
      () => ({ ...server, keyFile: 'no-such.key' }),
      /key file no-such.key cannot be read/,
    ],
    [
      'a key of another certificate',
      () => ({ ...server, keyFile: ca.keyFile }),
      /not the key of the certificate/,
    ],
    [
      'a certificate that is none',
      () => ({ ...server, certFile: server.keyFile }),
      /holds no certificate/,
    ],
    [
      'a missing authority',
      () => ({ ...server, clientCaFile: 'no-ca.pem' }),
      /client authority file no-ca.pem/,
    ],
  ])('does not start with %s', async (_what, settings, sentence) => {
    const failing = start({ tls: settings() })
    await expect(failing).rejects.toMatchObject({ code: 'tls-invalid' })
    await expect(failing).rejects.toThrow(sentence)
  })

  it('broken handshakes harm nobody else', async () => {
    const { port, mqtt: broker } = await start({ tls: server })
    const client = await connected(`mqtts://localhost:${port}`, trusting())
    for (const bytes of ['GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01\x02\x00\x01', '\0'.repeat(5000)]) {
      const socket = net.connect(port, '127.0.0.1')
      socket.on('error', () => undefined)
      socket.write(bytes)
      setImmediate(() => socket.end())
      await once(socket, 'close')
    }
    await eventually(() => broker.stats.limited.handshake >= 2, 'they are counted')
    expect((await echo(client)).toString()).toBe('hello')
    expect(broker.stats.sockets).toBe(1)
  })

  it.each([true, false])('half-open handshakes end (websocket %s)', async (websocket) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const { port, mqtt: broker } = await start({ tls: server, websocket })
    const sockets = Array.from({ length: 20 }, () => net.connect(port, '127.0.0.1'))
    const closed = sockets.map((socket) =>
      once(
        socket.on('error', () => undefined),
        'close',
      ),
    )
    await Promise.all(sockets.map((socket) => once(socket, 'connect')))
    for (const socket of sockets) socket.write('\x16\x03\x01')
    const idle = tls.connect({
      port,
      host: '127.0.0.1',
      ca: readFileSync(ca.certFile),
      servername: 'localhost',
    })
    await once(idle, 'secureConnect')
    if (websocket)
      closed.push(
        once(
          idle.on('error', () => undefined),
          'close',
        ),
      )
    vi.advanceTimersByTime(HANDSHAKE_TIMEOUT_MS + 1)
    vi.useRealTimers()
    await Promise.all(closed)
    expect(broker.stats.limited.handshake).toBeGreaterThanOrEqual(20)
    idle.destroy()
  })

  // Skipped where it is missing: apt install mosquitto-clients
  it.skipIf(!mosquitto)('takes mosquitto_pub with a certificate', async () => {
    const { port, records } = await start({
      tls: { ...server, clientCaFile: devices.certFile, requireClientCert: true },
    })
    const { certFile, keyFile } = devices.sign('pub')
    await run('mosquitto_pub', [
      '-h',
      'localhost',
      '-p',
      `${port}`,
      '--cafile',
      ca.certFile,
      '--cert',
      certFile,
      '--key',
      keyFile,
      '-q',
      '1',
      '-t',
      'a/b',
      '-m',
      'x',
    ])
    expect(records.map(({ topic }) => topic)).toEqual(['a/b'])
  })
})
