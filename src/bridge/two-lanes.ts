/**
 * The lanes of a forward and what of the past is left: the live lane, the backfill, and the ranges
 * that the backfill works off (B5 in forward.ts). A strict forward never has ranges.
 *
 *   ranges:  [─ outage ─)   [── outage ──)          live.acked        end
 *                ▲ backfill                             ▼              ▼
 *   ─────────────┴──────────────────────────────────────┴──────────────┴─▶ positions
 */
import { asPosition } from '../log/log.ts'
import { Lane, type LaneSource } from './lane.ts'
import { encodeOutstanding, nothingBefore, type Outstanding } from './outstanding.ts'

export class TwoLanes {
  readonly live: Lane
  readonly backfill: Lane
  private outstanding = nothingBefore(0)
  /** The backfill begins anew elsewhere: what is packed of it is forgotten. */
  private readonly moved: (lane: Lane) => void

  constructor(source: LaneSource, moved: (lane: Lane) => void) {
    this.live = new Lane(source, 0, Number.POSITIVE_INFINITY)
    this.backfill = new Lane(source, 0, 0)
    this.moved = moved
  }

  /** Forgets what is in flight, and has this left. */
  start(outstanding: Outstanding): void {
    this.outstanding = outstanding
    this.live.reset(outstanding.live)
    this.backfill.reset(0, 0)
  }

  /** The link is lost, and what was in flight with it (B2). */
  detach(): void {
    this.live.reset(this.live.acked)
    this.backfill.reset(this.backfill.acked)
  }

  /** The first record that is not settled. */
  get acked(): number {
    this.settleRanges()
    return this.outstanding.ranges.first?.first ?? this.live.acked
  }

  /** Records in ranges, which are the backfill's. */
  get historicalRecords(): number {
    this.settleRanges()
    return this.outstanding.ranges.size
  }

  get sentRecords(): number {
    return this.live.sentRecords + this.backfill.sentRecords
  }

  get doneRecords(): number {
    return this.live.doneRecords + this.backfill.doneRecords
  }

  encode(): Uint8Array {
    this.settleRanges()
    return encodeOutstanding({ ...this.outstanding, live: this.live.acked })
  }

  /** What the live lane has not handed out before `begin` becomes a range. */
  leave(begin: number): void {
    const from = this.live.acked
    if (begin <= from) return
    this.outstanding.ranges.add(asPosition(from), asPosition(begin))
    this.live.reset(begin)
  }

  /** The lane to ask first, and the other one; `isBackfillsTurn` where there is a choice. */
  inTurn(isBackfillsTurn: boolean): readonly [Lane, Lane | undefined] {
    this.settleRanges()
    if (this.outstanding.ranges.size === 0) return [this.live, undefined]
    this.nextRange()
    return isBackfillsTurn ? [this.backfill, this.live] : [this.live, this.backfill]
  }

  /** What is not handed out yet before `until`, as ranges. */
  before(until: number): { first: number; end: number }[] {
    this.settleRanges()
    const pieces: { first: number; end: number }[] = []
    for (const range of this.outstanding.ranges) {
      const isCurrent = this.backfill.end === range.end
      const first = isCurrent ? Math.max(range.first, this.backfill.next) : range.first
      pieces.push({ first, end: Math.min(range.end, until) })
    }
    pieces.push({ first: this.live.next, end: until })
    return pieces.filter(({ first, end }) => first < end)
  }

  /** Hands out nothing more before `until`; what is in flight stays so. */
  passed(until: number): void {
    const { live, backfill, outstanding } = this
    if (live.next < until) live.skipTo(until)
    if (backfill.next < until) backfill.skipTo(Math.min(until, backfill.end))
    outstanding.ranges.remove(asPosition(0), asPosition(until))
  }

  private nextRange(): void {
    const range = this.outstanding.ranges.first
    if (range === undefined) return
    const { backfill } = this
    const isIn = backfill.next >= range.first && backfill.end === range.end
    if (isIn) return
    this.moved(backfill)
    backfill.reset(range.first, range.end)
  }

  /** What the backfill has settled is no longer outstanding. */
  private settleRanges(): void {
    const { ranges } = this.outstanding
    const range = ranges.first
    if (range === undefined || this.backfill.end !== range.end) return
    const { acked } = this.backfill
    if (acked > range.first) ranges.remove(range.first, asPosition(Math.min(acked, range.end)))
  }
}
