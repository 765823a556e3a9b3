/**
 * Which segments go, why, and which streams must refuse records instead. Pure: facts in, plan out.
 *
 * R1. A segment that goes ends before the last record on disk, so that the next position and the
 *     next offsets stay known whatever happens afterwards; so the active one never goes.
 * R2. Segments go oldest first: what is left of a stream has no hole.
 * R3. No segment goes that its rule does not demand: the last one that goes was still needed to
 *     get there.
 * R4. Under on_lag = "refuse" a segment that a cursor still needs stays, and those behind it.
 * R5. A wall clock that is wrong deletes nothing (see `expiredCount`).
 */
import { present } from '../../base/assert.ts'
import type { Cursor } from '../state.ts'
import { needs } from './lagging.ts'
import type { FinishedSegment, SurveyedStream } from './segments.ts'

export const removalReasons = ['age', 'size', 'disk-guard'] as const
export type RemovalReason = (typeof removalReasons)[number]

/** Without age and size only the disk guard deletes. */
export interface RetentionRule {
  readonly ageMs?: number
  readonly sizeBytes?: number
  readonly onLag: 'gap' | 'refuse'
}

export interface RetainedStream extends SurveyedStream {
  readonly rule: RetentionRule
}

export interface RetentionFacts {
  readonly streams: readonly RetainedStream[]
  readonly cursors: readonly Cursor[]
  /** Undefined: nobody knows the time, and age deletes nothing. */
  readonly nowMs: number | undefined
  /** Undefined: nobody knows, and the disk guard deletes nothing. */
  readonly disk: { readonly freeBytes: number; readonly minFreeBytes: number } | undefined
}

export interface Removal {
  readonly stream: string
  readonly segment: FinishedSegment
  readonly reason: RemovalReason
}

export interface Refusal {
  readonly stream: string
  /** One that still needs the oldest segment. */
  readonly cursor: string
}

export interface RetentionPlan {
  /** In the order in which they go. */
  readonly removals: readonly Removal[]
  /** Streams that must refuse records, because the disk guard finds no more to delete. */
  readonly refusals: readonly Refusal[]
}

export function planRetention(facts: RetentionFacts): RetentionPlan {
  const lanes = facts.streams.map((stream) => new Plan(stream, facts.cursors))
  for (const lane of lanes) lane.byAge(facts.nowMs)
  for (const lane of lanes) lane.bySize()
  const removals = lanes.flatMap((lane) => lane.removals)
  if (facts.disk === undefined) return { removals, refusals: [] }
  const { minFreeBytes } = facts.disk
  let freeBytes = removals.reduce(
    (sum, { segment }) => sum + segment.sizeBytes,
    facts.disk.freeBytes,
  )
  while (freeBytes < minFreeBytes) {
    const largest = largestOf(lanes)
    if (largest === undefined) break
    const removal = largest.take('disk-guard')
    removals.push(removal)
    freeBytes += removal.segment.sizeBytes
  }
  const refusals = freeBytes < minFreeBytes ? lanes.flatMap((lane) => lane.refusal() ?? []) : []
  return { removals, refusals }
}

/** Of the streams with a segment that may go; of equals the first. */
function largestOf(lanes: readonly Plan[]): Plan | undefined {
  let largest: Plan | undefined
  for (const lane of lanes) {
    if (!lane.mayTake) continue
    if (largest === undefined || lane.sizeBytes > largest.sizeBytes) largest = lane
  }
  return largest
}

/** One stream while it is planned for. */
class Plan {
  readonly removals: Removal[] = []
  sizeBytes: number
  private readonly stream: RetainedStream
  private readonly cursors: readonly Cursor[]

  constructor(stream: RetainedStream, cursors: readonly Cursor[]) {
    this.stream = stream
    this.cursors = cursors.filter((cursor) => cursor.stream === stream.stream)
    this.sizeBytes = stream.sizeBytes
  }

  /** Whether the oldest segment that is left may go (R1, R4). */
  get mayTake(): boolean {
    return this.oldest !== undefined && this.holder === undefined
  }

  byAge(nowMs: number | undefined): void {
    const { rule, segments } = this.stream
    if (nowMs === undefined || rule.ageMs === undefined) return
    const expired = expiredCount(segments, nowMs, rule.ageMs)
    while (this.removals.length < expired && this.mayTake) this.take('age')
  }

  bySize(): void {
    const { sizeBytes = Number.POSITIVE_INFINITY } = this.stream.rule
    while (this.sizeBytes > sizeBytes && this.mayTake) this.take('size')
  }

  take(reason: RemovalReason): Removal {
    const segment = present(this.oldest, 'a segment that may go')
    const removal: Removal = { stream: this.stream.stream, segment, reason }
    this.removals.push(removal)
    this.sizeBytes -= segment.sizeBytes
    return removal
  }

  refusal(): Refusal | undefined {
    const { holder } = this
    return holder && { stream: this.stream.stream, cursor: holder.name }
  }

  /** The next that would go; undefined when only the one is left that says where to go on (R1). */
  private get oldest(): FinishedSegment | undefined {
    const { segments, end } = this.stream
    const segment = segments[this.removals.length]
    return segment !== undefined && segment.end < end ? segment : undefined
  }

  /** A cursor for which the oldest segment must stay (R4). */
  private get holder(): Cursor | undefined {
    const { oldest } = this
    if (oldest === undefined || this.stream.rule.onLag !== 'refuse') return undefined
    return this.cursors.find((cursor) => needs(cursor.place, oldest))
  }
}

const DAY_MS = 86_400_000
/** A gateway that was in a drawer for a year is believed; one that says it was longer is not. */
const FORWARD_MS_MAX = 400 * DAY_MS
/** Clocks are put back a little by whoever corrects them. */
const BACK_MS_MAX = DAY_MS

/**
 * How many of the oldest segments are past their age (R5).
 *
 *   segment  0     1     2      3     4     now
 *   last    2026  2026  2100   2026  2026   2026
 *                            ✗◀── believed ────┘
 *
 * Times are followed back from now, and believed only as far as each step between neighbours is
 * one that a right clock can make. The first believed segment that is older than the age takes all
 * before it along, whatever they say, because records stand in the order in which they came. So a
 * step of the clock delays deletion by the age, and never deletes what is younger.
 */
export function expiredCount(
  segments: readonly Pick<FinishedSegment, 'lastTimeMs'>[],
  nowMs: number,
  ageMs: number,
): number {
  let laterMs = nowMs
  for (let index = segments.length - 1; index >= 0; index--) {
    const timeMs = segments[index]?.lastTimeMs ?? nowMs
    const stepMs = laterMs - timeMs
    if (stepMs > FORWARD_MS_MAX || stepMs < -BACK_MS_MAX) return 0
    if (nowMs - timeMs > ageMs) return index + 1
    laterMs = timeMs
  }
  return 0
}
