import { describe, expect, it } from 'vitest'
import { locateTime } from '../../../src/log/clock/locate-time.ts'
import { type BootRun, boundedRuns, boundedTime } from '../../../src/log/clock/spans.ts'
import type { Boots, Moment } from '../../../src/log/clock/time-of.ts'
import type { ClockQuality } from '../../../src/log/log.ts'

const DAY_MS = 86_400_000
const day = (n: number) => Date.UTC(2026, 0, 1) + n * DAY_MS

interface BootFacts {
  readonly quality?: ClockQuality
  /** Days since 2026 at which its records were written, or a year. */
  readonly days: readonly number[]
}

/** Each boot with a record for each of its days; some positions can be holes. */
function given(facts: readonly BootFacts[], holes: readonly number[] = []) {
  const moments: Moment[] = []
  const boots = new Map<number, { quality: ClockQuality; offsetMs: number }>()
  for (const [index, { quality, days }] of facts.entries()) {
    const startMs = day(days[0] ?? 0)
    for (const each of days) {
      const timeMs = day(each)
      moments.push({ boot: index + 1, monotonicUs: (timeMs - startMs) * 1000, timeMs })
    }
    if (quality !== undefined) boots.set(index + 1, { quality, offsetMs: startMs })
  }
  let reads = 0
  const at = (position: number) => {
    reads++
    return moments.find((_, index) => index >= position && !holes.includes(index))
  }
  const locate = (n: number, known: Boots = boots) =>
    locateTime({ first: 0, end: moments.length, at }, known, day(n))
  return { locate, reads: () => reads }
}

/** 1970 and 2100, in days from 2026. */
const IN_1970 = -20_454
const IN_2100 = 27_000

describe('the position of a time', () => {
  it('is that of the first record at or after it', () => {
    const { locate } = given([{ quality: 'rtc', days: [1, 2, 3] }, { days: [5, 7] }])
    expect([0, 1, 1.5, 3, 4, 5, 6, 7, 8].map((n) => locate(n))).toEqual([0, 0, 1, 2, 3, 3, 4, 4, 5])
  })

  it.each([
    ['in 1970', IN_1970],
    ['in 2100', IN_2100],
    ['before its predecessor', 1],
    ['behind its successor', 200],
  ])('passes a boot whose clock was never set and stood %s', (_where, at) => {
    const { locate } = given([
      { quality: 'synchronised', days: [10, 20] },
      { quality: 'none', days: [at, at + 1] },
      { quality: 'synchronised', days: [30, 40] },
    ])
    expect([5, 15, 20].map((n) => locate(n))).toEqual([0, 1, 1])
    // Behind its predecessor and before its successor: with the one or with the other.
    expect([2, 4]).toContain(locate(25))
    expect([2, 4]).toContain(locate(30))
    expect([35, 45].map((n) => locate(n))).toEqual([5, 6])
  })

  it('goes by clocks of no known quality where there are no better ones', () => {
    const { locate } = given([
      { quality: 'none', days: [IN_2100] },
      { quality: 'none', days: [10, 20] },
      { quality: 'none', days: [IN_1970, IN_1970 + 1] },
      { days: [30, 40] },
    ])
    expect([10, 15, 35, 41].map((n) => locate(n))).toEqual([0, 2, 6, 7])
    expect(locate(25)).toBe(5)
  })

  it('is the end when only a clock of 1970 follows', () => {
    const { locate } = given([{ quality: 'rtc', days: [10] }, { days: [IN_1970] }])
    expect([9, 10, 11].map((n) => locate(n))).toEqual([0, 0, 2])
  })

  it('is found over holes and in an empty stream', () => {
    const { locate } = given([{ days: [1, 2, 3] }, { days: [4, 5, 6] }], [1, 3, 5])
    expect([1, 2, 3.5, 6].map((n) => locate(n))).toEqual([0, 1, 3, 6])
    expect(given([]).locate(1)).toBe(0)
  })

  it('takes few reads', () => {
    const many = Array.from({ length: 1000 }, (_, n) => n)
    const { locate, reads } = given([{ days: many }, { days: many.map((n) => 1000 + n) }])
    expect(locate(1500)).toBe(1500)
    expect(reads()).toBeLessThan(60)
  })
})

it('bounds times so that they never fall, whatever the clocks said (T1)', () => {
  let seed = 20_260_601
  const random = (below: number) => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
    return Math.floor((seed / 2 ** 31) * below)
  }
  for (let round = 0; round < 2000; round++) {
    const runs: BootRun[] = Array.from({ length: 1 + random(8) }, (_, index) => {
      const firstMs = random(100)
      return {
        first: index,
        end: index + 1,
        firstMs,
        lastMs: firstMs + random(10),
        trust: random(4),
      }
    })
    const times = boundedRuns(runs).flatMap((run) => [
      boundedTime(run, run.firstMs),
      boundedTime(run, run.lastMs),
    ])
    expect(times, `round ${round}: ${JSON.stringify(runs)}`).toEqual(
      times.toSorted((a, b) => a - b),
    )
  }
})
