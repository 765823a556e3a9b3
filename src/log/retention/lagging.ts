/** A cursor against a segment: what of it it has not read, and where it stands behind it. */
import type { Position } from '../log.ts'
import { asOffset, asPosition } from '../record.ts'
import type { Cursor, CursorPlace, GapReason, NewGap } from '../state.ts'
import type { FinishedSegment } from './segments.ts'

/** What a cursor loses with a segment, and its place behind the loss. */
export interface Passed {
  readonly gap: NewGap
  readonly place: CursorPlace
}

/** Whether the segment has a record that the cursor has not read. */
export function needs(place: CursorPlace, segment: FinishedSegment): boolean {
  return unread(place, segment) > 0
}

/** Undefined when the cursor has read all of the segment. */
export function passOver(
  { name, stream, place }: Cursor,
  segment: FinishedSegment,
  reason: GapReason,
): Passed | undefined {
  const records = unread(place, segment)
  if (records === 0) return undefined
  // The share of the file: a sum over its records would read all of it, only to delete it.
  const share = records / (segment.end - segment.first)
  const gap: NewGap = {
    stream,
    cursor: name,
    first: firstUnread(place, segment),
    end: segment.end,
    records,
    sizeBytes: Math.round(segment.sizeBytes * share),
    reason,
  }
  return { gap, place: placeBehind(place, segment) }
}

/** Records of the segment that the cursor has not read. */
function unread(place: CursorPlace, segment: FinishedSegment): number {
  if (place.kind === 'stream') {
    return Math.max(0, segment.end - Math.max(segment.first, place.next))
  }
  let count = 0
  for (const { partition, first, end } of segment.partitions) {
    count += Math.max(0, end - Math.max(first, place.next.get(partition) ?? 0))
  }
  return count
}

/** By partitions the range is the segment's; `records` says how many of it are the cursor's. */
function firstUnread(place: CursorPlace, segment: FinishedSegment): Position {
  if (place.kind === 'partitions') return segment.first
  return asPosition(Math.max(segment.first, place.next))
}

function placeBehind(place: CursorPlace, segment: FinishedSegment): CursorPlace {
  if (place.kind === 'stream') {
    return { kind: 'stream', next: asPosition(Math.max(place.next, segment.end)) }
  }
  const next = new Map(place.next)
  for (const { partition, end } of segment.partitions) {
    next.set(partition, asOffset(Math.max(next.get(partition) ?? 0, end)))
  }
  return { kind: 'partitions', next }
}
