import { describe, expect, it } from 'vitest'
import { timeOf, trustIn } from '../../../src/log/clock/time-of.ts'
import type { ClockQuality } from '../../../src/log/log.ts'

const BOOTED_MS = Date.UTC(2026, 5, 1)
const rows = (quality: ClockQuality, offsetMs: number) => new Map([[3, { quality, offsetMs }]])
/** Written 2 s after the boot began. */
const written = (timeMs: number) => ({ boot: 3, monotonicUs: 2_000_000, timeMs })

describe('the time that a record shows', () => {
  it.each([
    ['as written without a row of its boot', 2000, new Map(), 2000],
    [
      'as written with rows of other boots only',
      2000,
      new Map([[4, { quality: 'rtc' as const, offsetMs: BOOTED_MS }]]),
      2000,
    ],
    ['by a row that knows 1970 better', 2000, rows('synchronised', BOOTED_MS), BOOTED_MS + 2000],
    ['by a clock that somebody set by hand', 2000, rows('none', BOOTED_MS), BOOTED_MS + 2000],
    ['by a row when it ran fast', BOOTED_MS + 9e6, rows('rtc', BOOTED_MS), BOOTED_MS + 2000],
    [
      'as written when the row agrees to half a second',
      BOOTED_MS + 2000,
      rows('synchronised', BOOTED_MS + 500),
      BOOTED_MS + 2000,
    ],
    [
      'by the row when they differ by more',
      BOOTED_MS + 2000,
      rows('synchronised', BOOTED_MS + 501),
      BOOTED_MS + 2501,
    ],
    ['in whole milliseconds', 2000, rows('rtc', BOOTED_MS + 0.4), BOOTED_MS + 2000],
  ])('is %s', (_how, timeMs, boots, shown) => {
    expect(timeOf(written(timeMs), boots)).toBe(shown)
  })
})

it('trusts a time by its quality, and one that cannot be right not at all', () => {
  const at = (year: number, quality: ClockQuality) => trustIn(Date.UTC(year, 0, 1), quality)
  expect([at(2026, 'none'), at(2026, 'rtc'), at(2026, 'synchronised')]).toEqual([1, 2, 3])
  expect([at(1970, 'none'), at(2025, 'synchronised'), at(2100, 'rtc')]).toEqual([0, 0, 0])
})
