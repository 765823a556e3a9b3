/**
 * A subscriber that fell behind the live tail reads the log from where it stopped, page by page,
 * and joins the tail again once it has come to its end. One place per stream; streams have no order
 * among each other.
 *
 * C1. While a stream has a place here, its live records are ignored: they will be read.
 * C2. The place is given up only in the loop turn in which nothing is left to read, so that between
 *     the last page and the first live record there is neither a hole nor a repeat.
 */

import { messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import type { EventLog, LogRecord, Position, RecordPage } from '../../log/log.ts'
import type { MqttStats } from '../stats.ts'
import type { Subscriber } from './subscriber.ts'
import type { SubscriptionTree } from './subscriptions.ts'

const PAGE_RECORDS = 256
const PAGE_BYTES = 256 * 1024

export class CatchUp {
  private readonly subscriber: Subscriber
  private readonly parts: CatchUpParts
  /** Where each stream is read next. */
  private readonly places = new Map<string, Position>()
  private reading = false
  private stopped = false

  constructor(subscriber: Subscriber, parts: CatchUpParts) {
    this.subscriber = subscriber
    this.parts = parts
  }

  /** Whether the log will be read for this record, so that it need not be kept (C1). */
  takes(record: LogRecord): boolean {
    return this.places.size > 0 && this.places.has(record.stream)
  }

  /** Notes that the stream must be read from `record` on; earlier places stay. */
  begin(record: LogRecord): void {
    if (this.places.has(record.stream)) return
    if (this.places.size === 0) this.parts.stats.laggingSubscribers++
    this.places.set(record.stream, record.position)
  }

  /** Reads on when there is something to read and nothing of the last page waits. */
  advance(): void {
    if (this.places.size === 0 || this.reading || this.stopped || !this.subscriber.isDrained) return
    const [stream, from] = this.places.entries().next().value as [string, Position]
    this.reading = true
    const query = { stream, from, recordsMax: PAGE_RECORDS, bytesMax: PAGE_BYTES }
    this.parts.log.read(query).then(
      (page) => this.deliver(stream, page),
      (thrown: unknown) => this.fail(stream, thrown),
    )
  }

  stop(): void {
    if (this.places.size > 0 && !this.stopped) this.parts.stats.laggingSubscribers--
    this.stopped = true
    this.places.clear()
  }

  private deliver(stream: string, page: RecordPage): void {
    this.reading = false
    if (this.stopped) return
    this.countGone(stream, page)
    for (const record of page.records) {
      const match = this.parts.tree
        .match(record.topic)
        .find(({ subscriber }) => subscriber === this.subscriber)
      if (match !== undefined) this.subscriber.caughtUp(record, match)
    }
    this.places.delete(stream)
    if (page.next < this.parts.keptEnd(stream)) {
      // Behind the other streams, so that they take turns.
      this.places.set(stream, page.next)
    } else if (this.places.size === 0) {
      this.parts.stats.laggingSubscribers--
    }
    this.subscriber.pump()
    this.parts.flush()
  }

  /** Every record is asked for, so a jump means records that retention or damage took away. */
  private countGone(stream: string, page: RecordPage): void {
    let expected: number = this.places.get(stream) ?? page.next
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
    this.parts.abandon(this.subscriber)
  }
}

export interface CatchUpParts {
  readonly log: EventLog
  readonly tree: SubscriptionTree<Subscriber>
  readonly stats: MqttStats
  readonly logger: Logger
  /** The position behind the last record of the stream that was given to live subscribers. */
  keptEnd(stream: string): Position
  flush(): void
  /** Ends the connection of a subscriber that cannot be served. */
  abandon(subscriber: Subscriber): void
}
