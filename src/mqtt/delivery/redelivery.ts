/**
 * What an earlier connection of a session had in flight, sent again before anything else: messages
 * under their old identifiers with DUP, PUBRELs where PUBREC had come, all in their first order
 * [MQTT-4.4.0-1] [MQTT-4.6.0-1]. The messages are read back from the log; one that is no longer
 * there was removed by retention, for which its cursor has a gap.
 */
import { messageOf } from '../../base/errors.ts'
import type { LogRecord, Position } from '../../log/log.ts'
import type { CatchUpParts } from './catch-up.ts'
import type { Filters } from './filters.ts'
import type { Outbound } from './outbound.ts'
import type { Source } from './source.ts'
import type { Receiver } from './subscriber.ts'
import type { InFlight } from './window.ts'

/** Of one read: what is in flight lies close together, or each by itself. */
const PAGE_RECORDS = 256
const PAGE_BYTES = 64 * 1024

interface Page {
  readonly records: ReadonlyMap<Position, LogRecord>
  readonly from: Position
  readonly end: Position
}

export class Redelivery implements Source {
  private readonly outbound: Outbound
  private readonly filters: Filters
  private readonly grants: Receiver
  private readonly parts: CatchUpParts
  private readonly entries: readonly InFlight[]
  /** The last page of each stream; what is in flight goes up in each. */
  private readonly pages = new Map<string, Page>()
  private index = 0
  private reading = false
  private closed = false

  /** `outbound` has resumed the window of its session. */
  constructor(outbound: Outbound, filters: Filters, grants: Receiver, parts: CatchUpParts) {
    this.outbound = outbound
    this.filters = filters
    this.grants = grants
    this.parts = parts
    this.entries = [...outbound.window.entries()].filter(({ isSent }) => !isSent)
  }

  pump(): void {
    if (this.reading || this.closed) return
    for (; this.index < this.entries.length; this.index++) {
      const entry = this.entries[this.index] as InFlight
      if (!this.send(entry)) return
    }
    this.close()
    this.outbound.detach(this)
    this.outbound.pump()
  }

  close(): void {
    this.closed = true
    this.pages.clear()
  }

  /** False when the window, the socket or the log must be waited for. */
  private send(entry: InFlight): boolean {
    if (entry.isSent || this.outbound.window.get(entry.packetId) !== entry) return true
    if (entry.awaited === 'pubcomp') {
      this.outbound.rerelease(entry)
      return true
    }
    if (!this.outbound.canResend) return false
    const page = this.pages.get(entry.stream)
    if (page === undefined || entry.position < page.from || entry.position >= page.end) {
      this.read(entry)
      return false
    }
    const record = page.records.get(entry.position)
    if (record === undefined) {
      this.parts.stats.dropped['lagged-past-retention']++
      this.outbound.window.forget(entry)
      return true
    }
    // Sent before, but the rules may have changed since, or another user took the session over.
    if (!this.grants.mayReceive(record.topic)) {
      this.outbound.window.forget(entry)
      return true
    }
    return this.outbound.republish(record, entry, this.filters.grant(record))
  }

  private read(entry: InFlight): void {
    const { stream, position } = entry
    this.reading = true
    const query = {
      stream,
      from: position,
      recordsMax: this.reach(entry) - position + 1,
      bytesMax: PAGE_BYTES,
    }
    this.parts.log.read(query).then(
      ({ records, next }) => {
        this.reading = false
        if (this.closed) return
        this.pages.set(stream, {
          records: new Map(records.map((record) => [record.position, record])),
          from: position,
          // Also a page that ends before its first record has answered for this position.
          end: Math.max(next, position + 1) as Position,
        })
        this.pump()
        this.parts.flush()
      },
      (thrown: unknown) => this.fail(stream, thrown),
    )
  }

  /** The last position of the stream that a page from `entry` on should hold. */
  private reach(entry: InFlight): Position {
    let last = entry.position
    for (let i = this.index + 1; i < this.entries.length; i++) {
      const other = this.entries[i] as InFlight
      if (other.stream !== entry.stream || other.position < last) continue
      if (other.position >= entry.position + PAGE_RECORDS) break
      last = other.position
    }
    return last
  }

  private fail(stream: string, thrown: unknown): void {
    this.reading = false
    if (this.closed) return
    this.parts.logger.error(
      { client: this.outbound.clientId, stream, reason: messageOf(thrown) },
      'the log cannot be read to send messages again: the client is disconnected',
    )
    this.parts.abandon(this.outbound)
  }
}
