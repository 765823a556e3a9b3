/**
 * A set of whole numbers as half-open ranges. Sequence numbers come nearly in order and nearly all
 * of them come, so that a million readings of a device cost a few ranges and not a million entries.
 */
export class Ranges {
  /** first, end, first, end, …: ascending, never touching. */
  private readonly bounds: number[] = []
  private total = 0

  /** Those that `list` gave. Throws for what is no list of ascending ranges. */
  static of(list: readonly (readonly [number, number])[]): Ranges {
    const ranges = new Ranges()
    for (const [first, end] of list) ranges.addRange(first, end)
    return ranges
  }

  /** How many numbers it holds. */
  get count(): number {
    return this.total
  }

  /** Of how many ranges it is made: what it costs. */
  get pieces(): number {
    return this.bounds.length / 2
  }

  get highest(): number | undefined {
    const end = this.bounds.at(-1)
    return end === undefined ? undefined : end - 1
  }

  has(value: number): boolean {
    return this.placeOf(value) % 2 === 1
  }

  /** False: it was there. */
  add(value: number): boolean {
    const { bounds } = this
    // The next in line, which is nearly always so, costs no search and moves nothing.
    if (bounds.length > 0 && bounds[bounds.length - 1] === value) {
      bounds[bounds.length - 1] = value + 1
    } else {
      const place = this.placeOf(value)
      if (place % 2 === 1) return false
      const joinsLeft = place > 0 && bounds[place - 1] === value
      const joinsRight = bounds[place] === value + 1
      if (joinsLeft && joinsRight) bounds.splice(place - 1, 2)
      else if (joinsLeft) bounds[place - 1] = value + 1
      else if (joinsRight) bounds[place] = value
      else bounds.splice(place, 0, value, value + 1)
    }
    this.total += 1
    return true
  }

  /** [first, end), which must lie behind all that is there. */
  addRange(first: number, end: number): void {
    const last = this.bounds.at(-1) ?? 0
    if (!(Number.isSafeInteger(first) && Number.isSafeInteger(end))) {
      throw new RangeError(`[${first}, ${end}) is no range of whole numbers`)
    }
    if (first < last || end <= first) {
      throw new RangeError(`[${first}, ${end}) does not lie behind ${last}`)
    }
    if (this.bounds.length > 0 && first === last) this.bounds[this.bounds.length - 1] = end
    else this.bounds.push(first, end)
    this.total += end - first
  }

  list(): [number, number][] {
    const list: [number, number][] = []
    for (let i = 0; i < this.bounds.length; i += 2) {
      list.push([this.bounds[i] ?? 0, this.bounds[i + 1] ?? 0])
    }
    return list
  }

  /** The ranges of this set that are not in `other`. */
  without(other: Ranges): [number, number][] {
    const left: [number, number][] = []
    const theirs = other.list()
    let at = 0
    for (const [first, end] of this.list()) {
      let from = first
      while (at < theirs.length && (theirs[at]?.[1] ?? 0) <= from) at += 1
      for (let i = at; i < theirs.length; i += 1) {
        const [theirFirst, theirEnd] = theirs[i] ?? [end, end]
        if (theirFirst >= end) break
        if (theirFirst > from) left.push([from, theirFirst])
        from = Math.max(from, theirEnd)
      }
      if (from < end) left.push([from, end])
    }
    return left
  }

  /** The number of bounds that are at most `value`: odd within a range, even between two. */
  private placeOf(value: number): number {
    let [low, high] = [0, this.bounds.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.bounds[middle] ?? 0) <= value) low = middle + 1
      else high = middle
    }
    return low
  }
}

export function countOf(ranges: readonly (readonly [number, number])[]): number {
  return ranges.reduce((sum, [first, end]) => sum + end - first, 0)
}
