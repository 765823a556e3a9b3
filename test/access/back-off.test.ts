import { expect, it } from 'vitest'
import { BackOff } from '../../src/access/back-off.ts'
import { ManualClock } from '../../src/base/clock.ts'

it('waits double with each failure, up to a minute, and forgets after ten', () => {
  const clock = new ManualClock(0)
  const backOff = new BackOff(clock)
  const waits: number[] = []
  for (let n = 0; n < 14; n++) {
    backOff.failed('10.0.0.1', 'ada')
    waits.push(backOff.waitMs('10.0.0.1', 'ada'))
    clock.advance(waits.at(-1) ?? 0)
  }
  const seconds = waits.map((ms) => ms / 1000)
  expect(seconds).toEqual([0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60])
  clock.advance(10 * 60_000)
  backOff.failed('10.0.0.1', 'ada')
  expect(backOff.waitMs('10.0.0.1', 'ada')).toBe(0)
})

it('has a bound: the longest unused is forgotten', () => {
  const backOff = new BackOff(new ManualClock(0))
  for (let n = 0; n < 5; n++) backOff.failed('10.0.0.1', 'ada')
  for (let n = 0; n < 4999; n++) backOff.failed(`10.${n >> 8}.${n & 255}.2`, 'x')
  expect(backOff.waitMs('10.0.0.1', 'ada')).toBeGreaterThan(0)
  backOff.failed('10.0.0.3', 'x')
  expect(backOff.waitMs('10.0.0.1', 'ada')).toBe(0)
})

it('a name of any length and any characters is one entry of its own', () => {
  const backOff = new BackOff(new ManualClock(0))
  for (const user of ['__proto__', 'x'.repeat(1024 * 1024), '']) {
    for (let n = 0; n < 5; n++) backOff.failed('10.0.0.1', user)
    expect(backOff.waitMs('10.0.0.1', user)).toBeGreaterThan(0)
    expect(backOff.waitMs('10.0.0.1', 'other')).toBe(0)
  }
})
