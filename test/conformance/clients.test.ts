/** The usual scenarios of interoperability suites, with clients that others wrote. */
import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { eventually } from '../support/front-end.ts'
import { type GatewayProcess, startGateway } from '../support/gateway-process.ts'

const run = promisify(execFile)
const has = (command: string, ...args: string[]) => spawnSync(command, args).status === 0
const mosquitto = has('sh', '-c', 'command -v mosquitto_pub mosquitto_sub mosquitto_rr')
const python = ['/usr/bin/python3', 'python3'].find((command) =>
  has(command, '-c', 'import paho.mqtt.subscribeoptions'),
)
const script = fileURLToPath(new URL('./scenarios.py', import.meta.url))

let gateway: GatewayProcess
beforeAll(async () => {
  const config = '[mqtt]\nmax_keepalive = "60s"\n'
  const websocket = '[[mqtt.listener]]\naddress = "127.0.0.1:0"\nwebsocket = true\n'
  const plain = '[[mqtt.listener]]\naddress = "127.0.0.1:0"\n'
  gateway = await startGateway({ config: `${config}${plain}${websocket}` })
})
afterAll(() => gateway.dispose())

describe('Paho for Python', () => {
  const both = [
    'basic',
    'retained',
    'will',
    'keepalive',
    'offline_queueing',
    'overlapping',
    'redelivery',
    'empty_id',
    'dollar_topics',
    'unsubscribe',
    'shared_subscriptions',
  ]
  const only5 = [
    'session_expiry',
    'properties',
    'request_response',
    'message_expiry',
    'subscribe_options',
    'topic_alias',
    'maximum_packet_size',
    'server_keep_alive',
    'will_delay',
  ]
  describe.each([
    [4, both],
    [5, [...both, ...only5]],
  ] as const)('with version %i', (version, names) => {
    // Skipped where it is missing: apt install python3-paho-mqtt
    it.skipIf(python === undefined).concurrent.each(names)('%s', async (name) => {
      // Scenarios run at once, each with topics and client ids of its own.
      const args = [script, String(gateway.mqttPort), String(version), name]
      await run(python as string, args, { timeout: 25_000 })
    })
  })

  it('has a scenario for each name, and no other', () => {
    const text = readFileSync(script, 'utf8')
    const helpers = new Set(['props', 'texts', 'expect'])
    const names = [...text.matchAll(/^def (\w+)\(/gm)].map((match) => match[1] ?? '')
    expect(names.filter((name) => !helpers.has(name)).sort()).toEqual([...both, ...only5].sort())
  })
})

describe('mosquitto_rr', () => {
  // Skipped where it is missing: apt install mosquitto-clients
  it.skipIf(!mosquitto)('gets the answer of another client', async () => {
    const client = await connected('mqtt', { protocolVersion: 5 })
    client.on('message', (_topic, _payload, { properties }) => {
      const correlationData = properties?.correlationData as Buffer
      client.publish(properties?.responseTopic ?? '', 'answer', { properties: { correlationData } })
    })
    await client.subscribeAsync('rr/requests')
    const port = String(gateway.mqttPort)
    const args = ['-p', port, '-t', 'rr/requests', '-e', 'rr/answers', '-m', 'question', '-W', '15']
    expect((await run('mosquitto_rr', args)).stdout).toBe('answer\n')
  })

  it.skipIf(!mosquitto)('mosquitto_sub takes its session up again', async () => {
    const common = ['-p', String(gateway.mqttPort), '-q', '1']
    const keeper = [...common, '-i', 'kept-sub', '-c', '-t', 'kept/sub']
    await run('mosquitto_sub', [...keeper, '-E'])
    await run('mosquitto_pub', [...common, '-t', 'kept/sub', '-m', 'meanwhile'])
    const subscriber = spawn('mosquitto_sub', [...keeper, '-C', '1', '-W', '15'])
    let said = ''
    subscriber.stdout.on('data', (text) => {
      said += text
    })
    await once(subscriber, 'close')
    expect(said).toBe('meanwhile\n')
  })
})

async function connected(scheme: 'mqtt' | 'ws', options: IClientOptions): Promise<MqttClient> {
  const second = /^ {2}MQTT .*, 127\.0\.0\.1:(\d+)$/m.exec(gateway.output())?.[1]
  const port = scheme === 'ws' ? second : gateway.mqttPort
  const url = `${scheme}://127.0.0.1:${port}${scheme === 'ws' ? '/mqtt' : ''}`
  const client = await mqtt.connectAsync(url, { reconnectPeriod: 0, ...options })
  onTestFinished(async () => void client.end(true))
  return client
}

describe.each([4, 5] as const)('mqtt.js with version %i', (protocolVersion) => {
  it.each(['mqtt', 'ws'] as const)(
    'over %s: all QoS, retained messages, unsubscribe',
    async (scheme) => {
      const client = await connected(scheme, { protocolVersion })
      const topic = `js/${protocolVersion}/${scheme}`
      const got: string[] = []
      client.on('message', (to, payload, { qos, retain }) => {
        got.push(`${to} ${payload} ${qos} ${retain}`)
      })
      for (const qos of [0, 1, 2] as const) {
        await client.publishAsync(`${topic}/${qos}`, 'x', { qos, retain: true })
      }
      await client.subscribeAsync(`${topic}/+`, { qos: 2 })
      await eventually(() => got.length === 3, 'the retained messages')
      expect(got.sort()).toEqual([0, 1, 2].map((qos) => `${topic}/${qos} x ${qos} true`))
      await client.unsubscribeAsync(`${topic}/+`)
      await client.publishAsync(`${topic}/0`, '', { qos: 1, retain: true })
      expect(got).toHaveLength(3)
    },
  )

  it('sends again what the gateway did not acknowledge, and takes its session up', async () => {
    const options = {
      protocolVersion,
      clean: false,
      clientId: `js-${protocolVersion}`,
      ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 60 } } : {}),
    }
    const first = await connected('mqtt', options)
    await first.subscribeAsync('js/session', { qos: 1 })
    await first.endAsync(true)
    const other = await connected('mqtt', { protocolVersion })
    await other.publishAsync('js/session', 'meanwhile', { qos: 1 })
    const again = mqtt.connect(`mqtt://127.0.0.1:${gateway.mqttPort}`, options)
    onTestFinished(async () => void again.end(true))
    const [, payload] = await once(again as never, 'message')
    expect(String(payload)).toBe('meanwhile')
  })
})
