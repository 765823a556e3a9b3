import { expect, it, vi } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import { type Task, Turns } from '../../src/consumers/turns.ts'
import { NOON_MS } from './given.ts'

/** Work that never ends and takes as much time as it may. */
function endless(clock: ManualClock, worked: { us: number; slices: number }): Task {
  return {
    work: (untilUs) => {
      const us = Math.max(1, untilUs - clock.monotonicUs())
      clock.advance(us / 1000)
      worked.us += us
      worked.slices++
      return true
    },
  }
}

it('divides slices among all who have work (T1)', async () => {
  const clock = new ManualClock(NOON_MS)
  const turns = new Turns(clock, { backlogBytes: 0 })
  const worked = [1, 2, 3].map(() => ({ us: 0, slices: 0 }))
  for (const each of worked) turns.add(endless(clock, each))
  await vi.waitFor(() => expect(worked[0]?.slices).toBeGreaterThan(20), { interval: 1 })
  turns.close()
  const [least, most] =
    [worked.map(({ us }) => us)].map((all) => [Math.min(...all), Math.max(...all)])[0] ?? []
  expect(least).toBeGreaterThan((most ?? 0) * 0.8)
})

it('rests nine times as long as it worked while publishers wait (T2)', async () => {
  const clock = new ManualClock(NOON_MS)
  const turns = new Turns(clock, { backlogBytes: 1024 * 1024 })
  const worked = { us: 0, slices: 0 }
  const begun = performance.now()
  turns.add(endless(clock, worked))
  await vi.waitFor(() => expect(worked.slices).toBeGreaterThan(20), { interval: 1 })
  turns.close()
  const passedMs = performance.now() - begun
  expect(worked.us / 1000).toBeLessThan(passedMs / 9)
})
