/**
 * The case `bridge`: how fast a backlog gets to a Mosquitto on this machine while devices go on
 * publishing, beside Mosquitto's own bridge with the same backlog in its memory, and what each has
 * brought up when it is killed in the middle and started again.
 *
 *   E1. The gateway's backlog is in its log before it starts, with the bridge paused. So the time
 *       runs from the word "resume" to the last record of the backlog acknowledged; live records
 *       come behind it (`order = "strict"`).
 *   E2. Mosquitto's is published to it while its upstream is away. Its rate is what the upstream
 *       counts between two looks that the upstream takes once a second: a backlog of less than
 *       some 300,000 is gone between two of them, and has no figure.
 *   E3. A figure of live traffic is the same load at the same rate, once before the drain begins,
 *       and again and again while it goes on.
 */
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { systemClock } from '../../src/base/clock.ts'
import type { BridgeStatus } from '../../src/bridge/bridge.ts'
import type { EventLog, StreamSettings } from '../../src/log/log.ts'
import { type GatewayProcess, startGateway } from '../support/gateway-process.ts'
import { tempFolder } from './children.ts'
import {
  Arrivals,
  type DrainRig,
  freePort,
  PAYLOAD_BYTES,
  startUpstream,
  type Upstream,
  WINDOW,
} from './drain-mosquitto.ts'
import type { DrainReading } from './drain-table.ts'
import type { LoadResult } from './load.ts'

/** Devices that go on publishing, over all. */
const LIVE_PER_SECOND = 3000
const LIVE = { publishers: 20, window: 100, size: PAYLOAD_BYTES, rate: LIVE_PER_SECOND } as const
/** Of live traffic at a time. */
const LIVE_SECONDS = 2
const LOOK_MS = 50
/** The limit whose keeping is measured, and for how long. */
const RATE = 500
const HELD_SECONDS = 10
const MIB = 1024

const stream: StreamSettings = {
  name: 'telemetry',
  topics: ['#'],
  partitions: 4,
  key: { kind: 'topic' },
  ackAfter: 'write',
  qos0: true,
  lingerMs: 0,
}

interface Mode {
  readonly name: string
  readonly protocol: 4 | 5
  readonly forward: string
}

const modes: readonly Mode[] = [
  { name: 'Sluice, MQTT 3.1.1', protocol: 4, forward: '' },
  { name: 'Sluice, MQTT 5 with origin', protocol: 5, forward: '' },
  {
    name: 'Sluice, batches of 200',
    protocol: 5,
    forward: 'batch = { linger = "100ms", compress = "none" }',
  },
]

export async function runDrain(rig: DrainRig): Promise<DrainReading[]> {
  const readings: DrainReading[] = []
  for (const mode of modes) {
    rig.progress(`bridge: ${mode.name}`)
    readings.push(await drainOf(mode, rig))
  }
  return readings
}

/** Killed in the middle of a drain and started again: messages that the upstream got in all. */
export async function killedSluice(rig: DrainRig): Promise<number> {
  rig.progress('bridge: Sluice, killed in the middle')
  return await withBacklog(rig, async (dataDir, upstream) => {
    const [mode] = modes
    const config = configOf(upstream.port, mode as Mode)
    const gateway = await startGateway({ config, dataDir })
    const arrivals = await Arrivals.at(upstream)
    await post(gateway, 'resume')
    await eventually(async () => (await sentOf(gateway)) >= rig.records / 3)
    await gateway.kill()
    const again = await startGateway({ config, dataDir })
    try {
      await eventually(async () => (await forwardOf(again)).lagRecords === 0)
      return await arrivals.settled()
    } finally {
      await again.dispose()
      await gateway.dispose()
      arrivals.end()
    }
  })
}

/** Records a second that leave under `rate = "500/s"`, over ten seconds. */
export async function heldRate(rig: DrainRig): Promise<number> {
  rig.progress(`bridge: Sluice, rate = "${RATE}/s"`)
  const few = { ...rig, records: RATE * 2 * HELD_SECONDS }
  return await withBacklog(few, async (dataDir, upstream) => {
    const [mode] = modes
    const config = configOf(upstream.port, mode as Mode, `limit = { rate = "${RATE}/s" }`)
    const gateway = await startGateway({ config, dataDir })
    try {
      await post(gateway, 'resume')
      await eventually(async () => (await sentOf(gateway)) >= RATE)
      const [began, before] = [performance.now(), await sentOf(gateway)]
      await wait(HELD_SECONDS * 1000)
      const sent = (await sentOf(gateway)) - before
      return (sent * 1000) / (performance.now() - began)
    } finally {
      await gateway.dispose()
    }
  })
}

async function drainOf(mode: Mode, rig: DrainRig): Promise<DrainReading> {
  return await withBacklog(rig, async (dataDir, upstream) => {
    const gateway = await startGateway({ config: configOf(upstream.port, mode), dataDir })
    try {
      await live(rig, gateway)
      const before = await live(rig, gateway)
      const beforeMiB = await residentMiB(gateway.pid)
      const during: LoadResult[] = []
      const began = performance.now()
      await post(gateway, 'resume')
      let isDrained = false
      const traffic = (async () => {
        while (!isDrained) during.push(await live(rig, gateway))
      })()
      let peakMiB = 0
      while ((await sentOf(gateway)) < rig.records) {
        peakMiB = Math.max(peakMiB, await residentMiB(gateway.pid))
        await wait(LOOK_MS)
      }
      const seconds = (performance.now() - began) / 1000
      isDrained = true
      await traffic
      return {
        name: mode.name,
        records: rig.records,
        perSecond: rig.records / seconds,
        beforeMiB,
        peakMiB,
        liveBefore: before.ackedPerSecond,
        liveDuring: mean(during.map(({ ackedPerSecond }) => ackedPerSecond)),
        ackP99Ms: Math.max(...during.map(({ ackMs }) => ackMs?.p99 ?? Number.NaN)),
      }
    } finally {
      await gateway.dispose()
    }
  })
}

async function withBacklog<T>(
  { records, mosquitto }: DrainRig,
  use: (dataDir: string, upstream: Upstream) => Promise<T>,
): Promise<T> {
  const folder = tempFolder()
  const dataDir = path.join(folder.path, 'data')
  const upstream = await startUpstream(mosquitto, await freePort())
  try {
    const built = new URL('../../dist/log/open.js', import.meta.url).href
    const { openLog } = (await import(built)) as typeof import('../../src/log/open.ts')
    const log = await openLog({ dataDir, streams: [stream], clock: systemClock })
    await appendAll(log, records)
    const paused = { kind: 'bridge', key: 'cloud/paused', value: Buffer.from('paused') }
    await log.state.documents.putNow([paused])
    await log.close()
    return await use(dataDir, upstream)
  } finally {
    await upstream.stop()
    folder.remove()
  }
}

function appendAll(log: EventLog, records: number): Promise<void> {
  const bytes = new Uint8Array(PAYLOAD_BYTES).map((_, i) => i * 7)
  const client = log.client('device')
  const range = { propertiesAt: 0, propertiesEnd: 0, payloadAt: 0, payloadEnd: PAYLOAD_BYTES }
  let appended = 0
  let settled = 0
  return new Promise((resolve) => {
    const more = (): void => {
      for (; appended < records && appended - settled < 2000; appended++) {
        const route = log.route(`devices/${appended % 100}/telemetry`)
        const how = { qos: 1, retain: false, key: undefined, waiter } as const
        log.append({ route, client, bytes, ...range, ...how })
      }
    }
    const waiter = {
      settled: () => {
        settled++
        if (settled === records) resolve()
        else if (appended - settled < 1000) more()
      },
    }
    more()
  })
}

function configOf(port: number, { protocol, forward }: Mode, limit = ''): string {
  return `
[gateway]
id = "gw-1"
[log]
level = "warn"
[[stream]]
name = "telemetry"
topics = ["#"]
partitions = 4
[[bridge]]
name = "cloud"
url = "mqtt://127.0.0.1:${port}"
protocol = ${protocol}
${limit}
  [[bridge.forward]]
  stream = "telemetry"
  to = "sites/{gateway}/{topic}"
  window = ${WINDOW}
  start = "earliest"
  ${forward}
`
}

async function live({ generator }: DrainRig, { mqttPort }: GatewayProcess): Promise<LoadResult> {
  const messages = LIVE_PER_SECOND * LIVE_SECONDS
  return await generator.run({ ...LIVE, port: mqttPort, messages })
}

async function post({ httpPort }: GatewayProcess, what: string): Promise<void> {
  const url = `http://127.0.0.1:${httpPort}/v1/bridges/cloud/${what}`
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(url, { method: 'POST', headers, body: '{}' })
  if (!response.ok) throw new Error(`${what}: ${response.status} ${await response.text()}`)
}

async function forwardOf({ httpPort }: GatewayProcess) {
  const response = await fetch(`http://127.0.0.1:${httpPort}/v1/bridges`)
  const { bridges } = (await response.json()) as { bridges: readonly BridgeStatus[] }
  const forward = bridges[0]?.forwards[0]
  if (forward === undefined) throw new Error('the gateway has no bridge')
  return forward
}

async function sentOf(gateway: GatewayProcess): Promise<number> {
  return (await forwardOf(gateway)).sentRecords
}

async function residentMiB(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / MIB
}

async function eventually(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await wait(LOOK_MS)
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length
}
