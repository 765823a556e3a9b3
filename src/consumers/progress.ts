/**
 * Which messages of a queue are settled: all below a floor, and ranges above it, because workers
 * finish in any order. Ranges are at most as many as messages that are loaded and not settled.
 */
export type Range = readonly [first: number, end: number]

export class Progress {
  /** The first position that is not settled. */
  floor: number
  /** Settled above the floor. */
  aheadCount = 0
  private readonly endOf = new Map<number, number>()
  private readonly firstOf = new Map<number, number>()

  constructor(floor: number, ahead: readonly Range[] = []) {
    this.floor = floor
    for (const [first, end] of ahead) this.settle(first, end)
  }

  /** Settles [first, end): one that was not settled yet, or a range with whatever is in it. */
  settle(first: number, end: number = first + 1): void {
    const from = Math.max(first, this.floor)
    if (end <= from) return
    if (end - from > 1) this.absorb(from, end)
    this.aheadCount += end - from
    const begin = this.firstOf.get(from) ?? from
    const stop = this.endOf.get(end) ?? end
    this.remove(begin, from)
    this.remove(end, stop)
    if (begin === this.floor) {
      this.aheadCount -= stop - begin
      this.floor = stop
      return
    }
    this.endOf.set(begin, stop)
    this.firstOf.set(stop, begin)
  }

  /** The ranges above the floor, in order. */
  get ahead(): readonly Range[] {
    return [...this.endOf].sort(([a], [b]) => a - b)
  }

  /** Cuts what is settled of [from, end) out, so that none of it counts twice. */
  private absorb(from: number, end: number): void {
    for (const [first, stop] of this.ahead) {
      if (stop <= from || first >= end) continue
      this.remove(first, stop)
      this.aheadCount -= stop - first
      if (first < from) this.add(first, from)
      if (stop > end) this.add(end, stop)
    }
  }

  private add(first: number, end: number): void {
    this.endOf.set(first, end)
    this.firstOf.set(end, first)
    this.aheadCount += end - first
  }

  private remove(first: number, end: number): void {
    if (first === end) return
    this.endOf.delete(first)
    this.firstOf.delete(end)
  }
}

/** Whether positions that are asked in rising order lie in one of `ranges`, which are in order. */
export function within(ranges: readonly Range[]): (position: number) => boolean {
  let index = 0
  return (position) => {
    for (let range = ranges[index]; range !== undefined; range = ranges[++index]) {
      if (position < range[1]) return position >= range[0]
    }
    return false
  }
}
