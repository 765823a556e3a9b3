/**
 * How fast the log takes records, without MQTT around it.
 *
 *   npm run build
 *   npx tsx test/bench/append.ts [records] [payload bytes] [outstanding] [burst] [ack]
 *
 * Keeps `outstanding` records unsettled and appends at most `burst` of them a loop turn, as a
 * socket would bring them. NOT measured: parsing, delivery, a device slower than this one's.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { systemClock } from '../../src/base/clock.ts'
import type { AckRule, EventLog, StreamSettings } from '../../src/log/log.ts'

const [records = 500_000, payloadBytes = 256, outstanding = 2000, burst = 200] = process.argv
  .slice(2)
  .map(Number)
const ackAfter = (process.argv[6] ?? 'fsync') as AckRule

const stream: StreamSettings = {
  name: 'bench',
  topics: ['#'],
  partitions: 4,
  key: { kind: 'topic-level', level: 1 },
  ackAfter,
  qos0: true,
  lingerMs: 0,
}

async function main(): Promise<void> {
  // The built code, as the gateway runs it; its types are those of the source.
  const built = new URL('../../dist/log/open.js', import.meta.url).href
  const { openLog } = (await import(built)) as typeof import('../../src/log/open.ts')
  const dataDir = await mkdtemp(path.join(os.tmpdir(), 'sluice-bench-'))
  const log = await openLog({ dataDir, streams: [stream], clock: systemClock })
  try {
    await run(log)
  } finally {
    await log.close()
    await rm(dataDir, { recursive: true })
  }
}

async function run(log: EventLog): Promise<void> {
  const payload = new Uint8Array(payloadBytes).fill(0x61)
  const client = log.client('bench-client')
  const topics = Array.from({ length: 100 }, (_, i) => `devices/${i}/telemetry`)
  let commits = 0
  let commitMs = 0
  log.onCommit(({ durationMs }) => {
    commits++
    commitMs += durationMs
  })
  const began = performance.now()
  const cpuBefore = process.cpuUsage()
  const loopBefore = performance.eventLoopUtilization()
  await new Promise<void>((resolve) => {
    let appended = 0
    let settled = 0
    const waiter = {
      settled(outcome: string): void {
        if (outcome !== 'kept') throw new Error(`a record was ${outcome}`)
        settled++
        if (settled === records) resolve()
        wake()
      },
    }
    let awake = false
    const wake = (): void => {
      if (!awake && appended < records) setImmediate(turn)
      awake = true
    }
    const turn = (): void => {
      awake = false
      const room = Math.min(burst, outstanding - (appended - settled), records - appended)
      for (let i = 0; i < room; i++) {
        log.append({
          route: log.route(topics[appended % topics.length] as string),
          client,
          qos: 1,
          retain: false,
          key: undefined,
          bytes: payload,
          propertiesAt: 0,
          propertiesEnd: 0,
          payloadAt: 0,
          payloadEnd: payloadBytes,
          waiter,
        })
        appended++
      }
      if (appended - settled < outstanding) wake()
    }
    turn()
  })
  const ms = performance.now() - began
  const cpu = process.cpuUsage(cpuBefore)
  const loop = performance.eventLoopUtilization(loopBefore)
  process.stdout.write(
    `${records} records of ${payloadBytes} B, ${outstanding} outstanding, ` +
      `bursts of ${burst}, ${ackAfter}\n` +
      `${Math.round((records / ms) * 1000)} records/s\n` +
      `${((loop.active * 1000) / records).toFixed(2)} us CPU per record on the main thread, ` +
      `${((cpu.user + cpu.system - loop.active * 1000) / records).toFixed(2)} us on the others\n` +
      `main thread busy ${((loop.active / ms) * 100).toFixed(0)} %\n` +
      `writer busy ${((commitMs / ms) * 100).toFixed(0)} % in ${commits} commits ` +
      `of ${(records / commits).toFixed(0)} records, ${(commitMs / commits).toFixed(2)} ms each\n`,
  )
}

await main()
