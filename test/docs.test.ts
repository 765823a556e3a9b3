/**
 * Documents, tried: the script of FORMAT.md on real segments, its tables and numbers, the
 * configuration and the commands of the README, and the metrics that OPERATIONS.md lists.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ManualClock } from '../src/base/clock.ts'
import { type Bridges, openBridges } from '../src/bridge/bridge.ts'
import { loadConfig } from '../src/config/config.ts'
import { Consumers } from '../src/consumers/consumers.ts'
import { createMetrics } from '../src/http/http.ts'
import { MemoryLog } from '../src/log/memory.ts'
import { hashOf, partitionOf } from '../src/log/partition.ts'
import { HOLE_TABLE } from '../src/log/repair/holes.ts'
import { SEGMENT_TABLES } from '../src/log/segment.ts'
import { migrate } from '../src/log/state/tables.ts'
import { emptyStats } from '../src/mqtt/stats.ts'
import { appendAll } from './contract/event-log-support.ts'
import { emptyFolder, keep, open, segmentFiles, stream } from './log/given.ts'
import { runCli } from './support/cli-context.ts'
import { collectingLogger } from './support/logger.ts'

const document = (name: string) => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8')
const format = document('docs/FORMAT.md')
const hasPython = spawnSync('python3', ['-c', 'import sqlite3']).status === 0

/** The script of the document, in a file. */
async function verifier(): Promise<string> {
  const script = /```python\n([\s\S]+?)```/.exec(format)?.[1]
  const file = path.join(await emptyFolder(), 'verify.py')
  writeFileSync(file, script ?? 'the document has no script')
  return file
}

/** A data directory of a closed log with a sealed segment and one in WAL mode; its segments. */
async function segments(): Promise<string[]> {
  const dataDir = await emptyFolder()
  const log = await open(dataDir, [stream('a', { partitions: 3 })], { segmentBytes: 8192 })
  for (const topic of ['a/ü/😀', 'a/b', 'a']) await keep(log, topic, 150)
  await appendAll(log, [{ topic: 'a/b', qos: 2, packetId: 65_535, retain: true, will: true }])
  await log.close()
  return segmentFiles(dataDir, 'a')
    .filter((name) => /^\d{16}\.db$/.test(name))
    .map((name) => path.join(dataDir, 'streams/a', name))
}

describe.skipIf(!hasPython)('the script that verifies a segment', () => {
  it('finds every record of every segment right', async () => {
    const script = await verifier()
    const files = await segments()
    expect(files.length).toBeGreaterThan(1)
    const verified = files.map((file) => {
      const said = execFileSync('python3', [script, file], { encoding: 'utf8' })
      return Number(/^(\d+) records verified, 0 damaged\n$/.exec(said)?.[1])
    })
    expect(verified.reduce((sum, count) => sum + count, 0)).toBe(451)
  })

  it.each([
    ['payload', "UPDATE record SET payload = x'00' WHERE position = 3"],
    ['topic', "UPDATE topic SET name = 'a/c' WHERE id = (SELECT topic FROM record LIMIT 1)"],
    ['packet identifier', 'UPDATE record SET flags = flags + 256 WHERE position = 3'],
    ['time', 'UPDATE record SET time = time + 1 WHERE position = 3'],
  ])('names a record whose %s has changed', async (_what, damage) => {
    const script = await verifier()
    const file = (await segments())[0] ?? ''
    const db = new Database(file)
    db.exec(damage)
    db.close()
    const { status, stdout } = spawnSync('python3', [script, file], { encoding: 'utf8' })
    expect(stdout).toContain('position 3 does not match its checksum\n')
    expect(status).toBe(1)
  })
})

describe('the tables of the format', () => {
  const db = new Database(':memory:')
  db.exec(SEGMENT_TABLES + HOLE_TABLE)
  migrate(db, 'memory')
  const tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").pluck().all()
  const columnsOf = new Map(
    tables.map((table) => {
      const columns = db.pragma(`table_info(${String(table)})`) as { name: string }[]
      return [String(table), columns.map(({ name }) => name)] as const
    }),
  )

  it.each([...columnsOf])('has each column of %s, and no other', (table, columns) => {
    const heading = new RegExp(`^### (?:\\w+, )*${table}\\b.*$`, 'm')
    const [, section = ''] = format.split(heading)
    const text = section.split(/^##/m)[0] ?? ''
    // The columns of meta stand in a sentence: its table lists the keys.
    const place = table === 'meta' ? /^`.*$/m : /^\| column [\s\S]*?\n\n/m
    const rows = (place.exec(text)?.[0] ?? '').split('\n')
    const names = rows.flatMap((row) =>
      table === 'meta'
        ? [...row.matchAll(/`(\w+)`/g)].map(([, name]) => name)
        : [...(row.split('|')[1] ?? '').matchAll(/`(\w+)`/g)].map(([, name]) => name),
    )
    expect(names.toSorted()).toEqual(columns.toSorted())
  })
})

it('lists every command in the README, and none that is not there', async () => {
  const { out } = await runCli(['--help'])
  const commands = [...out.matchAll(/^ {2}([a-z-]+)(?: \[options\]| {2,}\S)/gm)].map(
    ([, name]) => name,
  )
  expect(commands.length).toBeGreaterThan(5)
  const rows = [...document('README.md').matchAll(/^\| `sluice ([a-z-]+)/gm)]
  expect(rows.map(([, name]) => name).toSorted()).toEqual(commands.toSorted())
})

it('gives hashes and partitions that the gateway computes too', () => {
  const rows = [...format.matchAll(/^\| (`.+`|\(empty\)) \| (\d+) \| (\d) \| (\d) \|$/gm)]
  expect(rows.length).toBeGreaterThan(5)
  for (const [, shown = '', hash, ofFour, ofEight] of rows) {
    const key = shown === '(empty)' ? '' : shown.slice(1, -1)
    const computed = [hashOf(key), partitionOf(key, 4), partitionOf(key, 8)]
    expect([key, ...computed]).toEqual([key, Number(hash), Number(ofFour), Number(ofEight)])
  }
})

it('shows a configuration in the README that holds', async () => {
  const file = path.join(await emptyFolder(), 'sluice.toml')
  writeFileSync(file, /```toml\n([\s\S]+?)```/.exec(document('README.md'))?.[1] ?? 'none')
  const result = loadConfig(file, { hostName: 'host' })
  expect(result).toMatchObject({ kind: 'valid' })
})

/** Their metrics are there with the first bridge; without one their rows have no samples. */
function noBridges(clock: ManualClock): Promise<Bridges> {
  return openBridges({
    bridges: [],
    gateway: 'gw',
    log: new MemoryLog([], clock),
    roomBytes: () => undefined,
    clock,
    logger: collectingLogger(),
  })
}

it('lists every metric for operators, and none that is not there', async () => {
  const clock = new ManualClock(0)
  const log = new MemoryLog([stream('a')], clock)
  const consumers = await Consumers.start({ log, clock, queues: [] })
  onTestFinished(() => consumers.close())
  const metrics = createMetrics({
    log,
    consumers,
    stats: emptyStats(),
    retention: { removed: new Map(), space: undefined },
    time: { quality: 'none', steps: 0 },
    bridges: await noBridges(clock),
    clock,
    logger: collectingLogger(),
    version: '1',
  })
  onTestFinished(() => metrics.close())
  const scraped = [...(await metrics.scrape()).matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name)
  const rows = document('docs/OPERATIONS.md').match(/^\| `(sluice|process)_.*$/gm) ?? []
  const listed = rows.flatMap((row) =>
    [...row.matchAll(/`((?:sluice|process)_\w+)`/g)].map(([, name]) => name),
  )
  expect(listed.toSorted()).toEqual(scraped.toSorted())
})
