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
  /** Streams that are not to be touched, by their index. */
  readonly outOfService: readonly number[]
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
  | Checkpointed
  /** Something in this segment is damaged: if it is the active one, go on in a new one. */
  | { readonly kind: 'retire'; readonly stream: number; readonly file: string }
  | { readonly kind: 'close' }

/** The keeper is done with a checkpoint. */
export interface Checkpointed {
  readonly kind: 'checkpointed'
  readonly stream: number
  readonly file: string
  /** Only a few pages are left in the WAL. */
  readonly caughtUp: boolean
  /** A write or a sync failed: what the files have is no longer certain. */
  readonly failure: { readonly code: string; readonly message: string } | undefined
}

/** Where a stream stands on disk when it is opened. */
export interface StreamEnd {
  readonly end: number
  /** The next offset of each partition ever seen, by partition. */
  readonly offsets: readonly number[]
}

/** A stream whose files let nobody open them; the others do not suffer from it. */
export interface NotOpened {
  readonly code: 'storage' | 'data-dir-unusable'
  readonly message: string
  /** The code of the storage error. */
  readonly cause: string
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
  /** By index; undefined: out of service. */
  | { readonly kind: 'opened'; readonly streams: readonly (StreamEnd | NotOpened | undefined)[] }
  /** A file of another version, which nobody may go on with. */
  | { readonly kind: 'refused'; readonly code: 'format-unknown'; readonly message: string }
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
