import { asOffset, asPosition } from '../record.ts'
import type { Cursor, CursorPlace, Gap } from '../state.ts'
import { byPartition } from './cursor-place.ts'
import type { StateOp } from './protocol.ts'

/** Where a stream ends: the next position, and the next offset by partition. */
export interface FoundEnd {
  readonly end: number
  readonly offsets: readonly number[]
}

/**
 * The cursor at the end of its stream when it is ahead of it, otherwise nothing. A stream that is
 * not among the `ends` is not open: its cursors stay, for it may come back.
 */
export function takenBack(cursor: Cursor, ends: ReadonlyMap<string, FoundEnd>): Cursor[] {
  const end = ends.get(cursor.stream)
  const place = end === undefined ? undefined : placeWithin(cursor.place, end)
  return place === undefined ? [] : [{ ...cursor, place }]
}

function placeWithin(place: CursorPlace, { end, offsets }: FoundEnd): CursorPlace | undefined {
  if (place.kind === 'stream') {
    return place.next > end ? { kind: 'stream', next: asPosition(end) } : undefined
  }
  const next = [...place.next]
  const isAhead = next.some(([partition, offset]) => offset > (offsets[partition] ?? 0))
  if (!isAhead) return undefined
  return byPartition(
    next.map(([partition, offset]) => [
      partition,
      asOffset(Math.min(offset, offsets[partition] ?? 0)),
    ]),
  )
}

/**
 * What becomes of a gap in a stream that ends at `end`: from there on positions are given out
 * again, and a gap must not say of a new record that it is lost. Nothing for one that ends before.
 */
export function cutOff(gap: Gap, end: number): StateOp[] {
  if (gap.end <= end) return []
  if (gap.first >= end) return [{ kind: 'drop-gap', id: gap.id }]
  const records = Math.min(gap.records, end - gap.first)
  return [{ kind: 'put-gap', row: { ...gap, end: asPosition(end), records } }]
}
