import type { LogRecord } from './record.ts'

const CAPACITY_FIRST = 64

/**
 * The newest records of one stream, by position: [first, end) without a hole, in a ring whose
 * places are the low bits of the position. Those that wait for the disk are in it too.
 */
export class Tail {
  first: number
  end: number
  private ring: (LogRecord | undefined)[] = new Array(CAPACITY_FIRST)

  constructor(position: number) {
    this.first = position
    this.end = position
  }

  push(record: LogRecord): void {
    if (this.end - this.first === this.ring.length) this.resize(this.ring.length * 2)
    this.ring[this.end & (this.ring.length - 1)] = record
    this.end++
  }

  /** The record at a position, undefined outside [first, end). */
  at(position: number): LogRecord | undefined {
    if (position < this.first || position >= this.end) return undefined
    return this.ring[position & (this.ring.length - 1)]
  }

  /** Puts a copy of the record at its position in its place, and evicts that one. */
  replace(copy: LogRecord): void {
    const place = copy.position & (this.ring.length - 1)
    this.ring[place]?.evict()
    this.ring[place] = copy
  }

  /** The records of [from, end), both inside. */
  slice(from: number, end: number): LogRecord[] {
    const records: LogRecord[] = []
    const mask = this.ring.length - 1
    for (let position = from; position < end; position++) {
      records.push(this.ring[position & mask] as LogRecord)
    }
    return records
  }

  /** Evicts and drops what is before `position`. */
  dropBefore(position: number): void {
    const until = Math.min(position, this.end)
    const mask = this.ring.length - 1
    for (; this.first < until; this.first++) {
      this.ring[this.first & mask]?.evict()
      this.ring[this.first & mask] = undefined
    }
    const held = this.end - this.first
    if (this.ring.length > CAPACITY_FIRST && held < this.ring.length / 8) {
      this.resize(this.ring.length / 2)
    }
  }

  /** Drops what is from `position` on, without evicting it. */
  dropFrom(position: number): void {
    const mask = this.ring.length - 1
    for (; this.end > position; this.end--) this.ring[(this.end - 1) & mask] = undefined
  }

  private resize(capacity: number): void {
    const records = this.slice(this.first, this.end)
    this.ring = new Array(capacity)
    for (const record of records) this.ring[record.position & (capacity - 1)] = record
  }
}
