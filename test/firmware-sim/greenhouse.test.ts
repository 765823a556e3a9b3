import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { parseLine } from '../../firmware-sim/csv.ts'
import { makeGreenhouse } from '../../firmware-sim/make-greenhouse.ts'

const file = new URL('../../firmware-sim/data/greenhouse.csv', import.meta.url)

test('the greenhouse that is shipped is the one its script makes', async () => {
  expect(await readFile(file, 'utf8')).toBe(makeGreenhouse())
})

test('every line of the greenhouse is a reading, and doors and windows move in it', () => {
  const lines = makeGreenhouse().trimEnd().split('\n').map(parseLine)
  const readings = lines.flatMap((line) => (line.kind === 'reading' ? [line.reading] : []))
  expect(readings).toHaveLength(480)
  expect(lines).toHaveLength(480)
  expect(new Set(readings.map(({ node }) => node)).size).toBe(4)
  expect(readings.some(({ doorOpen }) => doorOpen)).toBe(true)
  expect(readings.some(({ windowOpen }) => windowOpen)).toBe(true)
  const times = readings.map(({ recordedMs }) => recordedMs)
  expect(times).toEqual([...times].sort((a, b) => a - b))
})
