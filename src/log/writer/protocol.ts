/**
 * What the main thread and the writer thread say to each other. Messages are tiny: records never
 * travel, they stand in shared slabs and a message names a range of one. A post costs a few
 * microseconds whatever it says, so one message stands for up to 64 records.
 */
import type { AckRule } from '../log.ts'

/** What a writer must know of a stream. The index is its place in the log's list. */
export interface WriterStream {
  readonly name: string
  readonly partitions: number
  readonly ackAfter: AckRule
  readonly lingerMs: number
}

export interface WriterOptions {
  readonly dataDir: string
  readonly streams: readonly WriterStream[]
  readonly segmentBytes: number
  readonly walBytesMax: number
}

/** Records to write: `count` entries in [from, to) of a slab, all appended after those before. */
export interface Batch {
  readonly kind: 'batch'
  /** Rises by one a batch; reported back so that slabs are not reused under the writer. */
  readonly sequence: number
  readonly slab: number
  /** With the first batch of a slab only; the writer keeps it by its number. */
  readonly memory?: SharedArrayBuffer
  /** Slabs that never come again. */
  readonly forget?: readonly number[]
  readonly from: number
  readonly to: number
  readonly count: number
}

export type ToWriter =
  | Batch
  /** The keeper has opened a full segment, so the writer's handle is not the last one. */
  | { readonly kind: 'release'; readonly stream: number; readonly file: string }
  /** The keeper is done with a checkpoint; caught up: only a few pages are left in the WAL. */
  | { readonly kind: 'checkpointed'; readonly stream: number; readonly caughtUp: boolean }
  /** Something in this segment is damaged: if it is the active one, go on in a new one. */
  | { readonly kind: 'retire'; readonly stream: number; readonly file: string }
  | { readonly kind: 'close' }

/** Where a stream stands on disk when it is opened. */
export interface StreamEnd {
  readonly end: number
  /** The next offset of each partition ever seen, by partition. */
  readonly offsets: readonly number[]
}

/** One commit of one stream. */
export interface Committed {
  readonly stream: number
  readonly records: number
  readonly sizeBytes: number
  readonly durationMs: number
}

/** A stream that is not written for now. */
export interface Suspended {
  readonly stream: number
  readonly reason: string
  /** Records that were reported committed are missing: it will not mend by itself. */
  readonly lost: boolean
}

/** Work for the keeper, beside the commits. `file` is a name in the stream's folder. */
export type KeeperOrder =
  | { readonly kind: 'prepare'; readonly stream: number }
  | { readonly kind: 'checkpoint'; readonly stream: number; readonly file: string }
  | { readonly kind: 'seal'; readonly stream: number; readonly file: string }

export type FromWriter =
  | { readonly kind: 'opened'; readonly streams: readonly StreamEnd[] }
  | {
      readonly kind: 'refused'
      readonly code: 'storage' | 'format-unknown' | 'data-dir-unusable'
      readonly message: string
      readonly cause: string
    }
  | {
      readonly kind: 'report'
      /** Every batch up to this one was read. */
      readonly sequence: number
      /** In this order: what works again, what was committed, what is suspended now. */
      readonly resumed: readonly number[]
      readonly committed: readonly Committed[]
      readonly suspended: readonly Suspended[]
      readonly orders: readonly KeeperOrder[]
    }
  | { readonly kind: 'closed' }
