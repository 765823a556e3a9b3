import { describe, expect, test } from 'vitest'
import { SeededRandom } from '../../src/base/random.ts'
import {
  formatDuration,
  formatSize,
  parseBytesPerSecond,
  parseDurationMs,
  parsePercent,
  parseRatePerSecond,
  parseSizeBytes,
} from '../../src/config/units.ts'

const seed = 20260731
const refused = ['', '5', 's', '-5s', '+5s', '1.5s', '5 s', ' 5s', '5s\n', '1e3s', '0x5s', '5S']

describe('durations', () => {
  test.each([
    ['0ms', 0],
    ['250ms', 250],
    ['5s', 5000],
    ['10m', 600_000],
    ['6h', 21_600_000],
    ['7d', 604_800_000],
  ])('%s is %d ms', (text, ms) => {
    expect(parseDurationMs(text)).toBe(ms)
  })

  test.each([...refused, '5sec', '1h30m', '1w', '5constructor', '99999999999999d'])(
    '%j is no duration',
    (text) => {
      expect(parseDurationMs(text)).toBeUndefined()
    },
  )
})

describe('sizes', () => {
  test.each([
    ['512B', 512],
    ['64KiB', 65_536],
    ['256MiB', 268_435_456],
    ['2GiB', 2_147_483_648],
  ])('%s is %d bytes', (text, bytes) => {
    expect(parseSizeBytes(text)).toBe(bytes)
  })

  test.each([...refused, '1KB', '1kb', '1k', '1MB', '1mib', '1TiB', '9999999999GiB'])(
    '%j is no size',
    (text) => {
      expect(parseSizeBytes(text)).toBeUndefined()
    },
  )
})

test('what is formatted reads back as the same number', () => {
  const random = new SeededRandom(seed)
  for (let round = 0; round < 2000; round++) {
    const scale = random.pick([1, 1000, 1024, 60_000, 1024 ** 2, 3_600_000, 86_400_000, 1024 ** 3])
    const value = random.below(5000) * scale
    const why = `seed ${seed}, value ${value}`
    expect(parseSizeBytes(formatSize(value)), why).toBe(value)
    expect(parseDurationMs(formatDuration(value)), why).toBe(value)
  }
})

test('no mix of digits and units gives a number beyond the safe integers', () => {
  const random = new SeededRandom(seed)
  for (let round = 0; round < 2000; round++) {
    const characters = Array.from({ length: 1 + random.below(20) }, () =>
      random.pick([...'0123456789.-+e /%', 'B', 'KiB', 'MiB', 'GiB', 'ms', 's', 'd']),
    )
    const text = characters.join('')
    const parsers = [parseDurationMs, parseSizeBytes, parseRatePerSecond, parseBytesPerSecond]
    for (const value of parsers.map((parser) => parser(text))) {
      const sound = value === undefined || (Number.isSafeInteger(value) && value >= 0)
      expect(sound, `seed ${seed}, text ${text}`).toBe(true)
    }
  }
})

test('rates are per second, in messages or in bytes', () => {
  expect(parseRatePerSecond('500/s')).toBe(500)
  expect(parseBytesPerSecond('200KiB/s')).toBe(204_800)
  for (const text of ['500', '500/m', '/s', '-1/s', '1.5/s']) {
    expect(parseRatePerSecond(text), text).toBeUndefined()
  }
  for (const text of ['200KiB', '200/s', '200KB/s']) {
    expect(parseBytesPerSecond(text), text).toBeUndefined()
  }
})

test('a percentage is from 0 to 100', () => {
  expect(parsePercent('5%')).toBe(5)
  expect(parsePercent('0.5%')).toBe(0.5)
  expect(parsePercent('100%')).toBe(100)
  for (const text of ['101%', '-5%', '5', '%', '5 %', '.5%']) {
    expect(parsePercent(text), text).toBeUndefined()
  }
})
