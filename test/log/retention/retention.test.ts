/** Retention on a real log with tiny segments; only the free space and the time are made up. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ManualClock } from '../../../src/base/clock.ts'
import { asOffset, asPartition, asPosition, type StreamSettings } from '../../../src/log/log.ts'
import type { OpenedLog } from '../../../src/log/open.ts'
import { openLogReader } from '../../../src/log/reader/log-reader.ts'
import {
  Retention,
  type RetentionParts,
  type RetentionRule,
} from '../../../src/log/retention/retention.ts'
import { segmentFileName } from '../../../src/log/segment.ts'
import { createSegmentFile, openDatabase } from '../../../src/log/writer/segment-file.ts'
import { collectingLogger } from '../../support/logger.ts'
import { append, emptyFolder, keep, open, readAll, segmentFiles, stream } from '../given.ts'
import { DAY_MS, NOW_MS } from './given.ts'

const tiny = { segmentBytes: 4096, tailBytes: 8192, slabBytes: 4096, walBytesMax: 64 * 1024 }
const PLENTY = { freeBytes: 1e9, totalBytes: 2e9 }

interface Given {
  readonly log: OpenedLog
  readonly dataDir: string
  readonly clock: ManualClock
  readonly retention: Retention
  readonly lines: string[]
  /** What the disk says from now on. */
  space: { freeBytes: number; totalBytes: number }
}

type More = Partial<Omit<RetentionParts, 'disk'>> & {
  readonly dataDir?: string
  readonly streams?: readonly StreamSettings[]
  readonly measured?: true
}

async function given(
  rules: Readonly<Record<string, Partial<RetentionRule>>>,
  more: More = {},
): Promise<Given> {
  const {
    dataDir = await emptyFolder(),
    streams = Object.keys(rules).map((name) => stream(name)),
  } = more
  const clock = new ManualClock(NOW_MS)
  const logger = collectingLogger()
  const log = await open(dataDir, streams, { ...tiny, clock })
  const fixture = { log, dataDir, clock, lines: logger.lines, space: PLENTY }
  const retention = new Retention({
    log,
    dataDir,
    clock,
    logger,
    rules: new Map(
      Object.entries(rules).map(([name, rule]) => [name, { onLag: 'gap', ...rule } as const]),
    ),
    minFree: { kind: 'percent', percent: 5 },
    ...(more.measured !== true && { disk: async () => result.space }),
    intervalMs: 3_600_000,
    commitBytes: Number.POSITIVE_INFINITY,
    ...more,
  })
  const result: Given = Object.assign(fixture, { retention })
  onTestFinished(() => retention.stop())
  return result
}

/** Appends until a stream has that many finished and sealed segments; where each begins. */
async function fill(log: OpenedLog, name: string, count: number): Promise<number[]> {
  while ((await firstsOf(log, name)).length < count) await keep(log, `${name}/x`, 40)
  // Seals that are still on their way would come to an end in the middle of the test.
  const finished = (await log.bounds(name)).segments - 1
  await expect.poll(() => firstsOf(log, name)).toHaveLength(finished)
  return firstsOf(log, name)
}

async function firstsOf(log: OpenedLog, name: string): Promise<number[]> {
  const found = (await log.segments.survey()).find((each) => each.stream === name)
  return found?.segments.map(({ first }) => first) ?? []
}

const segmentNames = (dataDir: string, name: string) =>
  segmentFiles(dataDir, name).filter((file) => /^\d{16}\.db$/.test(file))

describe('retention', () => {
  it('by size deletes the oldest segments, and the stream begins later and goes on densely', async () => {
    const { log, dataDir, retention } = await given({ a: { sizeBytes: 120_000 } })
    await fill(log, 'a', 6)
    const before = await log.bounds('a')
    await retention.run()
    const after = await log.bounds('a')
    expect(before.sizeBytes).toBeGreaterThan(120_000)
    expect(after.sizeBytes).toBeLessThanOrEqual(120_000)
    expect(after.first).toBeGreaterThan(0)
    expect(after.end).toBe(before.end)
    expect(segmentNames(dataDir, 'a')[0]).toBe(segmentFileName(after.first))
    expect(
      segmentFiles(dataDir, 'a').filter((name) => name.startsWith('0000000000000000')),
    ).toEqual([])
    const { size, age } = retention.removed.get('a') ?? {}
    expect(size?.segments).toBe(before.segments - after.segments)
    expect(size?.sizeBytes).toBe(before.sizeBytes - after.sizeBytes)
    expect(age?.segments).toBe(0)
    // Nothing more to do: nothing more is done.
    await retention.run()
    expect((await log.bounds('a')).first).toBe(after.first)
    const [next] = await keep(log, 'a/x', 1)
    expect(next?.position).toBe(before.end)
  })

  it('R1: goes on with the right numbers after a restart, whatever was deleted', async () => {
    const first = await given(
      { a: { sizeBytes: 1 } },
      { streams: [stream('a', { partitions: 2 })] },
    )
    await keep(first.log, 'a/other partition', 3)
    await fill(first.log, 'a', 4)
    await first.retention.run()
    const before = await first.log.bounds('a')
    expect(before.segments).toBe(1)
    await first.retention.stop()
    await first.log.close()
    const { log } = await given({}, { dataDir: first.dataDir, streams: first.log.streams })
    const reopened = await log.bounds('a')
    expect(reopened.end).toBe(before.end)
    expect(reopened.first).toBe(before.first)
    expect(reopened.partitions).toEqual(before.partitions)
    const [record] = await keep(log, 'a/x', 1)
    expect(record?.position).toBe(before.end)
    expect(record?.offset).toBe(before.partitions[record?.partition ?? 0]?.end)
  })

  it('R1: keeps the segment that says where to go on while the active one is empty', async () => {
    const first = await given({ a: {} })
    const { length } = await fill(first.log, 'a', 2)
    const { end } = await first.log.bounds('a')
    await first.log.close()
    // What a crash between the roll and the first commit leaves.
    const folder = path.join(first.dataDir, 'streams', 'a')
    createSegmentFile(path.join(folder, segmentFileName(end)), openDatabase)
    const { log, retention, dataDir } = await given(
      { a: { sizeBytes: 1 } },
      { dataDir: first.dataDir },
    )
    await expect.poll(() => firstsOf(log, 'a')).toHaveLength(length + 1)
    await retention.run()
    expect(segmentNames(dataDir, 'a')).toHaveLength(2)
    await retention.stop()
    await log.close()
    const reopened = await open(dataDir, [stream('a')], tiny)
    const [record] = await keep(reopened, 'a/x', 1)
    expect([record?.position, record?.offset]).toEqual([end, end])
  })

  it('by age deletes what is old, and nothing under a clock that is wrong', async () => {
    const { log, clock, retention } = await given({ a: { ageMs: 7 * DAY_MS } })
    const firsts = await fill(log, 'a', 3)
    clock.advance(6 * DAY_MS)
    await retention.run()
    expect(await firstsOf(log, 'a')).toEqual(firsts)
    await fill(log, 'a', firsts.length + 2)
    for (const wrong of [0, Date.UTC(2100, 0, 1)]) {
      clock.step(wrong)
      await retention.run()
      await fill(log, 'a', (await firstsOf(log, 'a')).length + 2)
      await retention.run()
    }
    expect((await log.bounds('a')).first).toBe(0)
    // What is right again counts for itself: the jump before it is passed after the age.
    clock.step(NOW_MS + 8 * DAY_MS)
    const wrongEnd = (await log.bounds('a')).end
    const { length } = await fill(log, 'a', (await firstsOf(log, 'a')).length + 2)
    await retention.run()
    expect(await firstsOf(log, 'a')).toHaveLength(length)
    clock.advance(8 * DAY_MS)
    await retention.run()
    expect((await log.bounds('a')).first).toBeGreaterThan(wrongEnd)
  })

  it('does not use a time that nobody trusts', async () => {
    const { log, clock, retention } = await given(
      { a: { ageMs: 1 } },
      { trustedNow: () => undefined },
    )
    const firsts = await fill(log, 'a', 2)
    clock.advance(DAY_MS)
    await retention.run()
    expect(await firstsOf(log, 'a')).toEqual(firsts)
  })

  it('looks by itself when much was committed', async () => {
    const { log } = await given({ a: { sizeBytes: 1 } }, { commitBytes: 4096 })
    for (let round = 0; round < 20; round++) await keep(log, 'a/x', 20)
    await expect
      .poll(async () => {
        await keep(log, 'a/x', 8)
        return (await log.bounds('a')).first
      })
      .toBeGreaterThan(100)
  })

  it('stops for good', async () => {
    const { log, retention } = await given({ a: { sizeBytes: 1 } })
    const firsts = await fill(log, 'a', 2)
    await retention.stop()
    await retention.run()
    expect(await firstsOf(log, 'a')).toEqual(firsts)
  })
})

describe('what a cursor had not read', () => {
  it('S2: becomes a gap of exactly that range, and the cursor stands behind it', async () => {
    const { log, retention } = await given({ a: { sizeBytes: 1 } })
    const [, second = 0, third = 0, fourth = 0] = await fill(log, 'a', 4)
    const { cursors, gaps } = log.state
    await cursors.open('begins', 'a', 'stream', { kind: 'earliest' })
    await cursors.open('inside', 'a', 'stream', { kind: 'earliest' })
    await cursors.commitNow('inside', { kind: 'stream', next: asPosition(third + 3) })
    await cursors.open('done', 'a', 'stream', { kind: 'latest' })
    const done = cursors.get('done')?.place
    const added: string[] = []
    gaps.onAdded(({ cursor, first, end, records, reason }) =>
      added.push(`${cursor} [${first}, ${end}) ${records} ${reason}`),
    )
    await retention.run()
    const { first } = await log.bounds('a')
    expect(first).toBeGreaterThan(fourth)
    const of = (cursor: string) => added.filter((line) => line.startsWith(`${cursor} `))
    expect(of('begins').slice(0, 3)).toEqual([
      `begins [0, ${second}) ${second} retention`,
      `begins [${second}, ${third}) ${third - second} retention`,
      `begins [${third}, ${fourth}) ${fourth - third} retention`,
    ])
    expect(of('inside')[0]).toBe(`inside [${third + 3}, ${fourth}) ${fourth - third - 3} retention`)
    expect(of('done')).toEqual([])
    expect(cursors.get('begins')?.place).toEqual({ kind: 'stream', next: first })
    expect(cursors.get('inside')?.place).toEqual({ kind: 'stream', next: first })
    expect(cursors.get('done')?.place).toEqual(done)
    const total = gaps.totals().retention
    expect(total.records).toBe(first + first - (third + 3))
  })

  it('counts by partition where the cursor stands by partition', async () => {
    const { log, retention } = await given(
      { a: { sizeBytes: 1 } },
      { streams: [stream('a', { partitions: 2, key: { kind: 'round-robin' } })] },
    )
    await fill(log, 'a', 3)
    const { cursors, gaps } = log.state
    await cursors.open('g', 'a', 'partitions', { kind: 'earliest' })
    const ahead = (await log.bounds('a')).partitions.map(({ end }) => end)
    const next = new Map([[asPartition(0), asOffset(4)]])
    next.set(asPartition(1), ahead[1] ?? asOffset(0))
    await cursors.commitNow('g', { kind: 'partitions', next })
    await retention.run()
    const { partitions, first } = await log.bounds('a')
    expect(cursors.get('g')?.place).toEqual({
      kind: 'partitions',
      next: new Map([
        [0, partitions[0]?.first],
        [1, ahead[1]],
      ]),
    })
    const lost = gaps.list({ cursor: 'g' })
    expect(lost.reduce((sum, gap) => sum + gap.records, 0)).toBe((partitions[0]?.first ?? 0) - 4)
    expect(lost.at(-1)?.end).toBe(first)
  })

  it('R4: stays under on_lag = "refuse", and goes once it was read', async () => {
    const { log, retention } = await given({ a: { sizeBytes: 1, onLag: 'refuse' } })
    const [, second = 0] = await fill(log, 'a', 3)
    const { cursors, gaps } = log.state
    await cursors.open('c', 'a', 'stream', { kind: 'earliest' })
    await cursors.commitNow('c', { kind: 'stream', next: asPosition(second) })
    await retention.run()
    expect((await log.bounds('a')).first).toBe(second)
    cursors.commit('c', { kind: 'stream', next: (await log.bounds('a')).end })
    await retention.run()
    expect((await log.bounds('a')).segments).toBe(1)
    expect(gaps.list()).toEqual([])
    expect(log.full.size).toBe(0)
  })
})

describe('the disk guard', () => {
  it('deletes from the largest stream until enough is free, with gaps that say why', async () => {
    const fixture = await given({ a: {}, b: {} })
    const { log, retention } = fixture
    await fill(log, 'a', 5)
    await fill(log, 'b', 2)
    await log.state.cursors.open('c', 'a', 'stream', { kind: 'earliest' })
    const before = await log.bounds('a')
    // 5 % of it must be free: one byte less than that is short by one byte.
    fixture.space = { freeBytes: 99_999, totalBytes: 2_000_000 }
    await retention.run()
    expect((await log.bounds('a')).segments).toBe(before.segments - 1)
    expect((await log.bounds('b')).first).toBe(0)
    expect((await log.bounds('a')).sizeBytes).toBeLessThan(before.sizeBytes)
    expect(log.state.gaps.list().map(({ reason, cursor }) => [reason, cursor])).toEqual([
      ['disk-guard', 'c'],
    ])
    expect(retention.removed.get('a')?.['disk-guard'].segments).toBe(1)
    expect(retention.space).toEqual(fixture.space)
    fixture.space = PLENTY
    await retention.run()
    expect((await log.bounds('a')).segments).toBe(before.segments - 1)
  })

  it('lets a stream refuse, says so once, and takes records again when there is space', async () => {
    const fixture = await given({ a: { onLag: 'refuse' }, b: {} })
    const { log, retention, lines } = fixture
    await fill(log, 'a', 2)
    await log.state.cursors.open('c', 'a', 'stream', { kind: 'earliest' })
    fixture.space = { freeBytes: 1, totalBytes: 2_000_000 }
    await retention.run()
    await retention.run()
    const { end } = await log.bounds('a')
    expect((await log.bounds('a')).first).toBe(0)
    for (const { settled } of [append(log, 'a/x'), append(log, 'a/x')]) {
      expect(await settled).toBe('full')
    }
    await keep(log, 'b/x', 1)
    await retention.run()
    const why = 'the disk is below disk.min_free and cursor c still needs its oldest segment'
    expect([...log.full]).toEqual([['a', why]])
    expect((await log.bounds('a')).end).toBe(end)
    fixture.space = PLENTY
    await retention.run()
    await retention.run()
    const [record] = await keep(log, 'a/x', 1)
    expect([record?.position, record?.offset]).toEqual([end, end])
    expect(lines.filter((line) => line.includes('new messages'))).toEqual([
      `warn: stream a refuses new messages: ${why}`,
      'info: stream a takes new messages again',
    ])
  })

  it('takes records again when the cursor that held it has read', async () => {
    const fixture = await given({ a: { onLag: 'refuse' } })
    const { log, retention } = fixture
    await fill(log, 'a', 2)
    await log.state.cursors.open('c', 'a', 'stream', { kind: 'earliest' })
    fixture.space = { freeBytes: 1, totalBytes: 2_000_000 }
    await retention.run()
    expect(log.full.has('a')).toBe(true)
    log.state.cursors.commit('c', { kind: 'stream', next: (await log.bounds('a')).end })
    await retention.run()
    expect(log.full.size).toBe(0)
    expect((await log.bounds('a')).segments).toBe(1)
  })

  it('measures the file system of the data directory', async () => {
    const { retention } = await given({ a: {} }, { measured: true })
    await retention.run()
    expect(retention.space?.totalBytes).toBeGreaterThan(0)
  })
})

describe('a reader', () => {
  it('that leaves an empty WAL behind does not hold up retention', async () => {
    const { log, dataDir, retention } = await given({ a: { sizeBytes: 1 } })
    const [oldest = 0] = await fill(log, 'a', 2)
    fs.writeFileSync(path.join(dataDir, 'streams', 'a', `${segmentFileName(oldest)}-wal`), '')
    await retention.run()
    expect((await log.bounds('a')).first).toBeGreaterThan(oldest)
  })

  it('in the middle of what is deleted goes on where the stream then begins', async () => {
    const { log, dataDir, retention } = await given({ a: { sizeBytes: 1 } })
    await fill(log, 'a', 4)
    const beside = openLogReader(dataDir)
    onTestFinished(() => beside.close())
    const query = { stream: 'a', recordsMax: 5, bytesMax: 1e6 }
    const page = await log.read({ ...query, from: asPosition(0) })
    const other = beside.read({ ...query, from: asPosition(0) })
    expect([page.next, other.next]).toEqual([5, 5])
    const reading = log.read({ ...query, from: asPosition(5) })
    await retention.run()
    expect((await reading).records.length).toBeGreaterThan(0)
    const { first, end } = await log.bounds('a')
    expect(first).toBeGreaterThan(5)
    expect((await log.read({ ...query, from: page.next })).records[0]?.position).toBe(first)
    expect(beside.read({ ...query, from: other.next }).records[0]?.position).toBe(first)
    expect(await readAll(log, 'a')).toHaveLength(end - first)
  })

  it.skipIf(process.platform !== 'linux')(
    'holds no deleted file, whose space would not be free',
    async () => {
      const { log, dataDir, retention } = await given({ a: { sizeBytes: 1 } })
      await fill(log, 'a', 4)
      await log.read({ stream: 'a', from: asPosition(0), recordsMax: 1000, bytesMax: 1e9 })
      expect(openFiles().some((file) => file.startsWith(dataDir))).toBe(true)
      await retention.run()
      const held = () => openFiles().filter((file) => file.startsWith(dataDir) && isDeleted(file))
      await expect.poll(held).toEqual([])
    },
  )
})

const isDeleted = (file: string) => file.endsWith('.db (deleted)')

function openFiles(): string[] {
  return fs.readdirSync('/proc/self/fd').flatMap((descriptor) => {
    try {
      return [fs.readlinkSync(`/proc/self/fd/${descriptor}`)]
    } catch {
      return []
    }
  })
}
