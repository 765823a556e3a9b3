/** Setup for tests of the log on real files. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, expect } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import {
  type AppendOutcome,
  asPosition,
  type EventLog,
  type LogRecord,
  type StreamSettings,
} from '../../src/log/log.ts'
import { type OpenedLog, type OpenLogOptions, openLog } from '../../src/log/open.ts'

const folders: string[] = []
const logs: EventLog[] = []

afterEach(async () => {
  for (const log of logs.splice(0)) await log.close()
  for (const folder of folders.splice(0)) fs.rmSync(folder, { recursive: true, force: true })
})

export async function emptyFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sluice-log-'))
  folders.push(folder)
  return folder
}

/** A stream that takes `<name>/#` and is keyed by topic. */
export function stream(name: string, settings: Partial<StreamSettings> = {}): StreamSettings {
  return {
    name,
    topics: [`${name}/#`],
    partitions: 1,
    key: { kind: 'topic' },
    ackAfter: 'fsync',
    qos0: true,
    lingerMs: 0,
    ...settings,
  }
}

/** Opens a log that the end of the test closes, if the test does not. */
export async function open(
  dataDir: string,
  streams: readonly StreamSettings[],
  options: Partial<OpenLogOptions> = {},
): Promise<OpenedLog> {
  const log = await openLog({ dataDir, streams, clock: systemClock, ...options })
  logs.push(log)
  return log
}

export interface Appended {
  readonly record: LogRecord
  readonly settled: Promise<AppendOutcome>
}

/** Appends one record; its outcome comes later. */
export function append(log: EventLog, topic: string, payload = topic): Appended {
  const bytes = new TextEncoder().encode(payload)
  let settle: (outcome: AppendOutcome) => void = () => undefined
  const settled = new Promise<AppendOutcome>((resolve) => {
    settle = resolve
  })
  const record = log.append({
    route: log.route(topic),
    client: log.client('device-1'),
    qos: 1,
    retain: false,
    key: undefined,
    bytes,
    propertiesAt: 0,
    propertiesEnd: 0,
    payloadAt: 0,
    payloadEnd: bytes.length,
    waiter: { settled: (outcome) => settle(outcome) },
  })
  return { record, settled }
}

/** Appends `count` records of `topic` and waits until all are kept. */
export async function keep(log: EventLog, topic: string, count: number): Promise<LogRecord[]> {
  const appended = Array.from({ length: count }, (_, i) => append(log, topic, `${topic} ${i}`))
  for (const { settled } of appended) expect(await settled).toBe('kept')
  return appended.map(({ record }) => record)
}

/** Everything of a stream, as `position/partition/offset payload`. */
export async function readAll(log: EventLog, name: string): Promise<string[]> {
  const lines: string[] = []
  let from = asPosition(0)
  for (;;) {
    const page = await log.read({ stream: name, from, recordsMax: 100, bytesMax: 1e6 })
    for (const record of page.records) {
      const text = new TextDecoder().decode(record.payload.slice())
      lines.push(`${record.position}/${record.partition}/${record.offset} ${text}`)
    }
    from = page.next
    if (page.next === page.end) return lines
  }
}

/** What a power cut or kill -9 at this moment leaves: the files as they are, WAL included. */
export async function copyAsCrashed(dataDir: string): Promise<string> {
  const copy = await emptyFolder()
  // In a process of its own: closing a database file in this one would drop SQLite's locks on it.
  execFileSync('cp', ['-r', `${dataDir}/.`, copy])
  return copy
}

export function segmentFiles(dataDir: string, name: string): string[] {
  return fs.readdirSync(path.join(dataDir, 'streams', name)).sort()
}
