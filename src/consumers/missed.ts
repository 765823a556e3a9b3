import type { GapReason, Partition } from '../log/log.ts'

/**
 * Records that a consumer will not get. The front end says so in-band, with an empty message on
 * `$stream/<name>/gap`.
 */
export interface MissedRange {
  readonly stream: string
  readonly reason: GapReason
  /** Undefined: the range is of positions in the stream, else of offsets in this partition. */
  readonly partition: Partition | undefined
  /** Half-open: [first, end). */
  readonly first: number
  readonly end: number
  /** How many of the range this consumer would have got; at most `end - first`. */
  readonly records: number
}
