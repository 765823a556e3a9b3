/**
 * A set of positions as half-open ranges: what of an outage a live-first forward still has to send.
 *
 * R1. Ranges are ascending, not empty, and never touch: [3, 5) and [5, 9) are [3, 9).
 * R2. There are at most `rangesMax` of them. One more, and the two with the least between them
 *     become one. The set then says more than is true, which here means records that are sent
 *     twice; it never says less, which would be records that are never sent.
 *
 *     [0, 10)   [12, 20)            [90, 99)      with a third as the most, and [50, 51) added:
 *     [0, ────────── 20)  [50, 51)  [90, 99)
 */
import { assert } from '../base/assert.ts'
import { SluiceError } from '../base/errors.ts'
import type { Position } from '../log/log.ts'

export interface Range<N extends number> {
  readonly first: N
  readonly end: N
}

export type PositionRange = Range<Position>

/** Of positions, or of any other whole numbers from 0. */
export class RangeSet<N extends number = Position> {
  readonly rangesMax: number
  /** first, end, first, end, ...: at a thousand ranges a move of these is a fraction of a µs. */
  private edges: number[] = []
  private total = 0

  constructor(rangesMax: number) {
    assert(Number.isSafeInteger(rangesMax) && rangesMax >= 1, 'a set has room for a range')
    this.rangesMax = rangesMax
  }

  /** How many positions are in it. */
  get size(): number {
    return this.total
  }

  /** How many ranges it takes to say so. */
  get ranges(): number {
    return this.edges.length / 2
  }

  /** The lowest range; undefined when the set is empty. */
  get first(): Range<N> | undefined {
    return this.rangeAt(0)
  }

  /** The highest range; undefined when the set is empty. */
  get last(): Range<N> | undefined {
    return this.rangeAt(this.edges.length - 2)
  }

  contains(position: N): boolean {
    // Inside a range an odd number of edges is at or below the position.
    return this.edgesUpTo(position) % 2 === 1
  }

  /** Adds [first, end); an empty range is nothing. */
  add(first: N, end: N): void {
    if (first >= end) return
    const from = this.edgesBelow(first)
    const to = this.edgesUpTo(end)
    // An even count is outside a range: then the edge is ours to place.
    this.replace(from, to, from % 2 === 0 ? first : undefined, to % 2 === 0 ? end : undefined)
    if (this.ranges > this.rangesMax) this.joinNearest()
  }

  /** Takes [first, end) out. In the middle of a range this makes two, which the bound may join. */
  remove(first: N, end: N): void {
    if (first >= end) return
    const from = this.edgesBelow(first)
    const to = this.edgesUpTo(end)
    this.replace(from, to, from % 2 === 1 ? first : undefined, to % 2 === 1 ? end : undefined)
    if (this.ranges > this.rangesMax) this.joinNearest()
  }

  *[Symbol.iterator](): IterableIterator<Range<N>> {
    for (let index = 0; index < this.edges.length; index += 2) {
      yield this.rangeAt(index) as Range<N>
    }
  }

  /** The differences from edge to edge as base-128 numbers, lowest digits first, 1 byte or more. */
  encode(): Uint8Array {
    const bytes: number[] = []
    let before = 0
    for (const edge of this.edges) {
      let rest = edge - before
      before = edge
      while (rest >= 128) {
        bytes.push((rest % 128) + 128)
        rest = Math.floor(rest / 128)
      }
      bytes.push(rest)
    }
    return Uint8Array.from(bytes)
  }

  /** What `encode` gave. Throws `state-damaged` for anything else. */
  static decode<N extends number = Position>(bytes: Uint8Array, rangesMax: number): RangeSet<N> {
    const set = new RangeSet<N>(rangesMax)
    const edges: number[] = []
    let edge = 0
    let value = 0
    let scale = 1
    for (const byte of bytes) {
      value += (byte & 127) * scale
      scale *= 128
      if (byte >= 128) continue
      edge += value
      if (!Number.isSafeInteger(edge) || (value === 0 && edges.length > 0)) throw damaged()
      edges.push(edge)
      value = 0
      scale = 1
    }
    if (scale > 1 || edges.length % 2 === 1) throw damaged()
    for (let index = 0; index < edges.length; index += 2) {
      set.add(edges[index] as N, edges[index + 1] as N)
    }
    return set
  }

  private rangeAt(index: number): Range<N> | undefined {
    const [first, end] = [this.edges[index], this.edges[index + 1]]
    if (first === undefined || end === undefined) return undefined
    return { first: first as N, end: end as N }
  }

  /** Puts what is defined in the place of the edges [from, to). */
  private replace(from: number, to: number, one?: number, two?: number): void {
    let change = 0
    for (let index = from; index < to; index++) {
      const edge = this.edges[index] as number
      change += index % 2 === 0 ? edge : -edge
    }
    const placed: number[] = []
    if (one !== undefined) placed.push(one)
    if (two !== undefined) placed.push(two)
    for (const [offset, edge] of placed.entries()) {
      change += (from + offset) % 2 === 0 ? -edge : edge
    }
    this.edges.splice(from, to - from, ...placed)
    this.total += change
  }

  private joinNearest(): void {
    let nearest = 1
    let least = Number.POSITIVE_INFINITY
    for (let index = 1; index < this.edges.length - 1; index += 2) {
      const between = (this.edges[index + 1] as number) - (this.edges[index] as number)
      if (between >= least) continue
      least = between
      nearest = index
    }
    this.edges.splice(nearest, 2)
    this.total += least
  }

  /** How many edges are below `position`. */
  private edgesBelow(position: number): number {
    return this.search((edge) => edge < position)
  }

  /** How many edges are at or below `position`. */
  private edgesUpTo(position: number): number {
    return this.search((edge) => edge <= position)
  }

  private search(isBefore: (edge: number) => boolean): number {
    let [low, high] = [0, this.edges.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if (isBefore(this.edges[middle] as number)) low = middle + 1
      else high = middle
    }
    return low
  }
}

function damaged(): SluiceError {
  return new SluiceError('state-damaged', 'the ranges that a bridge has kept are not readable')
}
