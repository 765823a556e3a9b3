/** Places of cursors as plain values: moving on, lag, and how a row holds them. */
import { assert } from '../../base/assert.ts'
import type { Offset, Partition, Position, StreamBounds } from '../log.ts'
import { asOffset, asPartition, asPosition } from '../record.ts'
import type { Cursor, CursorPlace } from '../state.ts'
import type { CursorRow } from './protocol.ts'

/**
 * The place that is ahead in everything that `to` names; undefined when that changes nothing. A
 * commit that comes late, of something older, moves nobody back.
 */
export function advanced(place: CursorPlace, to: CursorPlace): CursorPlace | undefined {
  if (place.kind === 'stream') {
    assert(to.kind === 'stream', 'a cursor by position is committed by position')
    return to.next > place.next ? to : undefined
  }
  assert(to.kind === 'partitions', 'a cursor by partition is committed by partition')
  const ahead = [...to.next].filter(([partition, next]) => isAhead(place.next, partition, next))
  return ahead.length === 0 ? undefined : byPartition([...place.next, ...ahead])
}

/** A cursor knows a partition from its first commit there on: also one at its beginning counts. */
function isAhead(known: ReadonlyMap<Partition, Offset>, partition: Partition, next: Offset) {
  return next > (known.get(partition) ?? -1)
}

export function byPartition(next: readonly (readonly [Partition, Offset])[]): CursorPlace {
  return { kind: 'partitions', next: new Map(next) }
}

/** Where a cursor by partition reads on: what is no longer there is behind it. */
export function unreadIn(
  place: CursorPlace & { kind: 'partitions' },
  bounds: StreamBounds,
): { readonly partition: Partition; readonly from: Offset; readonly end: Offset }[] {
  return bounds.partitions.flatMap(({ partition, first, end }) => {
    const from = Math.max(place.next.get(partition) ?? first, first)
    return from < end ? [{ partition, from: asOffset(from), end }] : []
  })
}

/** Records that are there and that a cursor has not read. */
export function lagRecords(place: CursorPlace, bounds: StreamBounds): number {
  if (place.kind === 'stream') {
    return Math.max(0, bounds.end - Math.max(place.next, bounds.first))
  }
  return unreadIn(place, bounds).reduce((sum, { from, end }) => sum + end - from, 0)
}

/** The place behind a range of positions that the cursor stands in; undefined where it does not. */
export function behind(
  place: CursorPlace,
  first: Position,
  end: Position,
): CursorPlace | undefined {
  if (place.kind !== 'stream' || place.next < first || place.next >= end) return undefined
  return { kind: 'stream', next: end }
}

export function rowOf({ name, stream, place, updatedMs }: Cursor): CursorRow {
  return place.kind === 'stream'
    ? { name, stream, position: place.next, offsets: null, updatedMs }
    : { name, stream, position: null, offsets: offsetsText(place.next), updatedMs }
}

export function cursorOf({ name, stream, position, offsets, updatedMs }: CursorRow): Cursor {
  const place: CursorPlace =
    position === null ? offsetsIn(offsets ?? '{}') : { kind: 'stream', next: asPosition(position) }
  return { name, stream, place, updatedMs }
}

function offsetsText(next: ReadonlyMap<Partition, Offset>): string {
  return JSON.stringify(Object.fromEntries([...next].sort(([a], [b]) => a - b)))
}

function offsetsIn(text: string): CursorPlace {
  const offsets = Object.entries(JSON.parse(text) as Record<string, number>)
  return byPartition(
    offsets.map(([partition, next]) => [asPartition(Number(partition)), asOffset(next)]),
  )
}
