/** Setup for tests of retention: facts in a line, without files. */
import { asOffset, asPartition, asPosition } from '../../../src/log/log.ts'
import type { RetainedStream, RetentionRule } from '../../../src/log/retention/policy.ts'
import type { FinishedSegment } from '../../../src/log/retention/segments.ts'
import type { Cursor } from '../../../src/log/state.ts'

export const DAY_MS = 86_400_000
export const NOW_MS = Date.UTC(2026, 5, 1)

export interface SegmentFacts {
  readonly records?: number
  readonly sizeBytes?: number
  /** Of its last record; counted back from `NOW_MS`. */
  readonly ageDays?: number
  readonly timeMs?: number
  /** How many of its records are of partition 0; the rest is of partition 1. */
  readonly inFirst?: number
}

/** Segments one behind the other, of 10 records and 100 bytes each unless said otherwise. */
export function segments(facts: readonly SegmentFacts[], first = 0): FinishedSegment[] {
  let position = first
  const offsets = [0, 0]
  return facts.map(({ records = 10, sizeBytes = 100, ageDays = 0, timeMs, inFirst = records }) => {
    const begin = position
    position += records
    const counts = [inFirst, records - inFirst]
    const partitions = counts.map((count, index) => {
      const from = offsets[index] ?? 0
      offsets[index] = from + count
      return {
        partition: asPartition(index),
        first: asOffset(from),
        end: asOffset(from + count),
      }
    })
    return {
      file: `${begin}.db`,
      first: asPosition(begin),
      end: asPosition(position),
      sizeBytes,
      lastTimeMs: timeMs ?? NOW_MS - ageDays * DAY_MS,
      lastBoot: 1,
      lastMonotonicUs: 0,
      partitions,
    }
  })
}

/** A stream of these segments and an active one of 5 records and 50 bytes. */
export function retained(
  stream: string,
  rule: Partial<RetentionRule>,
  facts: readonly SegmentFacts[],
  more: { readonly activeRecords?: number; readonly first?: number } = {},
): RetainedStream {
  const { activeRecords = 5, first = 0 } = more
  const finished = segments(facts, first)
  const end = (finished.at(-1)?.end ?? first) + activeRecords
  return {
    stream,
    rule: { onLag: 'gap', ...rule },
    end: asPosition(end),
    sizeBytes: finished.reduce((sum, { sizeBytes }) => sum + sizeBytes, 50),
    segments: finished,
  }
}

export function cursorAt(name: string, stream: string, next: number): Cursor {
  return { name, stream, place: { kind: 'stream', next: asPosition(next) }, updatedMs: 0 }
}

export function cursorByPartition(
  name: string,
  stream: string,
  next: readonly (readonly [partition: number, offset: number])[],
): Cursor {
  const places = next.map(([p, offset]) => [asPartition(p), asOffset(offset)] as const)
  return { name, stream, place: { kind: 'partitions', next: new Map(places) }, updatedMs: 0 }
}
