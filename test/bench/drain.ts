/**
 * How fast a bridge takes a backlog to a Mosquitto on this machine.
 *
 *   npm run build
 *   npx tsx test/bench/drain.ts [records] [5 | 4 | batch | deflate] [payload bytes]
 *
 * Writes the backlog, starts a gateway on it as a process, and asks it ten times a second what is
 * left; the gateway's start is part of the time. NOT measured: a link with a round trip, live
 * traffic meanwhile, an upstream on another machine.
 */
import { readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { systemClock } from '../../src/base/clock.ts'
import type { BridgeStatus } from '../../src/bridge/bridge.ts'
import type { EventLog, StreamSettings } from '../../src/log/log.ts'
import { type GatewayProcess, startGateway } from '../support/gateway-process.ts'
import { findMosquitto, startMosquitto } from './brokers.ts'

const records = Number(process.argv[2] ?? 1_000_000)
const mode = process.argv[3] ?? '5'
const payloadBytes = Number(process.argv[4] ?? 256)

const stream: StreamSettings = {
  name: 'telemetry',
  topics: ['devices/#'],
  partitions: 4,
  key: { kind: 'topic' },
  ackAfter: 'write',
  qos0: true,
  lingerMs: 0,
}

async function main(): Promise<void> {
  const mosquitto = await findMosquitto()
  if (mosquitto === undefined) throw new Error('there is no Mosquitto: apt install mosquitto')
  const dataDir = await mkdtemp(path.join(os.tmpdir(), 'sluice-drain-'))
  const upstream = await startMosquitto(mosquitto)
  try {
    await backlog(dataDir)
    const began = performance.now()
    const gateway = await startGateway({ dataDir, config: configOf(upstream.port) })
    const mostMiB = await drained(gateway)
    const seconds = (performance.now() - began) / 1000
    await gateway.dispose()
    const rate = Math.round(records / seconds)
    process.stdout.write(
      `${mode}: ${records} records of ${payloadBytes} B in ${seconds.toFixed(1)} s, ` +
        `${rate}/s, at most ${mostMiB.toFixed(0)} MiB\n`,
    )
  } finally {
    await upstream.stop()
    await rm(dataDir, { recursive: true })
  }
}

async function backlog(dataDir: string): Promise<void> {
  const built = new URL('../../dist/log/open.js', import.meta.url).href
  const { openLog } = (await import(built)) as typeof import('../../src/log/open.ts')
  const log = await openLog({ dataDir, streams: [stream], clock: systemClock })
  await appendAll(log)
  await log.close()
}

function appendAll(log: EventLog): Promise<void> {
  const bytes = new Uint8Array(payloadBytes).map((_, i) => i * 7)
  const client = log.client('device')
  const range = { propertiesAt: 0, propertiesEnd: 0, payloadAt: 0, payloadEnd: payloadBytes }
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

function configOf(port: number): string {
  const batches: Readonly<Record<string, string>> = {
    batch: 'batch = { linger = "100ms", compress = "none" }',
    deflate: 'batch = { linger = "100ms" }',
  }
  return `
[gateway]
id = "gw-1"
[[stream]]
name = "telemetry"
topics = ["devices/#"]
partitions = 4
[[bridge]]
name = "cloud"
url = "mqtt://127.0.0.1:${port}"
protocol = ${mode === '4' ? 4 : 5}
  [[bridge.forward]]
  stream = "telemetry"
  to = "sites/{gateway}/{topic}"
  window = 1000
  start = "earliest"
  ${batches[mode] ?? ''}
`
}

/** The most resident memory until nothing is left. */
async function drained({ httpPort, pid }: GatewayProcess): Promise<number> {
  let mostKiB = 0
  for (;;) {
    await wait(100)
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    mostKiB = Math.max(mostKiB, Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]))
    const response = await fetch(`http://127.0.0.1:${httpPort}/v1/bridges`)
    const { bridges } = (await response.json()) as { bridges: readonly BridgeStatus[] }
    if (bridges[0]?.forwards[0]?.lagRecords === 0) return mostKiB / 1024
  }
}

await main()
