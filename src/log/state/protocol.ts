/** What is written to `state.db`, and how the main thread asks the state thread for it. */
import type { Boot, Document, Gap } from '../state.ts'

/** A cursor as its row has it: one of `position` and `offsets` is set. */
export interface CursorRow {
  readonly name: string
  readonly stream: string
  readonly position: number | null
  /** JSON: the next offset by partition, as in `{"0":12,"1":40}`. */
  readonly offsets: string | null
  readonly updatedMs: number
}

/** Numbers of the store itself: format, epoch, totals. */
export interface MetaRow {
  readonly key: string
  readonly value: number
}

/** One change. To apply it again does no harm, so a list whose fate is unknown is tried again. */
export type StateOp =
  | { readonly kind: 'put-cursor'; readonly row: CursorRow }
  | { readonly kind: 'drop-cursor'; readonly name: string }
  | { readonly kind: 'put-gap'; readonly row: Gap }
  | { readonly kind: 'drop-gap'; readonly id: number }
  | { readonly kind: 'put-meta'; readonly row: MetaRow }
  | { readonly kind: 'put-boot'; readonly row: Boot }
  | {
      readonly kind: 'put-document'
      readonly of: string
      readonly key: string
      readonly value: Uint8Array
    }
  | { readonly kind: 'drop-document'; readonly of: string; readonly key: string }

/** What is read of the documents of a kind: these keys, or a page of those behind a key. */
export type DocumentQuery =
  | { readonly of: string; readonly keys: readonly string[] }
  | { readonly of: string; readonly after: string | undefined }

/** Whether the space that is kept for a full disk is there. */
export type ReserveState = 'kept' | 'spent'

export interface StateThreadOptions {
  readonly dataDir: string
}

export type ToStateThread =
  | { readonly kind: 'write'; readonly ops: readonly StateOp[] }
  | { readonly kind: 'read'; readonly query: DocumentQuery }
  | { readonly kind: 'close' }

/**
 * Answers come in the order of the questions. `count` lists shared one transaction and its fate.
 */
export type FromStateThread =
  | { readonly kind: 'written'; readonly count: number; readonly reserve: ReserveState }
  | {
      readonly kind: 'failed'
      readonly count: number
      readonly reserve: ReserveState
      readonly message: string
    }
  | {
      readonly kind: 'read'
      readonly rows: readonly Document[]
      readonly reserve: ReserveState
    }
