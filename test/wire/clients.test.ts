/** The gateway as a process, with clients that others wrote. */
import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { promisify } from 'node:util'
import mqtt from 'mqtt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { eventually } from '../support/front-end.ts'
import { type GatewayProcess, startGateway } from '../support/gateway-process.ts'
import { runSluice } from '../support/sluice.ts'

const run = promisify(execFile)
const has = (command: string, ...args: string[]) => spawnSync(command, args).status === 0
const mosquitto = has('sh', '-c', 'command -v mosquitto_pub mosquitto_sub')
const python = ['/usr/bin/python3', 'python3'].find((command) =>
  has(command, '-c', 'import paho.mqtt.client'),
)

const PAHO = `
import sys, threading
import paho.mqtt.client as mqtt
port, version = int(sys.argv[1]), int(sys.argv[2])
api = getattr(mqtt, 'CallbackAPIVersion', None)
args = {} if api is None else {'callback_api_version': api.VERSION1}
client = mqtt.Client(client_id=f'paho-{version}', protocol=version, **args)
done = threading.Event()
got = []
def on_message(c, u, m):
    got.append((m.qos, m.payload.decode()))
    if len(got) == 3: done.set()
def on_subscribe(*a):
    for qos in (0, 1, 2): client.publish(f'paho/{version}/{qos}', f'hello {qos}', qos=qos)
client.on_message, client.on_subscribe = on_message, on_subscribe
client.connect('127.0.0.1', port)
client.subscribe(f'paho/{version}/#', 2)
client.loop_start()
done.wait(20)
client.disconnect()
print(sorted(got))
`

describe('real clients', () => {
  let gateway: GatewayProcess

  beforeAll(async () => {
    gateway = await startGateway()
  })
  afterAll(async () => {
    await gateway.dispose()
  })

  async function subscriptions(): Promise<number> {
    const response = await fetch(`http://127.0.0.1:${gateway.httpPort}/metrics`)
    return Number(/^sluice_subscriptions (\d+)$/m.exec(await response.text())?.[1])
  }

  // Skipped where it is missing: apt install mosquitto-clients
  it.skipIf(!mosquitto).each([
    ['mqttv31', '0'],
    ['mqttv311', '0'],
    ['mqttv311', '1'],
    ['mqttv311', '2'],
    ['mqttv5', '0'],
    ['mqttv5', '1'],
    ['mqttv5', '2'],
  ])('mosquitto_pub and mosquitto_sub with %s at QoS %s', async (version, qos) => {
    const common = ['-p', String(gateway.mqttPort), '-V', version, '-q', qos]
    const topic = `mosquitto/${version}/${qos}`
    const subscriber = spawn('mosquitto_sub', [...common, '-t', `${topic}/#`, '-v', '-C', '2'])
    let said = ''
    subscriber.stdout.on('data', (text) => {
      said += text
    })
    const closed = once(subscriber, 'close')
    await eventually(async () => (await subscriptions()) === 1, 'mosquitto_sub has subscribed')
    await run('mosquitto_pub', [...common, '-t', `${topic}/a`, '-m', 'first'])
    await run('mosquitto_pub', [...common, '-t', `${topic}/b`, '-m', 'second'])
    await closed
    expect(said).toBe(`${topic}/a first\n${topic}/b second\n`)
  })

  // Skipped where it is missing: apt install python3-paho-mqtt
  it.skipIf(python === undefined).each([3, 4, 5])(
    'Paho for Python with protocol %i',
    async (version) => {
      const { stdout } = await run(python as string, [
        '-c',
        PAHO,
        String(gateway.mqttPort),
        String(version),
      ])
      expect(stdout.trim()).toBe("[(0, 'hello 0'), (1, 'hello 1'), (2, 'hello 2')]")
    },
  )

  it.each([4, 5] as const)(
    'mqtt.js with protocol %i: what it publishes is in the log',
    async (version) => {
      const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, {
        protocolVersion: version,
        clientId: `js-${version}`,
      })
      await client.subscribeAsync(`js/${version}/#`, { qos: 2 })
      const received: string[] = []
      client.on('message', (topic, payload) => received.push(`${topic} ${payload}`))
      for (const qos of [0, 1, 2] as const) {
        await client.publishAsync(`js/${version}/${qos}`, `hello ${qos}`, { qos })
      }
      await client.endAsync()
      const args = ['tail', 'default', '--data', gateway.dataDir, '--format', 'json']
      const { stdout } = await runSluice(args)
      const lines = stdout.trim().split('\n')
      const records = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
      const own = records.filter(({ client: name }) => name === `js-${version}`)
      expect(own.map(({ topic, qos, payload }) => [topic, qos, payload])).toEqual([
        [`js/${version}/0`, 0, 'hello 0'],
        [`js/${version}/1`, 1, 'hello 1'],
        [`js/${version}/2`, 2, 'hello 2'],
      ])
      expect(received).toHaveLength(3)
    },
  )
})
