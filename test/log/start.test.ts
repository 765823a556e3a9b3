import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import { SluiceError } from '../../src/base/errors.ts'
import { parseStart } from '../../src/log/start.ts'

const NOW = Date.parse('2024-03-10T12:00:00Z')
const clock = new ManualClock(NOW)

describe('where a reader begins', () => {
  it('takes earliest and latest', () => {
    expect(parseStart('earliest', clock)).toEqual({ kind: 'earliest' })
    expect(parseStart('latest', clock)).toEqual({ kind: 'latest' })
  })

  it.each([
    ['-10m', NOW - 600_000],
    ['-6h', NOW - 6 * 3_600_000],
    ['-250ms', NOW - 250],
    ['-1s', NOW - 1000],
    ['-7d', NOW - 7 * 86_400_000],
    ['-100000d', 0],
    ['1700000000000', 1_700_000_000_000],
    ['0', 0],
    ['2024-03-01', Date.parse('2024-03-01T00:00:00Z')],
    ['2024-02-29T06:30Z', Date.parse('2024-02-29T06:30:00Z')],
    ['2024-03-01T06:30:15', Date.parse('2024-03-01T06:30:15Z')],
    ['2024-03-01 06:30:15.25', Date.parse('2024-03-01T06:30:15.250Z')],
    ['2024-03-01T06:30:15+02:00', Date.parse('2024-03-01T04:30:15Z')],
  ])('takes %s for a time', (text, timeMs) => {
    expect(parseStart(text, clock)).toEqual({ kind: 'time', timeMs })
  })

  it('takes <partition>:<offset>', () => {
    expect(parseStart('3:1200', clock)).toEqual({ kind: 'offset', partition: 3, offset: 1200 })
  })

  it.each([
    '',
    'Earliest',
    'yesterday',
    '-',
    '-10',
    '-10w',
    '-1.5h',
    '10m',
    '+10m',
    '1:',
    ':1',
    '1:2:3',
    '65536:0',
    '0:9007199254740993',
    '-1:5',
    '9007199254740993',
    '2024-02-31',
    '2024-02-31T10:00Z',
    '2024-13-01',
    '2024-03-01T25:00Z',
    '2024-3-1',
    '12:30:00',
    ' latest',
  ])('refuses "%s" with a sentence', (text) => {
    expect(() => parseStart(text, clock)).toThrow(SluiceError)
    expect(() => parseStart(text, clock)).toThrow(`"${text}" does not say where to begin`)
  })
})
