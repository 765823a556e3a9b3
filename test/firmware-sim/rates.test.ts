import { expect, test } from 'vitest'
import { LatencyHistogram, RateMeter, Rates } from '../../firmware-sim/rates.ts'

test('rates are counts since the last look by the time since', () => {
  const rates = new Rates()
  const meter = new RateMeter(1_000, rates.counts())
  rates.count('published', 30)
  rates.count('acknowledged', 10)
  expect(meter.look(3_000, rates.counts())).toEqual({ published: 15, acknowledged: 5 })
  expect(meter.look(4_000, rates.counts())).toEqual({ published: 0, acknowledged: 0 })
  expect(meter.look(4_000, rates.counts())).toEqual({ published: 0, acknowledged: 0 })
})

test('a quantile is never too low and at most 9 % too high', () => {
  const latency = new LatencyHistogram()
  for (let i = 1; i <= 1_000; i += 1) latency.record(i / 10)
  for (const [q, exact] of [
    [0.5, 50],
    [0.99, 99],
    [1, 100],
  ] as const) {
    const told = latency.quantile(q) ?? 0
    expect(told).toBeGreaterThanOrEqual(exact - 1e-9)
    expect(told).toBeLessThan(exact * 1.0906)
  }
})

test('without latencies there is no quantile, and extremes stay in the table', () => {
  const latency = new LatencyHistogram()
  expect(latency.quantile(0.5)).toBeUndefined()
  latency.record(0)
  latency.record(Number.MAX_VALUE)
  expect(latency.count).toBe(2)
  expect(latency.quantile(0.5)).toBe(0.001)
  expect(latency.quantile(1)).toBeGreaterThan(1_000_000)
})
