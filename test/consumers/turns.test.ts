import { expect, it, vi } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import { type Task, Turns } from '../../src/consumers/turns.ts'
import { turns as loopTurns, NOON_MS } from './given.ts'

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

it('makes a task that comes back at once rest as well, for what was sent too (T2)', async () => {
  const clock = new ManualClock(NOON_MS)
  const turns = new Turns(clock, { backlogBytes: 1024 * 1024 })
  let worked = 0
  const task: Task = {
    work: () => {
      worked++
      clock.advance(1)
      return false
    },
  }
  turns.onSlice(() => clock.advance(9))
  turns.add(task)
  await loopTurns(2)
  expect(worked).toBe(1)
  // 10 ms of work and sending: 90 ms of rest.
  turns.add(task)
  await loopTurns(6)
  expect(worked).toBe(1)
  await vi.waitFor(() => expect(worked).toBe(2), { interval: 1 })
  turns.close()
})
