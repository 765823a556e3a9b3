/** The followers of one query, by the place at which they stand. */
import type { ServerResponse } from 'node:http'
import type { Position } from '../../log/log.ts'
import type { Narrowed } from './stream-query.ts'

/** Nearer than this to the foremost, a new follower is waited for, so that they become one. */
const NEAR_RECORDS = 8192

export interface Reader {
  /** The first position that its clients have not got. */
  next: Position
  readonly clients: Set<ServerResponse>
  /** Its clients were left out because they did not read: nobody waits for them. */
  isSlow: boolean
  caughtUp: boolean
}

export class Lane {
  readonly key: string
  readonly query: Narrowed
  /** Rises with each batch that the stream keeps. */
  growth = 0
  private readers: Reader[] = []
  /** Clients in no reader too: they have not read what they got. */
  private readonly clients = new Set<ServerResponse>()
  private turn = 0

  constructor(key: string, query: Narrowed) {
    this.key = key
    this.query = query
  }

  get isEmpty(): boolean {
    return this.clients.size === 0
  }

  join(client: ServerResponse, next: Position, isSlow: boolean): void {
    this.clients.add(client)
    const there = this.readers.find((one) => one.next === next)
    if (there === undefined) {
      this.readers.push({ next, clients: new Set([client]), isSlow, caughtUp: false })
      return
    }
    there.clients.add(client)
    there.isSlow &&= isSlow
  }

  leave(client: ServerResponse): void {
    this.clients.delete(client)
    for (const reader of this.readers) reader.clients.delete(client)
  }

  drop(reader: Reader): void {
    this.readers = this.readers.filter((one) => one !== reader)
  }

  /** The stream has more. */
  grown(): void {
    this.growth++
    for (const reader of this.readers) reader.caughtUp = false
  }

  /**
   * Whose page is read now; undefined: all have everything. In turn the hindmost of those near the
   * front, and one of the others: history and slow clients hold up nobody who is live.
   */
  next(): Reader | undefined {
    this.readers = this.readers.filter(({ clients }) => clients.size > 0)
    const waiting = this.readers.filter(({ caughtUp }) => !caughtUp)
    if (waiting.length < 2) return waiting[0]
    const front = Math.max(...this.readers.map(({ next }) => next))
    const isNear = ({ next, isSlow }: Reader): boolean => !isSlow && front - next < NEAR_RECORDS
    const near = waiting.filter(isNear).sort((a, b) => a.next - b.next)
    const others = waiting.filter((one) => !isNear(one))
    this.turn++
    const other = others[(this.turn >> 1) % others.length]
    return this.turn % 2 === 0 ? (near[0] ?? other) : (other ?? near[0])
  }

  /** Where the reader before this one stands. */
  limitOf({ next }: Reader): number {
    let limit = Number.POSITIVE_INFINITY
    for (const one of this.readers) if (one.next > next && one.next < limit) limit = one.next
    return limit
  }

  /** Moves a reader; where another stands already, they become one. */
  advance(reader: Reader, next: Position, caughtUp: boolean): void {
    reader.next = next
    reader.caughtUp = caughtUp
    const other = this.readers.find((one) => one !== reader && one.next === next)
    if (other === undefined) return
    for (const client of reader.clients) other.clients.add(client)
    other.caughtUp &&= caughtUp
    other.isSlow &&= reader.isSlow
    this.drop(reader)
  }
}
