/**
 * The gateway as a process, a real Mosquitto as its upstream, and a proxy between them that does
 * what links do. `SLUICE_BRIDGE_SECONDS` makes the seeded run longer, `SLUICE_SEED` chooses it.
 */
import { rmSync } from 'node:fs'
import path from 'node:path'
import mqtt, { type MqttClient } from 'mqtt'
import { expect, onTestFinished, test } from 'vitest'
import { SeededRandom } from '../../src/base/random.ts'
import type { BridgeStatus } from '../../src/bridge/bridge.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts'
import { eventually } from '../support/front-end.ts'
import { type GatewayProcess, startGateway } from '../support/gateway-process.ts'
import { describeWithMosquitto, type Mosquitto, startMosquitto } from '../support/mosquitto.ts'
import { runSluice } from '../support/sluice.ts'

const WINDOW = 32
/** Acknowledged and not yet covered on disk, at most; and what goes beside it in flight. */
const AFTER_KILL = 2048 + WINDOW
const BACKLOG = 15_000

interface Arrival {
  readonly topic: string
  readonly payload: string
  readonly partition: number
  readonly offset: number
}

/** Somebody at the far end whose session outlives the broker's restarts. */
async function farEnd(broker: Mosquitto, filter: string): Promise<Arrival[]> {
  const arrivals: Arrival[] = []
  const client = await mqtt.connectAsync(broker.url, {
    protocolVersion: 5,
    clientId: 'far-end',
    clean: false,
    properties: { sessionExpiryInterval: 3600 },
    reconnectPeriod: 50,
  })
  client.on('message', (topic, payload, packet) => {
    const properties = packet.properties?.userProperties ?? {}
    arrivals.push({
      topic,
      payload: payload.toString(),
      partition: Number(properties['partition']),
      offset: Number(properties['offset']),
    })
  })
  onTestFinished(() => {
    client.end(true)
  })
  await client.subscribeAsync(filter, { qos: 1 })
  return arrivals
}

/** Publishes numbers, one after the other, and knows which of them were acknowledged. */
class Producer {
  readonly acked = new Set<string>()
  private client: MqttClient | undefined
  private next = 0
  private running = true

  async to(gateway: GatewayProcess): Promise<void> {
    this.client?.end(true)
    const url = `mqtt://127.0.0.1:${gateway.mqttPort}`
    const client = await mqtt.connectAsync(url, { reconnectPeriod: 0, clean: true })
    this.client = client
    this.run(client)
  }

  stop(): void {
    this.running = false
  }

  end(): void {
    this.client?.end(true)
  }

  private run(client: MqttClient): void {
    const more = (): void => {
      if (!this.running || this.client !== client || !client.connected) return
      for (let i = 0; i < 4; i++) this.publish(client)
      setTimeout(more, 2)
    }
    more()
  }

  private publish(client: MqttClient): void {
    const payload = String(this.next++)
    const topic = `devices/${Number(payload) % 7}/temp`
    client.publish(topic, payload, { qos: 1 }, (error) => {
      if (error === undefined || error === null) this.acked.add(payload)
    })
  }
}

function configOf(port: number, forward = '', bridge = '', receive = ''): string {
  return `
[gateway]
id = "gw-1"
[[stream]]
name = "telemetry"
topics = ["devices/#"]
partitions = 2
[[bridge]]
name = "cloud"
url = "mqtt://127.0.0.1:${port}"
keepalive = "2s"
backoff = { first = "20ms", most = "200ms", stable_after = "1s" }
${bridge}
  [[bridge.forward]]
  stream = "telemetry"
  to = "sites/{gateway}/{topic}"
  window = ${WINDOW}
  ${forward}
${receive}
`
}

async function statusOf(gateway: GatewayProcess): Promise<BridgeStatus> {
  const response = await fetch(`http://127.0.0.1:${gateway.httpPort}/v1/bridges`)
  const { bridges } = (await response.json()) as { bridges: BridgeStatus[] }
  const [bridge] = bridges
  if (bridge === undefined) throw new Error('the gateway has no bridge')
  return bridge
}

const isDrained = async (gateway: GatewayProcess): Promise<boolean> => {
  const { state, forwards } = await statusOf(gateway)
  return state === 'up' && forwards.every(({ lagRecords }) => lagRecords === 0)
}

/** First occurrences in the order of the offsets, from 0 without a hole; gives the repeats. */
function checkStrict(arrivals: readonly Arrival[]): number {
  const ends = new Map<number, number>()
  let repeats = 0
  for (const { partition, offset } of arrivals) {
    const end = ends.get(partition) ?? 0
    if (offset < end) repeats++
    else expect(offset).toBe(end)
    ends.set(partition, Math.max(end, offset + 1))
  }
  return repeats
}

const persistent = [
  'allow_anonymous true',
  'persistence true',
  'persistence_location {folder}/',
  'max_queued_messages 0',
  'max_inflight_messages 0',
]

describeWithMosquitto('a bridge to Mosquitto', () => {
  const seconds = Number(process.env['SLUICE_BRIDGE_SECONDS'] ?? 4)
  const seed = Number(process.env['SLUICE_SEED'] ?? Math.floor(performance.now() * 1000))

  test(`loses nothing and keeps the order, whatever happens to the link (seed ${seed})`, {
    timeout: 60_000 + seconds * 3000,
  }, async () => {
    const random = new SeededRandom(seed)
    const broker = await startMosquitto(persistent)
    const proxy = await startFaultProxy(broker.port)
    const arrivals = await farEnd(broker, 'sites/#')
    const config = configOf(proxy.port, 'start = "earliest"')
    let gateway = await startGateway({ config })
    onTestFinished(() => gateway.dispose())
    const first = gateway
    onTestFinished(() => first.dispose())
    const producer = new Producer()
    onTestFinished(() => producer.end())
    await producer.to(gateway)
    let faults = 0
    let kills = 0
    const until = performance.now() + seconds * 1000
    while (performance.now() < until) {
      await pause(100 + random.below(500))
      faults++
      const fault = random.pick(['cut', 'stall', 'drop-acks', 'half-open', 'broker', 'kill'])
      if (fault === 'kill') {
        kills++
        await gateway.kill()
        gateway = await startGateway({ config, dataDir: gateway.dataDir })
        await producer.to(gateway)
      } else await harm(fault, proxy, broker, random)
    }
    await proxy.restore()
    producer.stop()
    await eventually(() => isDrained(gateway), 'everything is at the upstream')
    await eventually(
      () => missing(producer.acked, arrivals).length === 0,
      'everything is at the far end',
    )
    const repeats = checkStrict(arrivals)
    // What was in flight; after a kill also what was acknowledged since the cursor's last write.
    expect(repeats).toBeLessThanOrEqual(faults * WINDOW * 2 + kills * AFTER_KILL)
    const running = gateway
    await running.dispose()
  })

  test('repeats at most what was in flight when only the link is cut', async () => {
    const broker = await startMosquitto(persistent)
    const proxy = await startFaultProxy(broker.port)
    const arrivals = await farEnd(broker, 'sites/#')
    const gateway = await startGateway({ config: configOf(proxy.port, 'start = "earliest"') })
    onTestFinished(() => gateway.dispose())
    const producer = new Producer()
    onTestFinished(() => producer.end())
    await producer.to(gateway)
    let cuts = 0
    for (; cuts < 5; cuts++) {
      await eventually(() => arrivals.length > cuts * 50, 'some more arrive')
      proxy.cut()
    }
    producer.stop()
    await eventually(() => isDrained(gateway), 'everything is at the upstream')
    await eventually(() => missing(producer.acked, arrivals).length === 0, 'all arrive')
    expect(checkStrict(arrivals)).toBeLessThanOrEqual(cuts * WINDOW)
    expect((await statusOf(gateway)).reconnects).toBeGreaterThanOrEqual(cuts)
  })

  test.each(['strict', 'live-first'])(
    'repeats no more than is told when it is killed in the middle of a drain (%s)',
    async (order) => {
      const broker = await startMosquitto(persistent)
      const proxy = await startFaultProxy(broker.port)
      const arrivals = await farEnd(broker, 'sites/#')
      await proxy.refuse()
      const config = configOf(proxy.port, `start = "earliest"\norder = "${order}"`)
      let gateway = await startGateway({ config })
      const { dataDir } = gateway
      onTestFinished(() => rmSync(path.dirname(dataDir), { recursive: true, force: true }))
      onTestFinished(() => gateway.dispose())
      const device = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`, {
        reconnectPeriod: 0,
      })
      onTestFinished(() => {
        device.end(true)
      })
      const sends = Array.from({ length: BACKLOG }, (_, i) =>
        device.publishAsync(`devices/${i % 7}/temp`, String(i), { qos: 1 }),
      )
      await Promise.all(sends)
      await proxy.restore()
      let kills = 0
      for (; kills < 2; kills++) {
        const until = (kills + 1) * 4000
        await eventually(() => arrivals.length >= until, 'some more arrive')
        await gateway.kill()
        gateway = await startGateway({ config, dataDir })
      }
      await eventually(() => isDrained(gateway), 'everything is at the upstream')
      const different = () => new Set(arrivals.map(({ payload }) => payload)).size
      await eventually(() => different() === BACKLOG, 'everything is at the far end')
      expect(arrivals.length - BACKLOG).toBeLessThanOrEqual(kills * AFTER_KILL)
      if (order === 'strict') checkStrict(arrivals)
    },
  )

  test('finds an upstream that never acknowledges, says so, and loses nothing', async () => {
    const broker = await startMosquitto(persistent)
    const proxy = await startFaultProxy(broker.port)
    const arrivals = await farEnd(broker, 'sites/#')
    const gateway = await startGateway({ config: configOf(proxy.port, 'start = "earliest"') })
    onTestFinished(() => gateway.dispose())
    proxy.dropAcks()
    const producer = new Producer()
    onTestFinished(() => producer.end())
    await producer.to(gateway)
    await eventually(
      async () => (await statusOf(gateway)).lastError?.kind === 'stuck',
      'the link is found to be stuck',
    )
    expect(proxy.acksDropped).toBeGreaterThan(0)
    await proxy.restore()
    producer.stop()
    await eventually(() => missing(producer.acked, arrivals).length === 0, 'all arrive')
    checkStrict(arrivals)
  })

  test.each([5, 4])(
    'brings commands down over protocol %d, also those of an outage',
    async (protocol) => {
      const broker = await startMosquitto(persistent)
      const proxy = await startFaultProxy(broker.port)
      const receive = `
  [[bridge.receive]]
  from = "sites/{gateway}/commands/#"
  to = "commands/{#}"`
      const config = configOf(proxy.port, '', `protocol = ${protocol}`, receive)
      const gateway = await startGateway({ config })
      onTestFinished(() => gateway.dispose())
      await eventually(async () => (await statusOf(gateway)).state === 'up', 'the bridge is up')
      const device = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqttPort}`)
      const cloud = await mqtt.connectAsync(broker.url, { protocolVersion: 5 })
      onTestFinished(() => {
        device.end(true)
        cloud.end(true)
      })
      const got: string[] = []
      device.on('message', (topic, payload) => got.push(`${topic} ${payload}`))
      await device.subscribeAsync('commands/#', { qos: 1 })
      await eventually(() => broker.log().includes('gw-1'), 'the broker knows the bridge')
      await eventually(async () => {
        await cloud.publishAsync('sites/gw-1/commands/probe', 'x', { qos: 1 })
        return got.length > 0
      }, 'the subscription holds')
      await proxy.refuse()
      await eventually(async () => (await statusOf(gateway)).state === 'refused', 'it is away')
      await cloud.publishAsync('sites/gw-1/commands/pump/1', 'on', { qos: 1 })
      await proxy.restore()
      await eventually(() => got.includes('commands/pump/1 on'), 'the command comes down')
      expect((await statusOf(gateway)).received).toBeGreaterThanOrEqual(2)
    },
  )

  test('is asked and told by "sluice bridge"', async () => {
    const broker = await startMosquitto(persistent)
    const gateway = await startGateway({ config: configOf(broker.port) })
    onTestFinished(() => gateway.dispose())
    await eventually(async () => (await statusOf(gateway)).state === 'up', 'the bridge is up')
    const url = ['--url', `http://127.0.0.1:${gateway.httpPort}`]
    const status = await runSluice(['bridge', 'status', ...url])
    expect(status.stdout).toContain('up: connected to the upstream')
    expect(status.stdout).toContain('bridge/cloud/telemetry')
    expect(status.code).toBe(0)
    expect((await runSluice(['bridge', 'pause', 'cloud', ...url])).code).toBe(0)
    const paused = await runSluice(['bridge', 'status', '--format', 'json', ...url])
    expect(JSON.parse(paused.stdout)).toMatchObject({ name: 'cloud', state: 'paused' })
    expect(paused.code).toBe(1)
    const moved = await runSluice(['bridge', 'seek', 'cloud', '--to', 'earliest', ...url])
    expect(moved.stdout).toContain('bridge/cloud/telemetry reads from 0 on')
    expect((await runSluice(['bridge', 'resume', 'cloud', ...url])).code).toBe(0)
    await eventually(async () => (await statusOf(gateway)).state === 'up', 'it is up again')
    const unknown = await runSluice(['bridge', 'pause', 'nobody', ...url])
    expect(unknown.stderr).toContain('there is no bridge "nobody"')
    const metrics = await (await fetch(`http://127.0.0.1:${gateway.httpPort}/metrics`)).text()
    expect(metrics).toContain('sluice_bridge_up{bridge="cloud"} 1')
    expect(metrics).toContain('sluice_bridge_state{bridge="cloud",state="up"} 1')
    const ready = await fetch(`http://127.0.0.1:${gateway.httpPort}/readyz`)
    expect(ready.status).toBe(200)
  })

  test('says what is wrong when nobody listens, and stays ready', async () => {
    const broker = await startMosquitto(persistent)
    await broker.stop()
    const gateway = await startGateway({ config: configOf(broker.port) })
    onTestFinished(() => gateway.dispose())
    await eventually(async () => (await statusOf(gateway)).state === 'refused', 'it is refused')
    const { sentence } = await statusOf(gateway)
    expect(sentence).toBe(
      'the upstream is not there: nobody listens at that address (ECONNREFUSED)',
    )
    const ready = await fetch(`http://127.0.0.1:${gateway.httpPort}/readyz`)
    expect(ready.status).toBe(200)
  })
})

async function harm(
  fault: string,
  proxy: FaultProxy,
  broker: Mosquitto,
  random: SeededRandom,
): Promise<void> {
  const lastsMs = 50 + random.below(300)
  switch (fault) {
    case 'stall':
      proxy.stall()
      await pause(lastsMs)
      await proxy.restore()
      break
    case 'drop-acks':
      proxy.dropAcks()
      await pause(lastsMs)
      await proxy.restore()
      proxy.cut()
      break
    case 'half-open':
      proxy.halfOpen()
      await pause(lastsMs)
      proxy.cut()
      break
    case 'broker':
      await broker.stop()
      await pause(lastsMs)
      await broker.start()
      break
    default:
      proxy.cut()
  }
}

function missing(acked: ReadonlySet<string>, arrivals: readonly Arrival[]): string[] {
  const there = new Set(arrivals.map(({ payload }) => payload))
  return [...acked].filter((payload) => !there.has(payload))
}

/** A fault lasts: that is what it is. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
