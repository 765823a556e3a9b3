import { expect, it } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import { DailyBudget, type DailySpending } from '../../src/bridge/daily-budget.ts'

const HOUR_MS = 3_600_000
const NOON_MS = Date.UTC(2026, 4, 1, 12)

function given(bytesPerDay = 1000) {
  const clock = new ManualClock(NOON_MS)
  let saved: DailySpending | undefined
  let saves = 0
  const open = () =>
    new DailyBudget({
      bytesPerDay,
      nowMs: () => clock.now(),
      load: () => saved,
      save: (spending) => {
        saved = spending
        saves++
      },
    })
  return { clock, open, budget: open(), saves: () => saves }
}

it('waits for the next day in UTC once the day is spent', () => {
  const { clock, budget } = given()
  budget.take(900)
  expect([budget.delayMs(100), budget.delayMs(101)]).toEqual([0, 12 * HOUR_MS])
  budget.take(100)
  expect([budget.remainingBytes, budget.delayMs(1)]).toEqual([0, 12 * HOUR_MS])
  clock.advance(12 * HOUR_MS)
  expect([budget.remainingBytes, budget.delayMs(1)]).toEqual([1000, 0])
})

it('counts what goes past it, and one message larger than a day', () => {
  const { budget } = given()
  expect(budget.delayMs(5000)).toBe(0)
  budget.take(5000)
  budget.take(1)
  expect([budget.spentBytes, budget.remainingBytes]).toEqual([5001, 0])
})

it('goes on across a restart, and a crash forgets about a second', () => {
  const { clock, open, budget, saves } = given()
  budget.take(600)
  budget.save()
  expect(open().spentBytes).toBe(600)
  for (let spent = 0; spent < 100; spent += 10) {
    clock.advance(100)
    budget.take(10)
  }
  expect(saves()).toBe(2)
  expect(open().spentBytes).toBe(700)
  clock.advance(24 * HOUR_MS)
  expect(open().spentBytes).toBe(0)
})

it('gives nothing anew when the clock is set back, and turns with the day that it then is', () => {
  const { clock, open, budget } = given()
  budget.take(1000)
  clock.step(0)
  expect([budget.delayMs(1), budget.spentBytes]).toEqual([24 * HOUR_MS, 1000])
  expect(open().spentBytes).toBe(1000)
  clock.advance(24 * HOUR_MS)
  expect(budget.spentBytes).toBe(0)
})
