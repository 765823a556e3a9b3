import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { RatePause } from '../../src/mqtt/rate-pause.ts'
import { emptyStats } from '../../src/mqtt/stats.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

function given() {
  const stats = emptyStats()
  const over = vi.fn()
  return { stats, over, pause: new RatePause(stats, over) }
}

it('passes once, and counts who is paused', () => {
  const { stats, over, pause } = given()
  pause.begin(100)
  pause.begin(5)
  expect([pause.isActive, stats.pausedPublishers]).toEqual([true, 1])
  vi.advanceTimersByTime(99)
  expect(over).not.toHaveBeenCalled()
  vi.advanceTimersByTime(1)
  expect(over).toHaveBeenCalledTimes(1)
  expect([pause.isActive, stats.pausedPublishers]).toEqual([false, 0])
})

it('leaves no timer when the connection ends first', () => {
  const { stats, over, pause } = given()
  pause.begin(100)
  pause.end()
  pause.end()
  expect([vi.getTimerCount(), stats.pausedPublishers]).toEqual([0, 0])
  vi.advanceTimersByTime(1000)
  expect(over).not.toHaveBeenCalled()
})

it('a wait longer than any timer is no wait of 1 ms', () => {
  const { over, pause } = given()
  pause.begin(2 ** 38)
  vi.advanceTimersByTime(3_599_999)
  expect(over).not.toHaveBeenCalled()
  vi.advanceTimersByTime(1)
  expect(over).toHaveBeenCalledTimes(1)
})
