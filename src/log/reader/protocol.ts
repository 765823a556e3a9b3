/** What the main thread asks of the reader thread. Answers come in the order of the questions. */
import { type ErrorCode, SluiceError } from '../../base/errors.ts'
import type { Boots } from '../clock/time-of.ts'
import type { Position, ReadQuery, Start, StreamBounds } from '../log.ts'
import type { PackedPage } from './page.ts'
import { SegmentDamaged } from './segment-file.ts'

export interface ReaderOptions {
  readonly dataDir: string
}

export type ToReader =
  | { readonly kind: 'read'; readonly query: ReadQuery; readonly end: Position }
  | { readonly kind: 'locate'; readonly stream: string; readonly start: Start }
  | { readonly kind: 'bounds'; readonly stream: string }
  /** What is known of the time of boots from now on. Without an answer. */
  | { readonly kind: 'boots'; readonly boots: Boots }
  /** Segments were deleted: let go of them. Without an answer. */
  | { readonly kind: 'forget-removed' }
  | { readonly kind: 'close' }

export type FromReader =
  | { readonly kind: 'page'; readonly page: PackedPage }
  | { readonly kind: 'located'; readonly position: Position }
  | { readonly kind: 'bounds'; readonly bounds: StreamBounds }
  | {
      readonly kind: 'failed'
      readonly code: ErrorCode
      readonly message: string
      readonly cause: string | undefined
      /** The damaged segment, when that is the failure. */
      readonly file: string | undefined
    }

/** The error of a 'failed' answer, as the reader thread threw it. */
export function failureOf(answer: FromReader & { kind: 'failed' }): SluiceError {
  const { code, message, cause, file } = answer
  const options = cause === undefined ? {} : { cause: new Error(cause) }
  return file === undefined
    ? new SluiceError(code, message, options)
    : new SegmentDamaged(
        file,
        message,
        options,
        code === 'format-unknown' ? code : 'record-damaged',
      )
}
