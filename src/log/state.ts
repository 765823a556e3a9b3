/**
 * The small state beside the records, in `state.db`: how far each cursor is, what will never be
 * delivered (gaps), which boots there were, and the epoch. The store stands behind these types.
 *
 * S1. A cursor that regresses after a crash means records delivered again, never records skipped:
 *     commits are lazy unless the caller waits for one.
 * S2. A gap is on disk before the records that it speaks of are removed.
 * S3. The epoch rises whenever positions could be given out a second time (restore, reset, a state
 *     that had to be rebuilt): (epoch, stream, partition, offset) names one record for ever.
 */
import type { Offset, Partition, Position, Start, StreamBounds } from './log.ts'

export const gapReasons = [
  /** Removed by age or size before the cursor had read it. */
  'retention',
  /** Removed because the disk ran full. */
  'disk-guard',
  /** Its time to live ended. */
  'expired',
  /** Unreadable after damage. */
  'quarantined',
  /** A bound of the cursor's own. */
  'policy',
] as const
export type GapReason = (typeof gapReasons)[number]

/** A range of records that a cursor will not get. */
export interface Gap {
  readonly id: number
  readonly stream: string
  /** Undefined: gone for every reader. */
  readonly cursor: string | undefined
  /** Half-open: [first, end). */
  readonly first: Position
  readonly end: Position
  /** Of this cursor's own in the range; all of them where the cursor reads everything. */
  readonly records: number
  readonly sizeBytes: number
  readonly reason: GapReason
  readonly timeMs: number
}

export type NewGap = Omit<Gap, 'id' | 'timeMs'>

export interface Gaps {
  /** Newest last; from `afterId` on when given, at most `limit`. */
  list(query?: {
    stream?: string
    cursor?: string
    afterId?: number
    limit?: number
  }): readonly Gap[]
  /** Resolves once all of them are on disk (S2), in one transaction. */
  add(gaps: readonly NewGap[]): Promise<readonly Gap[]>
  /** Records and bytes lost to each reason since the store was made. */
  totals(): Readonly<Record<GapReason, { records: number; sizeBytes: number }>>
  onAdded(listener: (gap: Gap) => void): void
}

/** Where a consumer stands: the next record it wants. */
export type CursorPlace =
  | { readonly kind: 'stream'; readonly next: Position }
  | { readonly kind: 'partitions'; readonly next: ReadonlyMap<Partition, Offset> }

export interface Cursor {
  readonly name: string
  readonly stream: string
  readonly place: CursorPlace
  readonly updatedMs: number
}

export interface CursorLag {
  readonly records: number
  readonly sizeBytes: number
  /** Age of the oldest record that it has not read; 0 when it has read all. */
  readonly ageMs: number
}

export interface Cursors {
  list(): readonly Cursor[]
  get(name: string): Cursor | undefined
  /** Makes a cursor, durable when it resolves; gives the one that is there as it is. */
  open(name: string, stream: string, kind: CursorPlace['kind'], from: Start): Promise<Cursor>
  /** Moves on; on disk within the lazy interval and at close (S1). */
  commit(name: string, place: CursorPlace): void
  /** The same, on disk when it resolves. */
  commitNow(name: string, place: CursorPlace): Promise<void>
  /**
   * Moves anywhere, also back; on disk when it resolves. Rejects with `cursor-unknown`,
   * `start-invalid`.
   */
  seek(name: string, to: Start): Promise<Cursor>
  remove(name: string): Promise<void>
  lag(name: string): Promise<CursorLag>
  /** The records of its lag by bounds that the caller has at hand: for metrics. */
  lagRecords(name: string, bounds: StreamBounds): number
  onMoved(listener: (cursor: Cursor, why: 'commit' | 'seek' | 'gap') => void): void
}

/** One small document of another part of the gateway: a session, a will, a retained message. */
export interface Document {
  readonly key: string
  readonly value: Uint8Array
}

export interface DocumentWrite {
  readonly kind: string
  readonly key: string
  /** Undefined removes it. */
  readonly value: Uint8Array | undefined
}

/**
 * Documents by kind and key; who owns a kind knows what is in them. Every read sees the writes that
 * were made before it. Values are copied when they are put, and nobody changes what was got.
 * After damage to `state.db` there are none: what must survive that is derived from the records
 * again.
 */
export interface Documents {
  /**
   * All of a kind in the order of their keys' UTF-8, read page by page, each as it is when its page
   * is read. Throws `storage`.
   */
  load(kind: string): AsyncIterable<Document>
  /** In the order of the keys; undefined where there is none. Rejects with `storage`. */
  get(kind: string, keys: readonly string[]): Promise<readonly (Uint8Array | undefined)[]>
  /**
   * On disk within the lazy interval and at close, all of a call in one transaction, and never
   * before what was put earlier.
   */
  put(writes: readonly DocumentWrite[]): void
  /**
   * The same, on disk when it resolves, and with it all that was put before. Rejects with
   * `storage`; it is tried again with the next write then.
   */
  putNow(writes: readonly DocumentWrite[]): Promise<void>
}

export const clockQualities = ['none', 'rtc', 'synchronised'] as const
/** How far the wall clock can be trusted: not at all, as a battery goes, set by a time source. */
export type ClockQuality = (typeof clockQualities)[number]

/** One run of the process and what is known of its time. */
export interface Boot {
  readonly boot: number
  readonly quality: ClockQuality
  /** Wall time of the boot's monotonic zero, ms: wall = offsetMs + monotonicUs / 1000. */
  readonly offsetMs: number
}

export interface LogState {
  readonly epoch: number
  readonly cursors: Cursors
  readonly gaps: Gaps
  readonly documents: Documents
  /** By boot number; records of other boots keep the wall time that they were written with. */
  boots(): ReadonlyMap<number, Boot>
  /** Why the last write of state failed; undefined while they work. */
  readonly failure: string | undefined
}
