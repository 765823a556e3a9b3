import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../../src/base/random.ts'
import { needs } from '../../../src/log/retention/lagging.ts'
import {
  expiredCount,
  planRetention,
  type RetentionFacts,
  type RetentionPlan,
} from '../../../src/log/retention/policy.ts'
import {
  cursorAt,
  cursorByPartition,
  DAY_MS,
  NOW_MS,
  retained,
  type SegmentFacts,
  segments,
} from './given.ts'

const quiet = { cursors: [], nowMs: NOW_MS, disk: undefined }

/** `stream first reason` of each removal, in order. */
function removed(plan: RetentionPlan): string[] {
  return plan.removals.map(({ stream, segment, reason }) => `${stream} ${segment.first} ${reason}`)
}

function planned(facts: Partial<RetentionFacts>): string[] {
  return removed(planRetention({ streams: [], ...quiet, ...facts }))
}

describe('retention by age', () => {
  const old = [{ ageDays: 9 }, { ageDays: 8 }, { ageDays: 7 }, { ageDays: 1 }]

  it('takes what is older than the age, to the millisecond, oldest first', () => {
    const streams = [retained('a', { ageMs: 7 * DAY_MS }, old)]
    expect(planned({ streams })).toEqual(['a 0 age', 'a 10 age'])
    expect(planned({ streams, nowMs: NOW_MS + 1 })).toEqual(['a 0 age', 'a 10 age', 'a 20 age'])
  })

  it('takes nothing without a rule, and nothing while nobody knows the time', () => {
    expect(planned({ streams: [retained('a', {}, old)] })).toEqual([])
    const streams = [retained('a', { ageMs: 1 }, old)]
    expect(planned({ streams, nowMs: undefined })).toEqual([])
  })

  it('R1: leaves the segment behind which nothing stands on disk yet', () => {
    const rule = { ageMs: DAY_MS }
    const old2 = old.slice(0, 2)
    expect(planned({ streams: [retained('a', rule, old2, { activeRecords: 0 })] })).toEqual([
      'a 0 age',
    ])
    expect(planned({ streams: [retained('a', rule, old2, { activeRecords: 1 })] })).toHaveLength(2)
  })

  const y2026 = NOW_MS
  const y1970 = 5000
  const y2100 = Date.UTC(2100, 0, 1)
  it.each([
    ['now is 2100', [y2026 - 9 * DAY_MS, y2026], y2100, 0],
    ['now is 1970', [y2026 - 9 * DAY_MS, y2026], y1970, 0],
    ['now and the newest records are 2100', [y2026 - 9 * DAY_MS, y2026, y2100], y2100, 0],
    ['records of 1970 stand before right ones', [y1970, y2026], y2026, 0],
    ['records of 1970 stand behind right ones', [y2026 - DAY_MS, y1970], y2026, 0],
    ['all records are of 1970, and now is right', [y1970, y1970 + 1], y2026, 0],
    ['records of 2100 are followed by right ones', [y2026 - 9 * DAY_MS, y2100, y2026], y2026, 0],
    ['right ones behind a jump are past the age', [y2026, y2100, y2026 - 8 * DAY_MS], y2026, 3],
    ['the clock went back by an hour', [y2026 - 8 * DAY_MS, y2026 + 3_600_000], y2026, 1],
    ['now is long before the newest', [y2026 - 109 * DAY_MS, y2026], y2026 - 100 * DAY_MS, 0],
    ['the gateway was off for a year', [y2026 - 365 * DAY_MS], y2026, 1],
    ['it was off for longer than is believed', [y2026 - 401 * DAY_MS], y2026, 0],
  ])('R5: when %s', (_what, times, nowMs, expected) => {
    const finished = segments(times.map((timeMs) => ({ timeMs })))
    expect(expiredCount(finished, nowMs, 7 * DAY_MS)).toBe(expected)
  })
})

describe('retention by size', () => {
  it('takes the oldest until the files fit, the active segment counted', () => {
    const facts = [{}, {}, {}, {}]
    const sized = (sizeBytes: number) => planned({ streams: [retained('a', { sizeBytes }, facts)] })
    expect(sized(450)).toEqual([])
    expect(sized(449)).toEqual(['a 0 size'])
    expect(sized(250)).toEqual(['a 0 size', 'a 10 size'])
    expect(sized(1)).toHaveLength(4)
  })

  it('counts what age has taken already', () => {
    const facts = [{ ageDays: 9 }, {}, {}]
    const streams = [retained('a', { ageMs: DAY_MS, sizeBytes: 200 }, facts)]
    expect(planned({ streams })).toEqual(['a 0 age', 'a 10 size'])
  })
})

describe('the disk guard', () => {
  const big = retained('big', {}, [{}, {}, {}, {}])
  const small = retained('small', {}, [{}, {}])

  it('takes from the stream that is largest at the time, until enough is free', () => {
    const guarded = (freeBytes: number) =>
      planned({ streams: [small, big], disk: { freeBytes, minFreeBytes: 1000 } })
    expect(guarded(1000)).toEqual([])
    expect(guarded(999)).toEqual(['big 0 disk-guard'])
    // The last two are of streams of one size: the first of them goes first.
    expect(guarded(650)).toEqual([
      'big 0 disk-guard',
      'big 10 disk-guard',
      'small 0 disk-guard',
      'big 20 disk-guard',
    ])
    expect(guarded(0)).toHaveLength(6)
  })

  it('counts what the rules free, and takes from streams without a rule', () => {
    const sized = retained('sized', { sizeBytes: 150 }, [{}, {}])
    const disk = { freeBytes: 850, minFreeBytes: 1000 }
    expect(planned({ streams: [sized, big], disk })).toEqual(['sized 0 size', 'big 0 disk-guard'])
  })

  it('R4: leaves what a cursor needs where it must, and takes it elsewhere', () => {
    const careful = retained('careful', { onLag: 'refuse' }, [{}, {}, {}, {}, {}, {}])
    const plan = planRetention({
      streams: [careful, small],
      cursors: [cursorAt('c', 'careful', 15), cursorAt('d', 'small', 0)],
      nowMs: NOW_MS,
      disk: { freeBytes: 0, minFreeBytes: 1000 },
    })
    expect(removed(plan)).toEqual([
      'careful 0 disk-guard',
      'small 0 disk-guard',
      'small 10 disk-guard',
    ])
    expect(plan.refusals).toEqual([{ stream: 'careful', cursor: 'c' }])
  })

  it('refuses only as long as too little is free', () => {
    const streams = [retained('a', { onLag: 'refuse' }, [{}])]
    const cursors = [cursorAt('c', 'a', 9)]
    const refusals = (freeBytes: number, cursor = cursors) =>
      planRetention({ streams, cursors: cursor, nowMs: 0, disk: { freeBytes, minFreeBytes: 10 } })
        .refusals
    expect(refusals(9)).toEqual([{ stream: 'a', cursor: 'c' }])
    expect(refusals(10)).toEqual([])
    expect(refusals(9, [cursorAt('c', 'a', 10)])).toEqual([])
    expect(refusals(9, [cursorAt('c', 'b', 0)])).toEqual([])
  })
})

describe('a cursor by partitions', () => {
  const rule = { onLag: 'refuse', sizeBytes: 1 } as const
  const streams = [retained('a', rule, [{ inFirst: 6 }, { inFirst: 6 }, { inFirst: 6 }])]

  it.each([
    [
      'has read both partitions of it',
      [
        [0, 6],
        [1, 4],
      ],
      1,
    ],
    [
      'lacks one record of one partition',
      [
        [0, 12],
        [1, 7],
      ],
      1,
    ],
    [
      'has read two segments',
      [
        [0, 12],
        [1, 8],
      ],
      2,
    ],
    ['does not know a partition yet', [[0, 18]], 0],
  ] as const)('R4: holds a segment until it %s', (_what, places, count) => {
    const cursors = [cursorByPartition('g', 'a', places)]
    expect(planned({ streams, cursors })).toHaveLength(count)
  })
})

describe('any plan', () => {
  const seed = 20_260_601
  const random = new SeededRandom(seed)

  function anyFacts(): RetentionFacts {
    const between = (low: number, high: number) => low + random.below(high - low + 1)
    const streams = ['a', 'b', 'c'].map((name) => {
      let ageDays = between(0, 40)
      const facts: SegmentFacts[] = Array.from({ length: between(0, 6) }, () => {
        ageDays = Math.max(0, ageDays - between(0, 9))
        const records = between(1, 20)
        const timed = random.oneIn(12) ? { timeMs: between(0, 1) * 4_102_444_800_000 } : { ageDays }
        return { records, sizeBytes: between(1, 300), inFirst: between(0, records), ...timed }
      })
      const rule = {
        onLag: random.pick(['gap', 'refuse'] as const),
        ...(random.oneIn(2) && { ageMs: between(1, 20) * DAY_MS }),
        ...(random.oneIn(2) && { sizeBytes: between(1, 900) }),
      }
      return retained(name, rule, facts, { activeRecords: between(0, 2), first: between(0, 9) })
    })
    const cursors = Array.from({ length: between(0, 4) }, (_, i) => {
      const stream = random.pick(['a', 'b', 'c'])
      if (random.oneIn(2)) return cursorAt(`c${i}`, stream, between(0, 90))
      return cursorByPartition(`c${i}`, stream, [
        [0, between(0, 50)],
        [1, between(0, 50)],
      ])
    })
    const disk = random.oneIn(3)
      ? undefined
      : { freeBytes: between(0, 2000), minFreeBytes: between(0, 2000) }
    return { streams, cursors, nowMs: random.oneIn(6) ? undefined : NOW_MS, disk }
  }

  function check(facts: RetentionFacts): void {
    const plan = planRetention(facts)
    const { disk } = facts
    const free = (count: number) =>
      plan.removals
        .slice(0, count)
        .reduce((sum, r) => sum + r.segment.sizeBytes, disk?.freeBytes ?? 0)
    for (const stream of facts.streams) {
      const own = plan.removals.filter((removal) => removal.stream === stream.stream)
      const cursors = facts.cursors.filter((cursor) => cursor.stream === stream.stream)
      const holds = (index: number) => {
        const segment = stream.segments[index]
        return segment !== undefined && cursors.some(({ place }) => needs(place, segment))
      }
      // R2, and no segment twice.
      expect(own.map(({ segment }) => segment)).toEqual(stream.segments.slice(0, own.length))
      let left = stream.sizeBytes
      for (const [index, { segment, reason }] of own.entries()) {
        expect(segment.end, 'R1').toBeLessThan(stream.end)
        if (stream.rule.onLag === 'refuse') expect(holds(index), 'R4').toBe(false)
        if (reason === 'size') expect(left, 'R3').toBeGreaterThan(stream.rule.sizeBytes ?? Infinity)
        if (reason === 'age') {
          const behind = stream.segments.slice(index)
          const isOld = (timeMs: number) => NOW_MS - timeMs > (stream.rule.ageMs ?? Infinity)
          expect(
            behind.some(({ lastTimeMs }) => isOld(lastTimeMs)),
            'R3',
          ).toBe(true)
          expect(facts.nowMs, 'R5').toBeDefined()
        }
        left -= segment.sizeBytes
      }
      const next = stream.segments[own.length]
      const stays = next === undefined || next.end >= stream.end
      const held = stream.rule.onLag === 'refuse' && holds(own.length)
      if (!stays && !held) expect(left).toBeLessThanOrEqual(stream.rule.sizeBytes ?? Infinity)
      const isShort = disk !== undefined && free(plan.removals.length) < disk.minFreeBytes
      if (isShort) expect(stays || held, 'the guard takes all it may').toBe(true)
      const isRefused = plan.refusals.some((refusal) => refusal.stream === stream.stream)
      expect(isRefused).toBe(isShort && !stays && held)
    }
    for (const [index, { reason }] of plan.removals.entries()) {
      if (reason !== 'disk-guard') continue
      expect(free(index), 'R3').toBeLessThan(disk?.minFreeBytes ?? 0)
    }
  }

  it(`holds R1 to R5 (seed ${seed})`, () => {
    for (let round = 0; round < 3000; round++) check(anyFacts())
  })
})
