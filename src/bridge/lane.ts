/**
 * One ordered way from the log to the upstream: reads ahead in pages, hands out record after
 * record, and knows up to where everything is settled.
 *
 *      acked            next              readAt
 *   ───────┼───────────────┼─────────────────┼──────────────▶ positions
 *  settled │   in flight   │  pages in memory │ in the log
 *
 * B1. `acked` moves only over records that the upstream acknowledged, that have a durable gap, or
 *     that are none of this forward's: in order, whatever the order of the acks.
 * B2. What is in flight when a link ends is handed out again, from `acked` on. An answer to what
 *     was handed out before a `reset` counts for nothing.
 * B3. In memory are at most three pages and what is in flight.
 */
import { Deque } from '../base/deque.ts'
import type { LogRecord, RecordPage } from '../log/log.ts'
import type { PublishWaiter } from './uplink.ts'

export interface LaneSource {
  /** A page of this forward's records from a position on. */
  read(from: number): Promise<RecordPage>
  /** Behind the last record that is kept. */
  keptEnd(): number
  /** There is something to send. */
  wake(): void
  /** Something in flight is settled. */
  progressed(): void
  /** The log could not be read; asked for again by the next `peek`. */
  unreadable(thrown: unknown): void
  /** The upstream does not take it: what becomes of it? */
  refused(flight: Flight, reason: number): void
}

/** Beside the page that is being sent: with one the reader thread stood still half of the time. */
const AHEAD_PAGES = 2

/** What goes as one: a record, a batch of them, or a gap on its way to disk. */
export class Flight implements PublishWaiter {
  readonly lane: Lane
  readonly first: number
  /** Which `reset` of its lane it came after. */
  readonly era: number
  /** Behind its last record. */
  end: number
  records = 0
  sizeBytes = 0
  isSettled = false

  constructor(lane: Lane, first: number, era: number) {
    this.lane = lane
    this.first = first
    this.era = era
    this.end = first
  }

  /** Takes in a record, the next of its lane. */
  add(record: LogRecord): void {
    this.end = record.position + 1
    this.records++
    this.sizeBytes += record.sizeBytes
  }

  /** Its lane was reset since: what becomes of it is nobody's matter. */
  get isForgotten(): boolean {
    return !this.lane.isCurrent(this)
  }

  settled(reason: number): void {
    this.lane.settle(this, reason)
  }
}

export class Lane {
  /** No record from here on is this lane's. */
  end: number
  /** Records that the upstream acknowledged. */
  sentRecords = 0
  /** Of these, the ones that `acked` has moved over: they wait only for their place on disk. */
  doneRecords = 0
  private readonly source: LaneSource
  private nextPosition: number
  private readAt: number
  private page: readonly LogRecord[] = []
  private index = 0
  private pageNext: number
  private ahead: RecordPage[] = []
  private reading = false
  private generation = 0
  private era = 0
  private flights = new Deque<Flight>()

  constructor(source: LaneSource, from: number, end: number) {
    this.source = source
    this.nextPosition = from
    this.readAt = from
    this.pageNext = from
    this.end = end
  }

  get inflight(): number {
    return this.flights.length
  }

  /** Before it nothing is left to do (B1). */
  get acked(): number {
    return this.flights.peek()?.first ?? this.nextPosition
  }

  get next(): number {
    return this.nextPosition
  }

  get isDone(): boolean {
    return this.acked >= this.end
  }

  /** Forgets what is in flight and goes on from `position` (B2), up to `end` where it is given. */
  reset(position: number, end: number = this.end): void {
    this.era++
    this.flights = new Deque()
    this.readFrom(position)
    this.end = end
  }

  /** Leaves out what was not handed out yet, up to `position`. */
  skipTo(position: number): void {
    this.readFrom(position)
  }

  /** The next record; undefined while there is none, or none is read yet. */
  peek(): LogRecord | undefined {
    for (;;) {
      const record = this.page[this.index]
      if (record !== undefined) {
        if (record.position < this.end) return record
        this.nextPosition = this.end
        return undefined
      }
      this.nextPosition = Math.max(this.nextPosition, Math.min(this.pageNext, this.end))
      const ahead = this.ahead.shift()
      if (ahead === undefined) break
      this.page = ahead.records
      this.pageNext = ahead.next
      this.index = 0
      this.readAhead()
    }
    this.readAhead()
    return undefined
  }

  /** Passes the record that `peek` gave. */
  take(record: LogRecord): void {
    this.index++
    this.nextPosition = record.position + 1
  }

  /** Something in flight that begins with the record that `peek` gave; `add` takes it in. */
  open(record: LogRecord): Flight {
    const flight = new Flight(this, record.position, this.era)
    this.flights.push(flight)
    return flight
  }

  isCurrent(flight: Flight): boolean {
    return flight.era === this.era
  }

  settle(flight: Flight, reason: number): void {
    if (!this.isCurrent(flight)) {
      this.source.progressed()
      return
    }
    if (reason !== 0) {
      this.source.refused(flight, reason)
      return
    }
    flight.isSettled = true
    this.sentRecords += flight.records
    for (let first = this.flights.peek(); first?.isSettled; first = this.flights.peek()) {
      this.flights.shift()
      this.doneRecords += first.records
    }
    this.source.progressed()
  }

  private readFrom(position: number): void {
    this.generation++
    this.reading = false
    this.page = []
    this.index = 0
    this.ahead = []
    this.nextPosition = position
    this.readAt = position
    this.pageNext = position
  }

  private readAhead(): void {
    const wanted = Math.min(this.end, this.source.keptEnd())
    if (this.reading || this.ahead.length >= AHEAD_PAGES || this.readAt >= wanted) return
    const { generation } = this
    this.reading = true
    this.source.read(this.readAt).then(
      (page) => {
        if (generation !== this.generation) return
        this.reading = false
        this.ahead.push(page)
        this.readAt = page.next
        this.readAhead()
        this.source.wake()
      },
      (thrown: unknown) => {
        if (generation !== this.generation) return
        this.reading = false
        this.source.unreadable(thrown)
      },
    )
  }
}
