/**
 * A subscriber that fell behind the live tail, or was away, reads the log from where it stopped,
 * page by page, and joins the tail again once it has come to its end. One place per stream; streams
 * have no order among each other.
 *
 * C1. While a stream has a place here, its live records are ignored: they will be read.
 * C2. The place is given up only in the loop turn in which nothing is left to read, so that between
 *     the last page and the first live record there is neither a hole nor a repeat.
 */

import { messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import type { EventLog, LogRecord, Position, RecordPage } from '../../log/log.ts'
import type { MqttStats } from '../stats.ts'
import type { Outbound } from './outbound.ts'
import type { SharedScans } from './shared-scan.ts'
import type { Places, Subscriber } from './subscriber.ts'

const PAGE_RECORDS = 256
const PAGE_BYTES = 256 * 1024
const PAGE_RECORDS_MIN = 16
const PAGE_BYTES_MIN = 16 * 1024
/**
 * Subscribers that read the log with whole pages and one ahead: 16 MiB of pages. When more do
 * (thousands come back after an outage), pages become smaller, down to 16 KiB each.
 */
const WHOLE_PAGES_MAX = 32
/** The reader looks at each record with all filters: with more, reading all is cheaper. */
const FILTERS_MAX = 64

export class CatchUp {
  private readonly subscriber: Subscriber
  private readonly parts: CatchUpParts
  /** Where each stream is read next. */
  private readonly byStream = new Map<string, Position>()
  private reading = false
  private stopped = false

  constructor(subscriber: Subscriber, parts: CatchUpParts) {
    this.subscriber = subscriber
    this.parts = parts
  }

  get isActive(): boolean {
    return this.byStream.size > 0
  }

  get places(): Places {
    return this.byStream
  }

  /** Whether the log will be read for this record, so that it need not be kept (C1). */
  takes(record: LogRecord): boolean {
    return this.byStream.size > 0 && this.byStream.has(record.stream)
  }

  /** Notes that the stream must be read from `position` on; earlier places stay. */
  begin(stream: string, position: Position): void {
    const known = this.byStream.get(stream)
    if (known === undefined || position < known) this.move(stream, position)
  }

  /** The same, also forward. A page that is being read of it is not used. */
  move(stream: string, position: Position): void {
    if (this.byStream.size === 0) this.parts.stats.laggingSubscribers++
    this.byStream.set(stream, position)
  }

  /** Reads on when there is something to read and little of the last page waits. */
  advance(): void {
    if (this.byStream.size === 0 || this.reading || this.stopped) return
    if (!this.subscriber.wantsMore) return
    const [stream, from] = this.byStream.entries().next().value as [string, Position]
    this.reading = true
    if (this.subscriber.hasCursors && !readsAhead(this.parts.stats)) {
      this.parts.scans.ride(this.subscriber, stream, from)
      return
    }
    const share = WHOLE_PAGES_MAX / Math.max(WHOLE_PAGES_MAX, this.parts.stats.laggingSubscribers)
    const filters = this.filters()
    const query = {
      stream,
      from,
      recordsMax: Math.max(PAGE_RECORDS_MIN, Math.floor(PAGE_RECORDS * share)),
      bytesMax: Math.max(PAGE_BYTES_MIN, Math.floor(PAGE_BYTES * share)),
      ...(filters === undefined ? {} : { filters }),
    }
    this.parts.log.read(query).then(
      (page) => this.deliver(stream, from, page),
      (thrown: unknown) => this.fail(stream, thrown),
    )
  }

  stop(): void {
    if (this.byStream.size > 0 && !this.stopped) this.parts.stats.laggingSubscribers--
    this.stopped = true
  }

  /** Its page may have been read for a place that was given up since. */
  rides(stream: string, from: Position): boolean {
    if (!this.stopped && this.byStream.get(stream) === from) return true
    this.leaveScan()
    return false
  }

  scannedTo(stream: string, next: Position): boolean {
    this.passed(stream, next)
    // While it rides, what it is sent makes room for more.
    this.subscriber.outbound.pump()
    if (!this.stopped && this.byStream.get(stream) === next && this.subscriber.wantsMore)
      return true
    this.leaveScan()
    return false
  }

  scanFailed(stream: string, thrown: unknown): void {
    this.fail(stream, thrown)
  }

  private leaveScan(): void {
    this.reading = false
    if (!this.stopped) this.subscriber.outbound.pump()
  }

  /** Only for a session: its cursor tells what is gone, so that nobody must count what it skips. */
  private filters(): readonly string[] | undefined {
    const { filters } = this.subscriber
    return this.subscriber.hasCursors && filters.size <= FILTERS_MAX ? filters.names() : undefined
  }

  private deliver(stream: string, from: Position, page: RecordPage): void {
    this.reading = false
    if (this.stopped) return
    if (this.byStream.get(stream) === from) this.take(stream, from, page)
    this.subscriber.outbound.pump()
    this.parts.flush()
  }

  private take(stream: string, from: Position, page: RecordPage): void {
    if (!this.subscriber.hasCursors) this.countGone(from, page)
    for (const record of page.records) this.subscriber.caughtUp(record)
    this.passed(stream, page.next)
  }

  private passed(stream: string, next: Position): void {
    this.byStream.delete(stream)
    if (next < this.parts.keptEnd(stream)) {
      // Behind the other streams, so that they take turns.
      this.byStream.set(stream, next)
    } else if (this.byStream.size === 0) {
      this.parts.stats.laggingSubscribers--
    }
  }

  /** Every record was asked for, so a jump means records that retention or damage took away. */
  private countGone(from: Position, page: RecordPage): void {
    let expected: number = from
    for (const { position } of page.records) {
      this.parts.stats.dropped['lagged-past-retention'] += position - expected
      expected = position + 1
    }
    this.parts.stats.dropped['lagged-past-retention'] += Math.max(0, page.next - expected)
  }

  private fail(stream: string, thrown: unknown): void {
    this.reading = false
    if (this.stopped) return
    this.parts.logger.error(
      { client: this.subscriber.clientId, stream, reason: messageOf(thrown) },
      'the log cannot be read for a lagging subscriber: it is disconnected',
    )
    this.parts.abandon(this.subscriber.outbound)
  }
}

export interface CatchUpParts {
  readonly log: EventLog
  readonly stats: MqttStats
  readonly logger: Logger
  /** For when many read. */
  readonly scans: SharedScans<Subscriber>
  /** The position behind the last record of the stream that was given to live subscribers. */
  keptEnd(stream: string): Position
  flush(): void
  /** Ends the connection of a client that cannot be served. */
  abandon(outbound: Outbound): void
}

/** Whether a page may be read while another waits: not when many read. */
export function readsAhead(stats: MqttStats): boolean {
  return stats.laggingSubscribers <= WHOLE_PAGES_MAX
}
