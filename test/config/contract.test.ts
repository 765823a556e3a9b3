import { join } from 'node:path'
import { expect, test } from 'vitest'
import { assert } from '../../src/base/assert.ts'
import { type Config, loadConfig } from '../../src/config/config.ts'
import { host } from './support.ts'

const KIB = 1024
const MIB = 1024 * KIB
const DAY_MS = 86_400_000
const gap = { onLag: 'gap' } as const

const mqtt: Config['mqtt'] = {
  maxPacketBytes: 256 * KIB,
  maxConnections: 10_000,
  maxInflight: 64,
  maxSessionQueueMs: DAY_MS,
  sessionExpiryMs: 7 * DAY_MS,
  maxPublishBacklogBytes: 32 * MIB,
  maxRetained: 250_000,
  maxSubscriptions: 1000,
  maxTopicBytes: 4 * KIB,
  maxTopicLevels: 100,
  maxClientIdBytes: 256,
  maxUnsentBytes: 256 * KIB,
  connectionsPerSecond: 1000,
  clientLimit: {},
  listeners: [
    { host: '127.0.0.1', port: 1883, websocket: false },
    {
      host: '0.0.0.0',
      port: 8883,
      websocket: false,
      tls: {
        certFile: 'certs/server.pem',
        keyFile: 'certs/server.key',
        clientCaFile: 'certs/devices-ca.pem',
        requireClientCert: true,
      },
    },
    { host: '127.0.0.1', port: 8083, websocket: true },
  ],
}

const access: Config['access'] = {
  anonymous: false,
  passwordFile: 'passwords',
  rules: [
    { user: '*', allow: ['publish', 'subscribe'], topics: ['devices/{client}/#'] },
    {
      user: 'analytics',
      allow: ['subscribe'],
      topics: ['devices/#', '$stream/#', '$queue/#'],
    },
  ],
}

const byTopic = {
  partitions: 4,
  key: { kind: 'topic' },
  ackAfter: 'fsync',
  qos0: true,
  lingerMs: 0,
} as const

const streams: Config['streams'] = [
  {
    ...byTopic,
    name: 'telemetry',
    topics: ['devices/+/telemetry/#'],
    key: { kind: 'topic-level', level: 1 },
    retention: { ageMs: 7 * DAY_MS, sizeBytes: 2 * 1024 * MIB, onLag: 'gap' },
  },
  {
    ...byTopic,
    name: 'alarms',
    topics: ['devices/+/alarm', 'alarms/#'],
    retention: { ageMs: 90 * DAY_MS, onLag: 'gap' },
  },
  { ...byTopic, name: 'dead', topics: [], retention: gap },
]

const queues: Config['queues'] = [
  {
    name: 'jobs',
    topics: ['jobs/#'],
    ackTimeoutMs: 30_000,
    maxDeliveries: 5,
    deadLetter: 'dead',
    priority: { kind: 'user-property', name: 'priority' },
  },
]

const bridges: Config['bridges'] = [
  {
    name: 'cloud',
    url: 'mqtts://broker.example.com:8883',
    protocol: 5,
    clientId: '{gateway}',
    username: 'gw-1',
    passwordFile: 'secrets/cloud.password',
    tls: {
      caFile: 'certs/cloud-ca.pem',
      certFile: 'certs/gw.pem',
      keyFile: 'certs/gw.key',
      alpn: ['mqtt'],
    },
    keepaliveMs: 60_000,
    backoff: { firstMs: 1000, mostMs: 120_000, stableAfterMs: 60_000 },
    limit: { recordsPerSecond: 500, bytesPerSecond: 200 * KIB, bytesPerDay: 100 * MIB },
    forwards: [
      {
        stream: 'alarms',
        to: 'sites/{gateway}/{topic}',
        qos: 1,
        window: 64,
        priority: 0,
        order: 'strict',
        start: { kind: 'latest' },
        envelope: 'none',
        maxLag: gap,
      },
      {
        stream: 'telemetry',
        topics: ['devices/+/telemetry/temp'],
        to: 'sites/{gateway}/{topic}',
        qos: 1,
        window: 64,
        priority: 5,
        order: 'live-first',
        start: { kind: 'latest' },
        batch: { records: 200, maxBytes: 64 * KIB, lingerMs: 2000, compress: 'deflate' },
        envelope: 'none',
        maxLag: { ageMs: 3 * DAY_MS, onLag: 'gap' },
      },
    ],
    receives: [{ from: 'sites/{gateway}/commands/#', to: 'commands/{#}', expiresMs: 600_000 }],
  },
]

const expected: Config = {
  gateway: { id: 'gw-1', dataDir: './data' },
  mqtt,
  access,
  streams,
  queues,
  disk: { minFree: { kind: 'percent', percent: 5 }, segmentBytes: 64 * MIB },
  bridges,
  http: { host: '127.0.0.1', port: 8080, tokenFile: 'secrets/http.token' },
  log: { level: 'info', format: 'auto' },
}

function contract() {
  const result = loadConfig(join(import.meta.dirname, 'contract.toml'), host)
  assert(result.kind === 'valid', 'the contract is a valid configuration')
  return result
}

test('the contract reads as the expected tree, every key of it', () => {
  expect(contract().config).toStrictEqual(expected)
})
