import { describe, expect, it } from 'vitest'
import { deviceNumber, writtenSectors } from './disk.ts'
import { type FlashReading, megabytesPerDay, renderFlash, writeFactor } from './flash-table.ts'
import { fileSystemOf } from './machine.ts'
import {
  type CaseResult,
  formatNumber,
  median,
  pairwiseRatio,
  quantile,
  renderTable,
} from './table.ts'

describe('median', () => {
  it('is the middle reading, whatever the order', () => {
    expect(median([30, 10, 20])).toBe(20)
    expect(median([100, 9, 10])).toBe(10)
  })

  it('is the mean of the two in the middle of an even count', () => {
    expect(median([4, 1, 3, 2])).toBe(2.5)
  })

  it('of no readings is no number', () => {
    expect(median([])).toBeNaN()
  })
})

describe('quantile', () => {
  it('finds the reading below which the share lies', () => {
    const readings = Array.from({ length: 100 }, (_, i) => 99 - i)
    expect(quantile(readings, 0.5)).toBe(50)
    expect(quantile(readings, 0.99)).toBe(99)
    expect(quantile(readings, 1)).toBe(99)
    expect(quantile([3, 1, 2], 0.5)).toBe(2)
  })
})

describe('the ratio', () => {
  it('is taken within each round, not between the medians', () => {
    const ratio = pairwiseRatio([10, 200, 30], [10, 100, 60])
    expect(ratio).toEqual({ median: 1, min: 0.5, max: 2 })
  })

  it('is missing where one side was not measured', () => {
    expect(pairwiseRatio([1, 2], [])).toBeUndefined()
    expect(pairwiseRatio([], [1, 2])).toBeUndefined()
  })

  it('leaves out a round that divides by nothing', () => {
    expect(pairwiseRatio([1, 4], [0, 2])).toEqual({ median: 2, min: 2, max: 2 })
  })
})

it('shows numbers with three significant digits', () => {
  expect([141_234, 1299.6, 99.96, 12.34, 0.35499, 0, Number.NaN].map(formatNumber)).toEqual([
    '141,000',
    '1,300',
    '100',
    '12.3',
    '0.355',
    '0',
    '-',
  ])
})

describe('the table', () => {
  const figure = { name: 'rate', title: 'acknowledged', unit: 'messages/s' } as const
  const ingest: CaseResult = {
    name: 'ingest',
    title: 'QoS 1 ingest',
    figures: [{ ...figure, sluice: [100, 300, 200], mosquitto: [100, 100, 100] }],
  }
  const wear: CaseResult = {
    name: 'wear',
    title: 'Bytes written to the device for each byte of payload',
    figures: [{ name: 'full', title: 'full', unit: 'bytes/byte', sluice: [2.5], mosquitto: [] }],
  }

  it('has a line for each figure with medians and the ratio', () => {
    expect(renderTable([ingest, wear])).toBe(
      [
        '                unit        Sluice  Mosquitto  Sluice/Mosquitto',
        'QoS 1 ingest [ingest]',
        '  acknowledged  messages/s     200        100  2.00 (1.00-3.00)',
        'Bytes written to the device for each byte of payload [wear]',
        '  full          bytes/byte    2.50',
      ].join('\n'),
    )
  })

  it('compares with a baseline, and says where that has nothing', () => {
    const before = { ...ingest, figures: [{ ...figure, sluice: [160], mosquitto: [] }] }
    const lines = renderTable([ingest, wear], [before]).split('\n')
    expect(lines[0]).toMatch(/Sluice before$/)
    expect(lines[2]).toMatch(/ x 1\.25$/)
    expect(lines[4]).toMatch(/ -$/)
  })
})

it('finds the file system by the nearest mount point', () => {
  const mounts = '/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw 0 0\n/dev/b /tm xfs rw 0 0\n'
  expect(fileSystemOf('/tmp/x', mounts)).toBe('tmpfs on tmpfs')
  expect(fileSystemOf('/tmpx', mounts)).toBe('ext4 on /dev/a')
  expect(fileSystemOf('/home', mounts)).toBe('ext4 on /dev/a')
})

describe('the flash table', () => {
  const reading: FlashReading = {
    variant: 'A',
    rate: 10,
    messages: 300,
    payloadBytes: 76_800,
    writtenBytes: 2_457_600,
    stopBytes: 40_960,
    diskBytes: 3_072_000,
  }
  const nothing = { ...reading, messages: 0, payloadBytes: 0, writtenBytes: 4096 }

  it('divides what was written by what was sent', () => {
    expect(writeFactor(reading)).toBe(32)
    expect(writeFactor(nothing)).toBeNaN()
  })

  it('makes a day of it from the rate, not from how long the reading took', () => {
    // 8,192 bytes a message, 10 a second, 86,400 seconds.
    expect(megabytesPerDay(reading)).toBeCloseTo(7077.888, 6)
    expect(megabytesPerDay({ ...reading, rate: 1000 })).toBeCloseTo(707_788.8, 6)
    expect(megabytesPerDay(nothing)).toBeNaN()
  })

  it('heads each variant once, and leaves open what no disk told', () => {
    const readings = [reading, { ...reading, rate: 1000 }, { ...nothing, variant: 'B' }]
    expect(renderFlash([...readings, { ...reading, variant: 'B', diskBytes: null }])).toBe(
      [
        'What reaches the device, 256 B payload, QoS 1, one QoS 1 session away [flash]',
        '  messages/s  messages  bytes/byte   MB/day  whole disk',
        'A (a stop alone writes 41.0 KB, taken out)',
        '  10               300        32.0    7,080        40.0',
        '  1,000            300        32.0  708,000        40.0',
        'B (a stop alone writes 41.0 KB, taken out)',
        '  10                 0           -        -           -',
        '  10               300        32.0    7,080           -',
      ].join('\n'),
    )
  })
})

it('finds a disk by the number the kernel gives a file system', () => {
  expect(deviceNumber(0xfe00)).toBe('254:0')
  expect(deviceNumber(0x10_0812)).toBe('8:274')
})

it('reads the sectors written from the seventh column', () => {
  expect(writtenSectors('  125501 14317 6611770 187887 2712908 291571 124774896 587824 0')).toBe(
    124_774_896,
  )
})
