import { describe, expect, test } from 'vitest'
import { readingAt } from '../../firmware-sim/readings.ts'
import { turnsOf } from '../../firmware-sim/telemetry.ts'

const noon = Date.UTC(2025, 5, 1, 12)
const seed = 4711
const minuteMs = 60_000

function series(ofSeed: number, device: number, count: number, stepMs = minuteMs) {
  return Array.from({ length: count }, (_, i) => readingAt(ofSeed, device, noon + i * stepMs))
}

describe('readings', () => {
  test('are the same for the same seed, device and time', () => {
    expect(series(seed, 3, 200)).toEqual(series(seed, 3, 200))
  })

  test('differ between seeds and between devices', () => {
    expect(series(seed, 3, 20)).not.toEqual(series(seed + 1, 3, 20))
    expect(series(seed, 3, 20)).not.toEqual(series(seed, 4, 20))
  })

  test('move slowly: a door aside, no more than a fifth of a degree in two seconds', () => {
    const readings = series(seed, 7, 20_000, 2_000)
    for (const [i, reading] of readings.entries()) {
      const before = readings[i - 1]
      if (before === undefined || before.doorOpen !== reading.doorOpen) continue
      expect(Math.abs(reading.temperature - before.temperature)).toBeLessThan(0.2)
    }
  })

  test('stay within what a building has', () => {
    for (let device = 0; device < 50; device += 1) {
      for (const reading of series(seed, device, 100, 47 * minuteMs)) {
        expect(reading.temperature).toBeGreaterThan(5)
        expect(reading.temperature).toBeLessThan(35)
        expect(reading.humidity).toBeGreaterThanOrEqual(5)
        expect(reading.humidity).toBeLessThanOrEqual(99)
        expect(reading.battery).toBeGreaterThanOrEqual(10)
        expect(reading.battery).toBeLessThanOrEqual(100)
      }
    }
  })

  test('open the door rarely, but they do', () => {
    const open = series(seed, 1, 20_000, 30_000).filter(({ doorOpen }) => doorOpen).length
    expect(open).toBeGreaterThan(200)
    expect(open).toBeLessThan(500)
  })
})

describe('turns', () => {
  test('give each device one moment in the period, in order and spread out', () => {
    const turns = turnsOf(seed, 100, 500)
    const phases = turns.map(({ phaseMs }) => phaseMs)
    expect(new Set(turns.map(({ device }) => device)).size).toBe(100)
    expect(phases).toEqual([...phases].sort((a, b) => a - b))
    expect(phases.filter((phase) => phase < 250).length).toBeGreaterThan(25)
    expect(phases.filter((phase) => phase < 250).length).toBeLessThan(75)
    expect(Math.max(...phases)).toBeLessThan(500)
    expect(turnsOf(seed, 100, 500)).toEqual(turns)
  })
})
