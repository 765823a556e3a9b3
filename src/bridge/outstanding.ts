/**
 * What a live-first forward still has to send: ranges of outages, and everything from the live
 * lane's place on. Kept as a small document beside the cursor:
 *
 *   outstanding = (ranges ∪ [live, ∞)) ∩ [cursor, ∞)
 *
 * The two are written at different moments. A document that is older than the cursor says more than
 * is left, and the cursor cuts it; a cursor that is older cuts less. So neither can make a record
 * be forgotten. Whoever moves the cursor back removes the document first, durably.
 */
import { SluiceError } from '../base/errors.ts'
import { asPosition } from '../log/log.ts'
import { RangeSet } from './ranges.ts'

/** An outage makes one; past this the ones nearest to each other are joined. */
const RANGES_MAX = 1000

export interface Outstanding {
  readonly ranges: RangeSet
  readonly live: number
}

export function nothingBefore(live: number): Outstanding {
  return { ranges: new RangeSet(RANGES_MAX), live }
}

export function encodeOutstanding({ ranges, live }: Outstanding): Uint8Array {
  const head = Buffer.alloc(8)
  head.writeDoubleBE(live)
  return Buffer.concat([head, ranges.encode()])
}

/** Throws `state-damaged`. */
export function decodeOutstanding(bytes: Uint8Array, cursor: number): Outstanding {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const live = view.length < 8 ? Number.NaN : view.readDoubleBE(0)
  if (!Number.isSafeInteger(live) || live < 0) {
    throw new SluiceError('state-damaged', 'the place that a bridge has kept is not readable')
  }
  const ranges = RangeSet.decode(view.subarray(8), RANGES_MAX)
  ranges.remove(asPosition(0), asPosition(cursor))
  return { ranges, live: Math.max(live, cursor) }
}
