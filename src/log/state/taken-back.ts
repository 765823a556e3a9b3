import { asOffset, asPosition } from '../record.ts'
import type { Cursor, CursorPlace } from '../state.ts'
import { byPartition } from './cursor-place.ts'

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
