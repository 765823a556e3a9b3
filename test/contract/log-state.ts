/**
 * The contract of the state beside the records (src/log/state.ts): one suite for every log. Call it
 * at the top level of a test file.
 */
import { afterEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import {
  asOffset,
  asPartition,
  asPosition,
  type Cursor,
  type CursorPlace,
  type EventLog,
  type Gap,
  gapReasons,
  type NewGap,
  type Offset,
  type Partition,
} from '../../src/log/log.ts'
import { appendAll, messages, type OpenedLog, type OpenLog, stream } from './event-log-support.ts'

const START_MS = 1_700_000_000_000

export const at = (next: number): CursorPlace => ({ kind: 'stream', next: asPosition(next) })

export const offsets = (next: Readonly<Record<number, number>>): CursorPlace => ({
  kind: 'partitions',
  next: new Map<Partition, Offset>(
    Object.entries(next).map(([p, o]) => [asPartition(Number(p)), asOffset(o)]),
  ),
})

export const gap = (first: number, end: number, more: Partial<NewGap> = {}): NewGap => ({
  stream: 's',
  cursor: 'c',
  first: asPosition(first),
  end: asPosition(end),
  records: end - first,
  sizeBytes: (end - first) * 10,
  reason: 'retention',
  ...more,
})

export const ranges = (gaps: readonly Gap[]): string[] =>
  gaps.map(({ first, end, records }) => `[${first}, ${end}) ${records}`)

interface GivenLog {
  readonly opened: OpenedLog
  readonly log: EventLog
  readonly clock: ManualClock
}

type Given = (partitions?: number) => Promise<GivenLog>

export function testLogState(name: string, open: OpenLog, traits: { durable: boolean }): void {
  describe(`${name} keeps the contract of the state`, () => {
    const logs: OpenedLog[] = []
    const given: Given = async (partitions = 1) => {
      const clock = new ManualClock(START_MS)
      const settings = stream('s', { partitions, key: { kind: 'topic-level', level: 1 } })
      const opened = await open([settings, stream('other', { topics: ['none'] })], clock)
      logs.push(opened)
      return { opened, log: opened.log, clock }
    }

    afterEach(async () => {
      for (const log of logs.splice(0)) await log.clean()
    })

    describe('cursors', () => testCursors(given))
    describe('cursors by partition', () => testByPartition(given))
    describe('lag', () => testLag(given))
    describe('gaps', () => testGaps(given))
    if (traits.durable) describe('reopen', () => testReopen(given))
  })
}

function testCursors(given: Given): void {
  it('begin where they are told to', async () => {
    const { log, clock } = await given()
    await appendAll(log, messages(3))
    clock.advance(1000)
    await appendAll(log, messages(2))
    const { cursors } = log.state
    const place = async (name: string, from: Parameters<typeof cursors.open>[3]) =>
      (await cursors.open(name, 's', 'stream', from)).place
    expect(await place('a', { kind: 'earliest' })).toEqual(at(0))
    expect(await place('b', { kind: 'latest' })).toEqual(at(5))
    expect(await place('c', { kind: 'time', timeMs: START_MS + 1 })).toEqual(at(3))
    const offset = { kind: 'offset', partition: asPartition(0), offset: asOffset(2) } as const
    expect(await place('d', offset)).toEqual(at(2))
    expect(cursors.list().map(({ name }) => name)).toEqual(['a', 'b', 'c', 'd'])
  })

  it('are given as they are when they are opened again, also at the same moment', async () => {
    const { log } = await given()
    await appendAll(log, messages(3))
    const { cursors } = log.state
    const [one, two] = await Promise.all([
      cursors.open('c', 's', 'stream', { kind: 'latest' }),
      cursors.open('c', 's', 'stream', { kind: 'earliest' }),
    ])
    expect(two).toBe(one)
    cursors.commit('c', at(5))
    expect((await cursors.open('c', 's', 'stream', { kind: 'earliest' })).place).toEqual(at(5))
  })

  it('move on by commits, never back, and tell of each move', async () => {
    const { log, clock } = await given()
    const { cursors } = log.state
    await cursors.open('c', 's', 'stream', { kind: 'earliest' })
    const moves: string[] = []
    cursors.onMoved((cursor, why) => moves.push(`${why} ${JSON.stringify(cursor.place)}`))
    clock.advance(7)
    cursors.commit('c', at(4))
    cursors.commit('c', at(2))
    await cursors.commitNow('c', at(4))
    await cursors.commitNow('c', at(6))
    expect(cursors.get('c')).toMatchObject({ place: at(6), updatedMs: START_MS + 7 })
    expect(moves).toEqual([
      'commit {"kind":"stream","next":4}',
      'commit {"kind":"stream","next":6}',
    ])
  })

  it('move anywhere by a seek, also back', async () => {
    const { log } = await given()
    await appendAll(log, messages(5))
    const { cursors } = log.state
    await cursors.open('c', 's', 'stream', { kind: 'latest' })
    const moves: string[] = []
    cursors.onMoved((cursor, why) => moves.push(`${why} ${cursor.name}`))
    const offset = { kind: 'offset', partition: asPartition(0), offset: asOffset(3) } as const
    expect((await cursors.seek('c', offset)).place).toEqual(at(3))
    expect((await cursors.seek('c', { kind: 'earliest' })).place).toEqual(at(0))
    expect(cursors.get('c')?.place).toEqual(at(0))
    expect(moves).toEqual(['seek c', 'seek c'])
  })

  it('stay where they are when a seek leads nowhere', async () => {
    const { log } = await given()
    await appendAll(log, messages(2))
    await log.state.cursors.open('c', 's', 'stream', { kind: 'latest' })
    const nowhere = { kind: 'offset', partition: asPartition(0), offset: asOffset(9) } as const
    await expect(log.state.cursors.seek('c', nowhere)).rejects.toMatchObject({
      code: 'start-invalid',
    })
    expect(log.state.cursors.get('c')?.place).toEqual(at(2))
  })

  it('are gone when they are removed', async () => {
    const { log } = await given()
    const { cursors } = log.state
    await cursors.open('c', 's', 'stream', { kind: 'earliest' })
    await cursors.remove('c')
    expect(cursors.get('c')).toBeUndefined()
    expect(() => cursors.commit('c', at(1))).toThrow('there is no cursor "c"')
    for (const asked of [
      cursors.commitNow('c', at(1)),
      cursors.seek('c', { kind: 'latest' }),
      cursors.remove('c'),
      cursors.lag('c'),
    ]) {
      await expect(asked).rejects.toMatchObject({ code: 'cursor-unknown' })
    }
  })

  it('are made only on streams that are there', async () => {
    const { log } = await given()
    const { cursors } = log.state
    const asked = cursors.open('c', 'never', 'stream', { kind: 'latest' })
    await expect(asked).rejects.toMatchObject({ code: 'stream-unknown' })
    expect(cursors.get('c')).toBeUndefined()
    await cursors.open('c', 's', 'stream', { kind: 'latest' })
  })
}

function testByPartition(given: Given): void {
  /** Partition `a` has the positions 0, 1, 4 and `b` 2, 3, 5, whatever their numbers are. */
  async function givenTwo() {
    const { log, clock, opened } = await given(2)
    const names = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
    const partition = (name: string) => log.route(`t/${name}`).partition
    const other = names.find((name) => partition(name) !== partition('a')) ?? ''
    const one = Number(partition('a'))
    const two = Number(partition(other))
    expect(two).not.toBe(one)
    for (const name of ['a', 'a', other, other, 'a', other]) {
      await appendAll(log, [{ topic: `t/${name}` }])
      clock.advance(1000)
    }
    return { log, clock, opened, one, two }
  }

  it('begin at the first record of each partition from a moment on', async () => {
    const { log, one, two } = await givenTwo()
    const { cursors } = log.state
    const place = async (name: string, from: Parameters<typeof cursors.open>[3]) =>
      (await cursors.open(name, 's', 'partitions', from)).place
    expect(await place('a', { kind: 'earliest' })).toEqual(offsets({ [one]: 0, [two]: 0 }))
    expect(await place('b', { kind: 'latest' })).toEqual(offsets({ [one]: 3, [two]: 3 }))
    const time = { kind: 'time', timeMs: START_MS + 3000 } as const
    expect(await place('c', time)).toEqual(offsets({ [one]: 2, [two]: 1 }))
    const late = { kind: 'time', timeMs: START_MS + 5000 } as const
    expect(await place('d', late)).toEqual(offsets({ [one]: 3, [two]: 2 }))
    const offset = { kind: 'offset', partition: asPartition(one), offset: asOffset(2) } as const
    expect(await place('e', offset)).toEqual(offsets({ [one]: 2, [two]: 2 }))
  })

  it('move on in the partitions that a commit names', async () => {
    const { log, one, two } = await givenTwo()
    const { cursors } = log.state
    await cursors.open('c', 's', 'partitions', { kind: 'earliest' })
    cursors.commit('c', offsets({ [one]: 2 }))
    cursors.commit('c', offsets({ [one]: 1, [two]: 3 }))
    expect(cursors.get('c')?.place).toEqual(offsets({ [one]: 2, [two]: 3 }))
  })

  it('move in one partition alone by a seek to an offset', async () => {
    const { log, one, two } = await givenTwo()
    const { cursors } = log.state
    await cursors.open('c', 's', 'partitions', { kind: 'latest' })
    const offset = { kind: 'offset', partition: asPartition(two), offset: asOffset(1) } as const
    const moved = await cursors.seek('c', offset)
    expect(moved.place).toEqual(offsets({ [one]: 3, [two]: 1 }))
    await expect(
      cursors.seek('c', { kind: 'offset', partition: asPartition(two), offset: asOffset(9) }),
    ).rejects.toMatchObject({ code: 'start-invalid' })
  })

  it('lag by the sum of their partitions, as old as the oldest unread record', async () => {
    const { log, one, two } = await givenTwo()
    const { cursors } = log.state
    await cursors.open('c', 's', 'partitions', { kind: 'earliest' })
    expect(await cursors.lag('c')).toMatchObject({ records: 6, ageMs: 6000 })
    cursors.commit('c', offsets({ [one]: 3, [two]: 1 }))
    expect(await cursors.lag('c')).toMatchObject({ records: 2, ageMs: 3000 })
    cursors.commit('c', offsets({ [two]: 3 }))
    expect(await cursors.lag('c')).toEqual({ records: 0, sizeBytes: 0, ageMs: 0 })
  })
}

function testLag(given: Given): void {
  it('counts records, estimates bytes, and knows the age of the oldest unread record', async () => {
    const { log, clock } = await given()
    await appendAll(log, messages(2))
    clock.advance(60_000)
    await appendAll(log, messages(2))
    const { cursors } = log.state
    await cursors.open('c', 's', 'stream', { kind: 'earliest' })
    const { sizeBytes } = await log.bounds('s')
    expect(await cursors.lag('c')).toEqual({ records: 4, sizeBytes, ageMs: 60_000 })
    cursors.commit('c', at(2))
    clock.advance(500)
    const half = Math.round((await log.bounds('s')).sizeBytes / 2)
    expect(await cursors.lag('c')).toEqual({ records: 2, sizeBytes: half, ageMs: 500 })
    expect(cursors.lagRecords('c', await log.bounds('s'))).toBe(2)
    cursors.commit('c', at(4))
    expect(await cursors.lag('c')).toEqual({ records: 0, sizeBytes: 0, ageMs: 0 })
  })

  it('is none for a cursor on an empty stream, or ahead of its stream', async () => {
    const { log } = await given()
    const { cursors } = log.state
    await cursors.open('c', 's', 'stream', { kind: 'earliest' })
    expect(await cursors.lag('c')).toEqual({ records: 0, sizeBytes: 0, ageMs: 0 })
    cursors.commit('c', at(100))
    expect(await cursors.lag('c')).toEqual({ records: 0, sizeBytes: 0, ageMs: 0 })
  })
}

function testGaps(given: Given): void {
  it('are listed oldest first, by stream, by cursor, and after an id', async () => {
    const { log, clock } = await given()
    const { gaps } = log.state
    const [first] = await gaps.add([gap(0, 10)])
    clock.advance(5)
    const [second, third] = await gaps.add([
      gap(20, 30, { cursor: undefined, reason: 'quarantined' }),
      gap(0, 5, { stream: 'other', cursor: 'd' }),
    ])
    expect(gaps.list()).toEqual([first, second, third])
    expect(first).toEqual({ ...gap(0, 10), id: 1, timeMs: START_MS })
    expect(second).toMatchObject({ cursor: undefined, timeMs: START_MS + 5 })
    expect(gaps.list({ stream: 's' })).toEqual([first, second])
    expect(gaps.list({ cursor: 'd' })).toEqual([third])
    expect(gaps.list({ afterId: 1 })).toEqual([second, third])
    expect(gaps.list({ afterId: 1, limit: 1 })).toEqual([second])
    expect(gaps.list({ afterId: 3 })).toEqual([])
  })

  it('are counted by reason, with zeros for the others', async () => {
    const { log } = await given()
    const { gaps } = log.state
    expect(Object.keys(gaps.totals())).toEqual([...gapReasons])
    await gaps.add([gap(0, 10), gap(50, 52), gap(3, 4, { reason: 'expired' })])
    expect(gaps.totals()).toMatchObject({
      retention: { records: 12, sizeBytes: 120 },
      expired: { records: 1, sizeBytes: 10 },
      policy: { records: 0, sizeBytes: 0 },
    })
  })

  it('extend the last one that they continue, under a new id', async () => {
    const { log, clock } = await given()
    const { gaps } = log.state
    const told: Gap[] = []
    gaps.onAdded((one) => told.push(one))
    await gaps.add([gap(0, 10), gap(0, 10, { cursor: 'd' })])
    clock.advance(1)
    const added = await gaps.add([gap(10, 15, { records: 2 })])
    expect(added).toMatchObject([{ first: 10, end: 15, records: 2, id: 3 }])
    expect(told.map(({ first, end }) => [first, end])).toEqual([
      [0, 10],
      [0, 10],
      [10, 15],
    ])
    expect(gaps.list()).toMatchObject([
      { id: 2, cursor: 'd', first: 0, end: 10 },
      { id: 3, cursor: 'c', first: 0, end: 15, records: 12, timeMs: START_MS + 1 },
    ])
    expect(gaps.list({ afterId: 2 })).toHaveLength(1)
  })

  it('do not extend what they do not continue', async () => {
    const { log } = await given()
    const { gaps } = log.state
    await gaps.add([gap(0, 10), gap(11, 12), gap(12, 13, { reason: 'policy' })])
    await gaps.add([gap(12, 14), gap(14, 20)])
    expect(ranges(gaps.list())).toEqual(['[0, 10) 10', '[12, 13) 1', '[11, 20) 9'])
  })

  it('move their own cursor behind them when it stands in them', async () => {
    const { log } = await given()
    const { cursors, gaps } = log.state
    for (const name of ['c', 'ahead', 'before']) {
      await cursors.open(name, 's', 'stream', { kind: 'earliest' })
    }
    cursors.commit('c', at(5))
    cursors.commit('ahead', at(20))
    const moves: [Cursor, string][] = []
    cursors.onMoved((cursor, why) => moves.push([cursor, why]))
    await gaps.add([gap(0, 10), gap(10, 12), gap(0, 10, { cursor: 'ahead' })])
    await gaps.add([gap(3, 10, { cursor: 'before' }), gap(0, 10, { cursor: 'nobody' })])
    expect(moves.map(([{ name, place }, why]) => [name, place, why])).toEqual([
      ['c', at(12), 'gap'],
    ])
    expect(cursors.get('before')?.place).toEqual(at(0))
  })
}

function testReopen(given: Given): void {
  it('finds cursors, gaps and the epoch as they were', async () => {
    const { opened, log } = await given(2)
    await appendAll(log, messages(8))
    const { cursors, gaps } = log.state
    await cursors.open('lazy', 's', 'stream', { kind: 'earliest' })
    await cursors.open('now', 's', 'partitions', { kind: 'earliest' })
    await cursors.open('gone', 's', 'stream', { kind: 'latest' })
    await cursors.remove('gone')
    cursors.commit('lazy', at(3))
    await cursors.commitNow('now', offsets({ 1: 1 }))
    await gaps.add([gap(0, 2, { cursor: undefined }), gap(4, 6)])
    const before = { cursors: cursors.list(), gaps: gaps.list(), totals: gaps.totals() }
    const { state } = await opened.reopen()
    expect(state.epoch).toBe(1)
    expect(sorted(state.cursors.list())).toEqual(sorted(before.cursors))
    expect(state.gaps.list()).toEqual(before.gaps)
    expect(state.gaps.totals()).toEqual(before.totals)
    await state.gaps.add([gap(6, 7)])
    expect(ranges(state.gaps.list())).toEqual(['[0, 2) 2', '[4, 7) 3'])
  })
}

function sorted(cursors: readonly Cursor[]): Cursor[] {
  return [...cursors].sort((a, b) => (a.name < b.name ? -1 : 1))
}
