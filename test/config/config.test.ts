import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { defaultConfig, formatFaults, loadConfig, parseConfig } from '../../src/config/config.ts'
import { tinyConfig } from '../../src/config/tiny.ts'
import { configOf, faultOf, faultsOf, host } from './support.ts'

describe('without a file', () => {
  test('one listener on loopback and one stream for every topic', () => {
    expect(defaultConfig({ hostName: 'gw 7' })).toStrictEqual({
      gateway: { id: 'gw-7', dataDir: './data' },
      mqtt: {
        maxPacketBytes: 262_144,
        maxConnections: 10_000,
        maxInflight: 256,
        maxSessionQueueMs: 86_400_000,
        sessionExpiryMs: 604_800_000,
        maxPublishBacklogBytes: 33_554_432,
        maxRetained: 250_000,
        maxSubscriptions: 1000,
        maxTopicBytes: 4096,
        maxTopicLevels: 100,
        maxClientIdBytes: 256,
        maxUnsentBytes: 262_144,
        connectionsPerSecond: 1000,
        clientLimit: {},
        listeners: [{ host: '127.0.0.1', port: 1883, websocket: false }],
      },
      streams: [
        {
          name: 'default',
          topics: ['#'],
          partitions: 4,
          key: { kind: 'topic' },
          ackAfter: 'fsync',
          qos0: true,
          lingerMs: 0,
          retention: { onLag: 'gap' },
        },
      ],
      queues: [],
      disk: { minFree: { kind: 'percent', percent: 5 }, segmentBytes: 67_108_864 },
      bridges: [],
      http: { host: '127.0.0.1', port: 8080 },
      log: { level: 'info', format: 'auto' },
    })
  })

  test('the stand-in stream is a written one with its defaults', () => {
    const written = configOf('[[stream]]\nname = "default"\ntopics = ["#"]')
    expect(written.streams).toStrictEqual(defaultConfig(host).streams)
    expect(configOf('stream = []')).toStrictEqual(defaultConfig(host))
  })

  test('the tiny profile has the shape of any other and limits that every test reaches', () => {
    const tiny = tinyConfig('/tmp/x')
    expect(Object.keys(tiny).sort()).toEqual(Object.keys(defaultConfig(host)).sort())
    expect(tiny.mqtt.maxInflight).toBe(4)
    expect(tiny.disk.segmentBytes).toBe(65_536)
    expect(tiny.mqtt.maxPublishBacklogBytes).toBeGreaterThanOrEqual(2 * tiny.mqtt.maxPacketBytes)
  })
})

describe('each form of a value', () => {
  test.each([
    ['topic', { kind: 'topic' }],
    ['topic:0', { kind: 'topic-level', level: 0 }],
    ['topic:12', { kind: 'topic-level', level: 12 }],
    ['client', { kind: 'client' }],
    ['property:site id', { kind: 'user-property', name: 'site id' }],
    ['none', { kind: 'round-robin' }],
  ])('key = %j', (key, expected) => {
    const { streams } = configOf(`[[stream]]\nname = "a"\ntopics = ["#"]\nkey = "${key}"`)
    expect(streams[0]?.key).toEqual(expected)
  })

  test.each(['topic:', 'topic:-1', 'topic:x', 'topic:70000', 'property:', 'Topic', ''])(
    'key = %j is a fault',
    (key) => {
      const fault = faultOf(`[[stream]]\nname = "a"\ntopics = ["#"]\nkey = "${key}"`)
      expect(fault).toContain(`stream[0].key: found "${key}", expected "topic:<level>"`)
    },
  )

  test('free disk space is a share or a size', () => {
    expect(configOf('disk.min_free = "2.5%"').disk.minFree).toEqual({
      kind: 'percent',
      percent: 2.5,
    })
    expect(configOf('disk.min_free = "2GiB"').disk.minFree).toEqual({
      kind: 'bytes',
      bytes: 2_147_483_648,
    })
    expect(faultOf('disk.min_free = "200%"')).toContain(
      'found "200%", expected a share such as "5%"',
    )
  })

  test('a forward begins at an end of the stream or some time back', () => {
    const start = (text: string) =>
      configOf(`[[bridge]]\nname="b"\nurl="ws://b"\n[[bridge.forward]]\nstream="default"\n${text}`)
        .bridges[0]?.forwards[0]?.start
    expect(start('')).toEqual({ kind: 'latest' })
    expect(start('start = "earliest"')).toEqual({ kind: 'earliest' })
    expect(start('start = "-6h"')).toEqual({ kind: 'back', agoMs: 21_600_000 })
  })

  test.each([
    ['gateway.id = 5', 'gateway.id: found 5, expected up to 64 letters'],
    ['gateway.data_dir = ""', 'gateway.data_dir: found "", expected the name of a folder'],
    ['mqtt = 5', 'mqtt: found 5, expected a table'],
    ['stream = "a"', 'stream: found "a", expected a list'],
    ['stream = [5]', 'stream[0]: found 5, expected a table'],
    ['mqtt.max_packet = 262144', 'found 262144, expected a size such as "512B"'],
    ['mqtt.max_inflight = "64"', 'found "64", expected a whole number from 1 to 65535'],
    ['mqtt.max_inflight = 1.5', 'found 1.5, expected a whole number'],
    ['mqtt.session_expiry = 1979-05-27', 'found a date, expected a duration such as "250ms"'],
    ['log.level = "verbose"', 'found "verbose", expected one of "trace", "debug", "info"'],
    ['http.address = "8080"', 'http.address: found "8080", expected "host:port"'],
    ['mqtt.listener = [{ websocket = "yes" }]', 'found "yes", expected true or false'],
  ])('%s says what was found and what is expected', (toml, message) => {
    expect(faultOf(toml)).toContain(message)
  })
})

describe('bounds', () => {
  const stream = (text: string) => `[[stream]]\nname = "a"\ntopics = ["#"]\n${text}`
  test.each([
    ['mqtt.max_inflight = 1', 'mqtt.max_inflight = 0'],
    ['mqtt.max_inflight = 65535', 'mqtt.max_inflight = 65536'],
    ['mqtt.max_connections = 1', 'mqtt.max_connections = 0'],
    ['disk.segment = "1MiB"', 'disk.segment = "1048575B"'],
    ['disk.segment = "2GiB"', 'disk.segment = "2049MiB"'],
    [stream('partitions = 1'), stream('partitions = 0')],
    [stream('partitions = 1024'), stream('partitions = 1025')],
    [stream('linger = "1m"'), stream('linger = "61s"')],
    [
      'mqtt = { max_packet = "268435460B", max_publish_backlog = "1GiB" }',
      'mqtt = { max_packet = "268435461B", max_publish_backlog = "1GiB" }',
    ],
  ])('%s is accepted, %s is not', (inside, outside) => {
    expect(faultsOf(inside)).toEqual([])
    expect(faultsOf(outside)).toHaveLength(1)
  })
})

describe('unknown keys', () => {
  test.each([
    ['mqtt.max_pakcet = "1KiB"', 'mqtt.max_pakcet: unknown key, did you mean "max_packet"?'],
    ['[[streams]]', 'streams: unknown key, did you mean "stream"?'],
    [
      '[mqtt]\n[[mqtt.listener]]\nadress = "x"',
      'mqtt.listener[0].adress: unknown key, did you mean',
    ],
    ['log.colour = true', 'log.colour: unknown key, expected one of level, format'],
    ['disk."a\\nb" = 1', 'disk."a\\nb": unknown key, expected one of min_free, segment'],
    ['disk.__proto__ = 1', 'disk.__proto__: unknown key'],
    ['constructor = 1', 'constructor: unknown key'],
  ])('%s', (toml, fault) => {
    expect(faultOf(toml)).toContain(fault)
  })

  test('a secret is sent to a file, and not repeated (C4)', () => {
    const toml = `
      access.password = "hunter2"
      http.token = "hunter2"
      [[bridge]]
      name = "b"
      url = "mqtt://me:hunter2@broker"
      password = "hunter2"`
    const faults = faultsOf(toml)
    expect(faults).toHaveLength(4)
    expect(faults.join('\n')).not.toContain('hunter2')
    expect(faults.filter((fault) => fault.includes('"password_file"'))).toHaveLength(2)
    expect(faults.filter((fault) => fault.includes('"token_file"'))).toHaveLength(1)
  })
})

test('C2: faults of every kind are reported at once, each with its path', () => {
  const toml = `
    gatway = 1
    [mqtt]
    max_pakcet = "1KiB"
    colour = "red"
    max_packet = "1MB"
    max_inflight = 0
    [[mqtt.listener]]
    address = "0.0.0.0:1883"
    tls = { cert_file = "x" }
    [[mqtt.listener]]
    address = "127.0.0.1:1883"
    [[stream]]
    name = "a"
    topics = ["a/#/b", "ok"]
    linger = "5 parsecs"
    retention = { age = 5, foo = 1 }
    [[stream]]
    name = "a"
    [[bridge]]
    name = "b"
    url = "http://b"
    [[bridge.forward]]
    stream = "c"
    [disk]
    segment = "64KiB"`
  const paths = faultsOf(toml).map((fault) => fault.slice(0, fault.indexOf(': ')))
  expect([...paths].sort()).toEqual([
    'bridge[0].forward[0].stream',
    'bridge[0].url',
    'disk.segment',
    'gatway',
    'mqtt.colour',
    'mqtt.listener[0].address',
    'mqtt.listener[0].tls.key_file',
    'mqtt.listener[1].address',
    'mqtt.max_inflight',
    'mqtt.max_packet',
    'mqtt.max_pakcet',
    'stream[0].linger',
    'stream[0].retention.age',
    'stream[0].retention.foo',
    'stream[0].topics[0]',
    'stream[1].name',
    'stream[1].topics',
  ])
})

test.each([null, undefined, 5, 'x', [], [[]]])('%j is no tree, and a fault', (source) => {
  const result = parseConfig(source, host)
  expect(result.kind === 'invalid' ? formatFaults(result.faults) : '').toMatch(
    /^the file: .* expected a table$/,
  )
})

describe('a file', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'sluice-config-'))
  })
  afterAll(() => rm(folder, { recursive: true }))

  const faultsOfFile = (file: string) => {
    const result = loadConfig(file, host)
    return result.kind === 'invalid' ? formatFaults(result.faults) : ''
  }

  test('that is right is read', async () => {
    const file = join(folder, 'right.toml')
    await writeFile(file, '[gateway]\nid = "x"\n')
    expect(loadConfig(file, host)).toMatchObject({
      kind: 'valid',
      config: { gateway: { id: 'x' } },
    })
  })

  test('that is no TOML is a fault with line and column', async () => {
    const file = join(folder, 'wrong.toml')
    await writeFile(file, '[gateway]\nid = = "x"\n')
    expect(faultsOfFile(file)).toBe(`${file}:2:6: is not valid TOML: invalid value`)
  })

  test('that is missing, or a folder, is a fault that says so', () => {
    const file = join(folder, 'none.toml')
    expect(faultsOfFile(file)).toBe(`${file}: cannot be read: there is no such file`)
    expect(faultsOfFile(folder)).toBe(`${folder}: cannot be read: it is a folder`)
  })
})
