import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { describe, expect, it, vi } from 'vitest'
import { asOffset, asPartition, asPosition, type EventLog } from '../../src/log/log.ts'
import { segmentFileName } from '../../src/log/segment.ts'
import { openSegmentFile } from '../../src/log/writer/segment-file.ts'
import { testEventLog } from '../contract/event-log.ts'
import { collectingLogger } from '../support/logger.ts'
import { copyAsCrashed, emptyFolder, keep, open, readAll, segmentFiles, stream } from './given.ts'

/** Records of a few hundred bytes fill a segment after a few dozen. */
const TINY = { segmentBytes: 8 * 1024, tailBytes: 1024, slabBytes: 1024 }

for (const [size, options] of [
  ['usual', {}],
  ['tiny', { ...TINY, walBytesMax: 8 * 1024 }],
] as const) {
  testEventLog(
    `the SQLite log with ${size} bounds`,
    async (streams, clock) => {
      const dataDir = await emptyFolder()
      const openIt = () => open(dataDir, streams, { clock, ...options })
      let log = await openIt()
      return {
        log,
        reopen: async () => {
          await log.close()
          log = await openIt()
          return log
        },
        clean: () => log.close(),
      }
    },
    { durable: true },
  )
}

it('refuses a data directory that another gateway holds, and names it', async () => {
  const dataDir = await emptyFolder()
  await open(dataDir, [stream('a')])
  await expect(open(dataDir, [stream('a')])).rejects.toMatchObject({
    code: 'data-dir-locked',
    message: expect.stringContaining(dataDir),
  })
})

it('opens again after a close, under the next boot number', async () => {
  const dataDir = await emptyFolder()
  const log = await open(dataDir, [stream('a')])
  expect(log.boot).toBe(1)
  await log.close()
  const again = await open(dataDir, [stream('a')])
  expect(again.boot).toBe(2)
})

it('says what is wrong with a data directory that cannot be made', async () => {
  const file = path.join(await emptyFolder(), 'file')
  fs.writeFileSync(file, '')
  await expect(open(path.join(file, 'data'), [stream('a')])).rejects.toMatchObject({
    code: 'data-dir-unusable',
    message: expect.stringContaining('ENOTDIR'),
  })
})

it('makes a data directory that only its owner may enter', async () => {
  const dataDir = path.join(await emptyFolder(), 'deep', 'data')
  await open(dataDir, [stream('a')])
  expect(fs.statSync(dataDir).mode & 0o777).toBe(0o700)
})

it('refuses a segment of a newer format', async () => {
  const dataDir = await emptyFolder()
  await (await open(dataDir, [stream('a')])).close()
  const db = new Database(path.join(dataDir, 'streams/a/0000000000000000.db'))
  db.pragma('user_version = 99')
  db.close()
  await expect(open(dataDir, [stream('a')])).rejects.toMatchObject({
    code: 'format-unknown',
    message: expect.stringContaining('format 99'),
  })
})

it('goes on with dense positions and offsets after a reopen, in each stream and partition', async () => {
  const dataDir = await emptyFolder()
  const streams = [stream('a', { partitions: 4 }), stream('b')]
  const log = await open(dataDir, streams)
  for (let i = 0; i < 40; i++) await keep(log, `a/${i % 7}`, 1)
  await keep(log, 'b/x', 5)
  const before = await readAll(log, 'a')
  await log.close()

  const again = await open(dataDir, streams)
  const appended = []
  for (let i = 0; i < 40; i++) appended.push(...(await keep(again, `a/${i % 7}`, 1)))
  expect((await keep(again, 'b/x', 1))[0]).toMatchObject({ position: 5, offset: 5 })
  const lines = await readAll(again, 'a')
  expect(lines.slice(0, 40)).toEqual(before)
  expectDense(lines)
  expect(lines).toHaveLength(80)
  expect(appended[0]?.position).toBe(40)
})

it('keeps the offsets of partitions that the configuration no longer has', async () => {
  const dataDir = await emptyFolder()
  const wide = stream('a', { partitions: 4, key: { kind: 'round-robin' } })
  const log = await open(dataDir, [wide])
  await keep(log, 'a/x', 8)
  await log.close()
  const narrow = await open(dataDir, [stream('a', { partitions: 1 })])
  await keep(narrow, 'a/x', 3)
  await narrow.close()
  const again = await open(dataDir, [wide])
  await keep(again, 'a/x', 8)
  expectDense(await readAll(again, 'a'))
  const { partitions } = await again.bounds('a')
  expect(partitions.map(({ end }) => end)).toEqual([7, 4, 4, 4])
})

it('begins new partitions at offset 0 in a segment that does not know them', async () => {
  const dataDir = await emptyFolder()
  const log = await open(dataDir, [stream('a')])
  await keep(log, 'a/x', 3)
  await log.close()
  const wide = stream('a', { partitions: 3, key: { kind: 'round-robin' } })
  for (const end of [1, 2]) {
    const wider = await open(dataDir, [wide])
    await keep(wider, 'a/x', 3)
    const { partitions } = await wider.bounds('a')
    expect(partitions.map((bounds) => bounds.end)).toEqual([3 + end, end, end])
    expectDense(await readAll(wider, 'a'))
    await wider.close()
  }
})

it('rolls across segments, and seals the full ones as plain files', async () => {
  const dataDir = await emptyFolder()
  const log = await open(dataDir, [stream('a', { partitions: 2 })], TINY)
  for (let i = 0; i < 60; i++) await keep(log, `a/${i % 3}`, 10)
  await vi.waitFor(
    () => {
      const files = segmentFiles(dataDir, 'a')
      const wals = files.filter((name) => name.endsWith('-wal'))
      expect(files.filter((name) => /^\d+\.db$/.test(name)).length).toBeGreaterThan(3)
      expect(wals).toHaveLength(1)
    },
    { timeout: 20_000 },
  )
  const lines = await readAll(log, 'a')
  expect(lines).toHaveLength(600)
  expectDense(lines)

  const segments = segmentFiles(dataDir, 'a').filter((name) => /^\d+\.db$/.test(name))
  let next = 0
  for (const name of segments.slice(0, -1)) {
    const db = new Database(path.join(dataDir, 'streams/a', name), { readonly: true })
    expect(db.pragma('journal_mode', { simple: true })).toBe('delete')
    const row = db.prepare('SELECT * FROM segment').get() as Record<string, number>
    expect(row['first_position']).toBe(next)
    expect(db.prepare('SELECT max(position) + 1 FROM record').pluck().get()).toBe(
      row['end_position'],
    )
    expect(row['first_time']).toBeLessThanOrEqual(row['last_time'] ?? 0)
    next = row['end_position'] ?? -1
    db.close()
  }
  await log.close()
  expectDense(await readAll(await open(dataDir, [stream('a', { partitions: 2 })], TINY), 'a'))
})

it('has everything that was settled in a copy of the files taken while it runs', async () => {
  const dataDir = await emptyFolder()
  const streams = [stream('a', { partitions: 3 }), stream('b', { ackAfter: 'write' })]
  const log = await open(dataDir, streams, TINY)
  for (let round = 0; round < 5; round++) {
    for (let i = 0; i < 20; i++) await keep(log, `a/${i % 5}`, 7)
    await keep(log, 'b/x', 50)
    await vi.waitFor(() => expect(wals(dataDir)).toHaveLength(2), { timeout: 20_000 })
    const copy = await open(await copyAsCrashed(dataDir), streams, TINY)
    const lines = await readAll(copy, 'a')
    expectDense(lines)
    expect(lines).toEqual(await readAll(log, 'a'))
    expect(await readAll(copy, 'b')).toHaveLength((round + 1) * 50)
    await keep(copy, 'a/0', 1)
    expectDense(await readAll(copy, 'a'))
    await copy.close()
  }
})

it('seals at the next start what a crash left unsealed', async () => {
  const dataDir = await emptyFolder()
  const log = await open(dataDir, [stream('a')], TINY)
  await keep(log, 'a/x', 200)
  await log.close()
  // As if the end had come between the roll and the seal of the first segment.
  const first = path.join(dataDir, 'streams/a/0000000000000000.db')
  const db = openSegmentFile(first, 'fsync', (file) => new Database(file))
  db.exec('UPDATE segment SET end_position = NULL; UPDATE partition SET end_offset = NULL')
  db.close()
  const again = await open(dataDir, [stream('a')], TINY)
  await keep(again, 'a/x', 1)
  await vi.waitFor(() => expect(fs.readFileSync(first)[18]).toBe(1), { timeout: 20_000 })
  expectDense(await readAll(again, 'a'))
})

it('starts over whatever a crash left of a segment in the making', async () => {
  const dataDir = await emptyFolder()
  const log = await open(dataDir, [stream('a')])
  await keep(log, 'a/x', 3)
  await log.close()
  const folder = path.join(dataDir, 'streams/a')
  for (const name of ['next.db', 'prepare.db', 'roll.db']) {
    fs.writeFileSync(path.join(folder, name), 'half a file')
  }
  const again = await open(dataDir, [stream('a')], { segmentBytes: 4096 })
  await keep(again, 'a/x', 200)
  expectDense(await readAll(again, 'a'))
  expect(await readAll(again, 'a')).toHaveLength(203)
})

it('uses an empty segment that follows the last one, and notes what is gone before another', async () => {
  for (const first of [3, 7]) {
    const name = segmentFileName(first)
    const dataDir = await emptyFolder()
    const log = await open(dataDir, [stream('a', { partitions: 2 })])
    await keep(log, 'a/x', 3)
    await log.close()
    // The empty segment of a new stream, under the name the next one would have.
    const other = await emptyFolder()
    await (await open(other, [stream('a')])).close()
    const folder = path.join(dataDir, 'streams/a')
    fs.copyFileSync(path.join(other, 'streams/a/0000000000000000.db'), path.join(folder, name))
    for (const expected of [4, 5]) {
      const again = await open(dataDir, [stream('a', { partitions: 2 })])
      await keep(again, 'a/x', 1)
      const lines = await readAll(again, 'a')
      expect(lines).toHaveLength(expected)
      if (first === 3) expectDense(lines)
      else expect(lines.at(3)).toMatch(/^7\//)
      const gaps = again.state.gaps.list().map((gap) => [gap.first, gap.end, gap.reason])
      expect(gaps).toEqual(first === 3 ? [] : [[3, 7, 'quarantined']])
      await again.close()
    }
  }
})

/** One an active segment once the keeper has sealed the others: a copy is then of one moment. */
function wals(dataDir: string): string[] {
  return ['a', 'b'].flatMap((name) =>
    segmentFiles(dataDir, name).filter((file) => file.endsWith('-wal')),
  )
}

function expectDense(lines: readonly string[]): void {
  const offsets = new Map<string, number>()
  for (const [index, line] of lines.entries()) {
    const [position, partition = '', offset] = (line.split(' ')[0] ?? '').split('/')
    expect(Number(position)).toBe(index)
    expect(Number(offset)).toBe(offsets.get(partition) ?? 0)
    offsets.set(partition, Number(offset) + 1)
  }
}

describe('the end of a stream that is acknowledged before it is synced', () => {
  const fast = [stream('f', { ackAfter: 'receive', partitions: 2, key: { kind: 'round-robin' } })]

  /** A directory as a kill leaves it, with cursors at 10 and 5 + 5; the stream ends at `end`. */
  async function crashedWith(end: number): Promise<string> {
    const dataDir = await emptyFolder()
    const log = await open(dataDir, fast)
    await keep(log, 'f/x', end)
    await vi.waitFor(() => expect(log.backlogBytes).toBe(0))
    const { cursors } = log.state
    const next = new Map([0, 1].map((partition) => [asPartition(partition), asOffset(5)]))
    await cursors.open('by position', 'f', 'stream', { kind: 'earliest' })
    await cursors.open('by partition', 'f', 'partitions', { kind: 'earliest' })
    await cursors.commitNow('by position', { kind: 'stream', next: asPosition(10) })
    await cursors.commitNow('by partition', { kind: 'partitions', next })
    return copyAsCrashed(dataDir)
  }

  const placesIn = (log: EventLog) =>
    log.state.cursors
      .list()
      .map(({ name, place }) => [
        name,
        place.kind === 'stream' ? place.next : [...place.next.values()],
      ])

  it('S1, S3: takes cursors ahead of it back, and raises the epoch, durably', async () => {
    const logger = collectingLogger()
    const dataDir = await crashedWith(7)
    const log = await open(dataDir, fast, { logger })
    const expected = [
      ['by partition', [4, 3]],
      ['by position', 7],
    ]
    expect(placesIn(log).sort()).toEqual(expected)
    expect(log.state.epoch).toBe(2)
    expect(logger.lines.filter((line) => line.includes('"by position" of "f"'))).toHaveLength(1)
    const copy = await copyAsCrashed(dataDir)
    fs.rmSync(path.join(copy, 'running'))
    const again = await open(copy, fast)
    expect(placesIn(again).sort()).toEqual(expected)
    expect(again.state.epoch).toBe(2)
  })

  it('S3: raises the epoch after a stop that was not clean, and not after a clean one', async () => {
    const dataDir = await crashedWith(12)
    const logger = collectingLogger()
    const log = await open(dataDir, fast, { logger })
    expect(log.state.epoch).toBe(2)
    expect(logger.lines.filter((line) => line.includes('ahead'))).toEqual([])
    await log.close()
    const again = await open(dataDir, fast)
    expect(again.state.epoch).toBe(2)
    expect(new Map(placesIn(again) as [string, unknown][])).toEqual(
      new Map<string, unknown>([
        ['by position', 10],
        ['by partition', [5, 5]],
      ]),
    )
  })

  it('S3: needs no new epoch where everything was synced', async () => {
    const dataDir = await emptyFolder()
    const log = await open(dataDir, [stream('a')])
    await keep(log, 'a/x', 5)
    const copy = await open(await copyAsCrashed(dataDir), [stream('a')])
    expect(copy.state.epoch).toBe(1)
  })
})
