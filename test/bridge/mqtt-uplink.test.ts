/** What the MQTT uplink says when a connection does not come about, and the ways it can be made. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { connackReason, disconnectReason, errorReason } from '../../src/bridge/close-reasons.ts'
import { MqttUplink, type MqttUplinkSettings } from '../../src/bridge/mqtt-uplink.ts'
import { type CloseReason, OutboundMessage } from '../../src/bridge/uplink.ts'
import { authority, hasOpenssl } from '../support/certificates.ts'
import { eventually, frontEnd } from '../support/front-end.ts'
import { describeWithMosquitto, type Mosquitto, startMosquitto } from '../support/mosquitto.ts'

const plain: MqttUplinkSettings = {
  url: 'mqtt://127.0.0.1:1',
  protocol: 5,
  clientId: 'gw-1',
  keepaliveMs: 60_000,
  inflightMax: 10,
  keepsSession: false,
  usesQos2: false,
}

/** Connects once: undefined when that worked, otherwise why it did not. */
async function attempt(settings: Partial<MqttUplinkSettings>): Promise<CloseReason | undefined> {
  let outcome: { reason: CloseReason | undefined } | undefined
  const connection = new MqttUplink({ ...plain, ...settings }).connect({
    connected: () => {
      outcome ??= { reason: undefined }
    },
    message: () => undefined,
    roomy: () => undefined,
    closed: (reason) => {
      outcome ??= { reason }
    },
  })
  await eventually(() => outcome !== undefined, 'it is up or closed')
  connection.close({ kind: 'local', sentence: 'the test ends' })
  return outcome?.reason
}

test('says that nobody listens, and that a name is unknown', async () => {
  expect((await attempt({}))?.kind).toBe('refused')
  const unknown = await attempt({ url: 'mqtt://no-such-host.invalid:1883' })
  expect(unknown?.kind).toBe('name-unknown')
})

test('speaks WebSocket, at /mqtt where the URL names no path', async () => {
  const { port } = await frontEnd({
    listeners: [{ host: '127.0.0.1', port: 0, websocket: true }],
  })
  expect(await attempt({ url: `ws://127.0.0.1:${port}` })).toBeUndefined()
  const elsewhere = await attempt({ url: `ws://127.0.0.1:${port}/elsewhere` })
  expect(elsewhere?.kind).toBe('protocol')
})

test('says which file cannot be read', async () => {
  const reason = await attempt({ username: 'gw', passwordFile: '/nowhere/password' })
  expect(reason?.kind).toBe('unusable')
  expect(reason?.sentence).toContain('/nowhere/password')
})

test('finds a peer that takes the connection and closes it', async () => {
  const server = createServer((socket) => socket.end()).listen(0, '127.0.0.1')
  onTestFinished(() => {
    server.close()
  })
  await eventually(() => server.listening, 'it listens')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  expect((await attempt({ url: `mqtt://127.0.0.1:${port}` }))?.kind).toBe('lost')
})

test('has a kind and a sentence for what brokers say', () => {
  expect(connackReason(5, 4).kind).toBe('not-authorized')
  expect(connackReason(0x86, 5).kind).toBe('bad-credentials')
  expect(connackReason(99, 4).sentence).toBe('refused the connection with code 99')
  expect(disconnectReason(0x97, undefined).kind).toBe('quota')
  expect(disconnectReason(0x8b, 'until 10:00').sentence).toBe('shuts down ("until 10:00")')
  expect(errorReason(new Error('Keepalive timeout')).kind).toBe('half-open')
  expect(errorReason(Object.assign(new Error('x'), { code: 'ENETUNREACH' })).kind).toBe(
    'unreachable',
  )
})

describeWithMosquitto('the MQTT uplink', () => {
  test.each([5, 4] as const)('is told of a wrong password over protocol %d', async (protocol) => {
    const broker = await startMosquitto(['allow_anonymous false'])
    const passwordFile = path.join(broker.folder, 'password')
    writeFileSync(passwordFile, 'wrong\n')
    const reason = await attempt({ url: broker.url, protocol, username: 'gw', passwordFile })
    expect(reason?.kind).toBe('not-authorized')
  })

  test('sends no more than the upstream says that it has', async () => {
    const broker = await startMosquitto([
      'allow_anonymous true',
      'max_qos 1',
      'retain_available false',
    ])
    let settled: number | undefined
    let closed: CloseReason | undefined
    const connection = new MqttUplink({ ...plain, url: broker.url }).connect({
      connected: () => {
        const message = new OutboundMessage()
        message.topic = Buffer.from('a')
        message.qos = 2
        message.retain = true
        const waiter = {
          settled: (reason: number) => {
            settled = reason
          },
        }
        connection.publish(message, waiter)
      },
      message: () => undefined,
      roomy: () => undefined,
      closed: (reason) => {
        closed = reason
      },
    })
    await eventually(() => settled !== undefined || closed !== undefined, 'it is answered')
    expect(settled).toBe(0)
    connection.close({ kind: 'local', sentence: 'the test ends' })
    await eventually(() => closed !== undefined, 'it ends')
  })

  test('says when it is no WebSocket that listens there', async () => {
    const broker = await startMosquitto()
    const reason = await attempt({ url: broker.url.replace('mqtt:', 'ws:') })
    expect(['protocol', 'lost']).toContain(reason?.kind)
  })
})

describe.skipIf(!hasOpenssl)('over TLS (needs openssl)', () => {
  describeWithMosquitto('the MQTT uplink', () => {
    test('believes the authority it is given, and no other', async () => {
      const { url, ca, stranger } = await tlsBroker()
      expect(await attempt({ url, tls: { caFile: ca.certFile, alpn: ['mqtt'] } })).toBeUndefined()
      const reason = await attempt({ url, tls: { caFile: stranger.certFile } })
      expect(reason?.kind).toBe('tls-failed')
      expect(reason?.sentence).toContain('fails at TLS')
    })

    test('shows a certificate of its own where one is asked for', async () => {
      const { url, ca } = await tlsBroker(['require_certificate true'])
      const own = ca.sign('gw-1')
      const tls = { caFile: ca.certFile, certFile: own.certFile, keyFile: own.keyFile }
      expect(await attempt({ url, tls })).toBeUndefined()
      const without = await attempt({ url, tls: { caFile: ca.certFile } })
      expect(['tls-failed', 'lost']).toContain(without?.kind)
    })

    test('does not believe a certificate for another name', async () => {
      const { url, ca } = await tlsBroker([], 'DNS:elsewhere.example')
      const reason = await attempt({ url, tls: { caFile: ca.certFile } })
      expect(reason?.kind).toBe('tls-failed')
    })
  })
})

async function tlsBroker(lines: readonly string[] = [], san?: string) {
  const folder = mkdtempSync(path.join(tmpdir(), 'sluice-tls-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const ca = authority(folder)
  const stranger = authority(folder, 'stranger')
  const server = ca.sign('server', san)
  const broker: Mosquitto = await startMosquitto([
    `cafile ${ca.certFile}`,
    `certfile ${server.certFile}`,
    `keyfile ${server.keyFile}`,
    'allow_anonymous true',
    ...lines,
  ])
  return { url: broker.url.replace('mqtt:', 'mqtts:'), ca, stranger }
}
