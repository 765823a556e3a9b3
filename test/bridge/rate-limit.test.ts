import { expect, it } from 'vitest'
import { SeededRandom } from '../../src/base/random.ts'
import { TokenBucket } from '../../src/bridge/rate-limit.ts'

/** Sends as fast as the bucket lets it; `stallMs` gives how much later than asked it wakes. */
function sendTimes(perSecond: number, forMs: number, stallMs: () => number, cost = 1): number[] {
  let nowMs = 1000
  const bucket = new TokenBucket(perSecond, () => nowMs)
  const times: number[] = []
  while (nowMs < 1000 + forMs) {
    const delayMs = bucket.delayMs(cost)
    if (delayMs > 0) nowMs += delayMs + stallMs()
    else {
      bucket.take(cost)
      times.push(nowMs)
    }
  }
  return times
}

/** The fewest and the most sends in any 10 s of them. */
function extremes(times: readonly number[]): { least: number; most: number } {
  let [least, most] = [Number.POSITIVE_INFINITY, 0]
  let from = 0
  for (let end = 0; end < times.length; end++) {
    while ((times[end] as number) - (times[from] as number) >= 10_000) from++
    most = Math.max(most, end - from + 1)
    if (from > 0) least = Math.min(least, end - from + 1)
  }
  return { least, most }
}

it.each([
  ['a loop that wakes in time', 1],
  ['a loop that wakes up to 80 ms late', 80],
])('holds 500/s within 5 % over any 10 s, with %s', (_what, latest) => {
  const random = new SeededRandom(8)
  const { least, most } = extremes(sendTimes(500, 60_000, () => random.below(latest)))
  expect(least).toBeGreaterThan(4750)
  expect(most).toBeLessThan(5250)
})

it('gives no more after a pause than after a quarter of a second', () => {
  let nowMs = 0
  const bucket = new TokenBucket(100, () => nowMs)
  bucket.take(25)
  nowMs += 3_600_000
  bucket.take(25)
  expect(bucket.delayMs(1)).toBe(10)
})

it('lets through what is larger than the bucket, and waits for it afterwards', () => {
  let nowMs = 0
  const bucket = new TokenBucket(1000, () => nowMs)
  expect(bucket.delayMs(64_000)).toBe(0)
  bucket.take(64_000)
  expect(bucket.delayMs(1)).toBe(63_751)
  nowMs += 63_751
  expect(bucket.delayMs(1)).toBe(0)
  expect(bucket.delayMs(64_000)).toBe(249)
})

it('holds a rate in bytes with messages of 64 KiB', () => {
  const times = sendTimes(200 * 1024, 300_000, () => 3, 64 * 1024)
  expect(Math.abs(times.length - 300 * (200 / 64))).toBeLessThan(10)
})
