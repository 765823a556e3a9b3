/**
 * What an audit has seen, per (gateway, epoch, stream, partition): ranges of offsets and not the
 * offsets themselves, so that ten million records in order cost two numbers.
 */
import { type Range, RangeSet } from '../bridge/ranges.ts'
import type { Offset } from '../log/log.ts'

/** What one record says of where it comes from. */
export interface Origin {
  readonly gateway: string
  readonly epoch: number
  readonly stream: string
  readonly partition: number
  readonly offset: number
}

/**
 * Of all lanes together: 32 MB. A forward with filters leaves a hole wherever it skips something;
 * this is enough for some millions of records of such a one.
 */
const RANGES_MAX = 2_000_000
/** Names come from the wire: whoever may publish there must not fill the memory here. */
const LANES_MAX = 1000

export class Lane {
  readonly gateway: string
  readonly epoch: number
  readonly stream: string
  readonly partition: number
  private readonly seen = new RangeSet<Offset>(Number.MAX_SAFE_INTEGER)
  private highest = -1
  private distinct = 0
  /** Records that came again, and first ones that came behind a later one. */
  duplicates = 0
  late = 0
  /** False: there were more holes than can be kept apart, and from then on nothing is looked at. */
  isExact = true

  constructor(origin: Omit<Origin, 'offset'>) {
    this.gateway = origin.gateway
    this.epoch = origin.epoch
    this.stream = origin.stream
    this.partition = origin.partition
  }

  /** Different records that came. */
  get records(): number {
    return this.distinct
  }

  /** From the first offset that came to behind the last. */
  get range(): Range<Offset> | undefined {
    const { first, last } = this.seen
    return first && last && { first: first.first, end: last.end }
  }

  get ranges(): number {
    return this.seen.ranges
  }

  see(offset: Offset): void {
    if (!this.isExact) return
    if (this.seen.contains(offset)) {
      this.duplicates++
      return
    }
    this.seen.add(offset, (offset + 1) as Offset)
    this.distinct++
    if (offset < this.highest) this.late++
    else this.highest = offset
  }

  /** What is missing between the first and the last that came, or within what is expected. */
  *holes(within?: Range<Offset>): IterableIterator<Range<Offset>> {
    let first = within?.first
    for (const range of this.seen) {
      if (first !== undefined && first < range.first) yield { first, end: range.first }
      first = range.end
    }
    if (within !== undefined && first !== undefined && first < within.end) {
      yield { first, end: within.end }
    }
  }
}

export class Lanes {
  private readonly byKey = new Map<string, Lane>()
  /** Messages without an origin, and records of lanes past the bound. */
  unmarked = 0
  beyond = 0
  private readonly rangesMax: number
  private ranges = 0

  constructor(rangesMax = RANGES_MAX) {
    this.rangesMax = rangesMax
  }

  see(origin: Origin): void {
    const lane = this.laneOf(origin)
    if (lane === undefined) return
    const before = lane.ranges
    lane.see(origin.offset as Offset)
    this.ranges += lane.ranges - before
    // The lane that asked for one too many keeps what it has.
    if (this.ranges > this.rangesMax) lane.isExact = false
  }

  /** Made at need; undefined past the bound. */
  laneOf(origin: Omit<Origin, 'offset'>): Lane | undefined {
    const key = JSON.stringify([origin.gateway, origin.epoch, origin.stream, origin.partition])
    let lane = this.byKey.get(key)
    if (lane === undefined && this.byKey.size >= LANES_MAX) {
      this.beyond++
      return undefined
    }
    lane ??= new Lane(origin)
    this.byKey.set(key, lane)
    return lane
  }

  /** By gateway, stream, epoch and partition. */
  all(): Lane[] {
    return [...this.byKey.values()].toSorted(
      (a, b) =>
        a.gateway.localeCompare(b.gateway) ||
        a.stream.localeCompare(b.stream) ||
        a.epoch - b.epoch ||
        a.partition - b.partition,
    )
  }
}
