import { describe, expect, it } from 'vitest'
import { asPosition } from '../../../src/log/log.ts'
import { needs, passOver } from '../../../src/log/retention/lagging.ts'
import type { FinishedSegment } from '../../../src/log/retention/segments.ts'
import { cursorAt, cursorByPartition, segments } from './given.ts'

/** [10, 20) with offsets [10, 16) of partition 0 and [0, 4) of partition 1. */
const segment = segments([{}, { inFirst: 6, sizeBytes: 1000 }])[1] as FinishedSegment

describe('a cursor that stands', () => {
  it.each([
    ['before the segment', 3, { first: 10, records: 10, sizeBytes: 1000 }],
    ['at its first record', 10, { first: 10, records: 10, sizeBytes: 1000 }],
    ['inside it', 17, { first: 17, records: 3, sizeBytes: 300 }],
    ['at its last record', 19, { first: 19, records: 1, sizeBytes: 100 }],
  ])('%s loses exactly what it had not read', (_where, next, lost) => {
    const passed = passOver(cursorAt('c', 'a', next), segment, 'retention')
    expect(passed?.gap).toEqual({
      stream: 'a',
      cursor: 'c',
      end: 20,
      reason: 'retention',
      ...lost,
    })
    expect(passed?.place).toEqual({ kind: 'stream', next: 20 })
  })

  it.each([20, 21, 900])('behind the segment, at %i, loses nothing', (next) => {
    const cursor = cursorAt('c', 'a', next)
    expect(needs(cursor.place, segment)).toBe(false)
    expect(passOver(cursor, segment, 'retention')).toBeUndefined()
  })
})

describe('a cursor by partitions', () => {
  it('loses the offsets it had not read, in the range of the whole segment', () => {
    const cursor = cursorByPartition('g', 'a', [
      [0, 14],
      [7, 3],
    ])
    const passed = passOver(cursor, segment, 'disk-guard')
    expect(passed?.gap).toMatchObject({
      first: 10,
      end: asPosition(20),
      records: 6,
      sizeBytes: 600,
    })
    expect(passed?.place).toEqual({
      kind: 'partitions',
      next: new Map([
        [0, 16],
        [7, 3],
        [1, 4],
      ]),
    })
  })

  it('loses nothing when it has read both', () => {
    const cursor = cursorByPartition('g', 'a', [
      [0, 16],
      [1, 9],
    ])
    expect(passOver(cursor, segment, 'retention')).toBeUndefined()
  })
})
