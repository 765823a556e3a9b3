import { expect, test } from 'vitest'
import { Agenda } from '../../../firmware-sim/node/agenda.ts'
import { sequence } from '../../../firmware-sim/random.ts'
import { ManualTime } from '../support.ts'

test('A1: happens in the order of times, then of plans', async () => {
  const agenda = new Agenda(new ManualTime(0), 100, 1_000)
  const random = sequence(5)
  const done: [number, number][] = []
  for (let i = 0; i < 500; i += 1) {
    const delayMs = Math.floor(random() * 50)
    agenda.after(delayMs, () => done.push([agenda.nowMs, i]))
  }
  await agenda.run(new AbortController().signal, 1_100)
  expect(done).toHaveLength(500)
  expect(done).toEqual([...done].sort(([a, i], [b, j]) => a - b || i - j))
  expect(agenda.nowMs).toBe(1_100)
})

test('A2: passes no faster than its speed, and what plans itself again keeps its period', async () => {
  const time = new ManualTime(0)
  const agenda = new Agenda(time, 600, 0)
  let ticks = 0
  const tick = (): void => {
    ticks += 1
    agenda.after(10_000, tick)
  }
  agenda.after(0, tick)
  await agenda.run(new AbortController().signal, 3_600_000)
  expect(ticks).toBe(361)
  expect(time.nowMs()).toBeGreaterThanOrEqual(6_000)
  expect(time.nowMs()).toBeLessThan(6_100)
})

test('real delays are as long at any speed', async () => {
  const time = new ManualTime(0)
  const agenda = new Agenda(time, 600, 0)
  let atRealMs = 0
  agenda.afterReal(1_000, () => {
    atRealMs = time.nowMs()
  })
  await agenda.run(new AbortController().signal, 1_200_000)
  expect(atRealMs).toBeGreaterThanOrEqual(1_000)
  expect(atRealMs).toBeLessThan(1_020)
})
