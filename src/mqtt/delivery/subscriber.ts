/**
 * One client's own subscriptions as a source: a short queue, and a cursor over the log for when the
 * queue is not enough or the client was away.
 *
 * D1. A message matched once is sent once, at the lower of its QoS and the granted one
 *     [MQTT-3.8.4-8].
 * D2. Messages of one partition leave in offset order: while anything waits, nothing overtakes it.
 * D3. What waits is bounded: by the queue's length here, by the tail cache for the bytes. A QoS 1
 *     or 2 message that no longer fits is not lost: the subscriber falls behind and reads the log
 *     instead.
 *     QoS 0 and unlogged messages that no longer fit are dropped and counted.
 * D4. Nothing here ever waits for the subscriber: neither the publisher nor other subscribers
 *     notice it.
 */
import { Deque } from '../../base/deque.ts'
import type { LogRecord, Position, QoS } from '../../log/log.ts'
import type { MqttStats } from '../stats.ts'
import { CatchUp, type CatchUpParts, readsAhead } from './catch-up.ts'
import type { Filters } from './filters.ts'
import type { Outbound } from './outbound.ts'
import type { Rider } from './shared-scan.ts'
import type { Source } from './source.ts'
import type { Grant } from './subscriptions.ts'

/** Enough for bursts; a longer lag is cheaper as a position in the log than as a list in memory. */
const QUEUE_LENGTH_MAX = 8192

/** Unlogged messages own their memory, which no tail cache bounds. */
const UNLOGGED_BYTES_MAX = 1024 * 1024

/** The catch-up reads the next page while so much of the last one still waits. */
const READ_AHEAD_RECORDS = 256

interface Waiting {
  readonly record: LogRecord
  readonly grant: Grant
}

/** Told of each live message while retained messages are being sent. */
export interface LiveWatch {
  /** False: the live message must wait until the retained ones are sent. */
  saw(record: LogRecord): boolean
}

/** What the client may get of what it subscribes to. */
export interface Receiver {
  mayReceive(topic: string): boolean
}

/** By stream. */
export type Places = ReadonlyMap<string, Position>

/** Where a session that was away goes on. */
export interface Resumption {
  /** Where each stream is read from; a stream that is not named goes on live. */
  readonly places: Places
  /** QoS 0 messages before these are not sent: they are not kept for who is away. */
  readonly qos0From: Places
  /** QoS 1 messages before these may have been sent before a crash: they go out with DUP. */
  readonly dupBefore: Places | undefined
}

export class Subscriber implements Source, Rider {
  readonly clientId: string
  readonly filters: Filters
  readonly outbound: Outbound
  readonly grants: Receiver
  /** A cursor per stream stands for it, also while it is away. */
  readonly hasCursors: boolean
  private readonly stats: MqttStats
  private readonly queue = new Deque<Waiting>()
  private readonly catchUpParts: CatchUpParts
  /** Made when the subscriber first falls behind, which few ever do. */
  private catchUp: CatchUp | undefined
  private resumption: Resumption | undefined
  private watches: readonly LiveWatch[] | undefined
  /** Of the unlogged messages in the queue. */
  private unloggedBytes = 0
  private closed = false

  constructor(
    outbound: Outbound,
    filters: Filters,
    grants: Receiver,
    hasCursors: boolean,
    stats: MqttStats,
    catchUpParts: CatchUpParts,
  ) {
    this.clientId = outbound.clientId
    this.grants = grants
    this.hasCursors = hasCursors
    this.outbound = outbound
    this.filters = filters
    this.stats = stats
    this.catchUpParts = catchUpParts
  }

  /** A message that was just kept, or that no stream takes. */
  live(record: LogRecord, match: Grant): void {
    if (this.catchUp?.takes(record) === true) return
    if (this.watches !== undefined && !this.seen(record)) {
      this.keep(record, match)
    } else if (this.queue.length > 0 || !this.send(record, match)) {
      this.keep(record, match)
    }
  }

  /** A message that the catch-up read; the queue may grow by a page beyond its limit. */
  caughtUp(record: LogRecord): void {
    const grant = this.filters.grant(record)
    if (grant === undefined || this.isTooLate(record, grant)) return
    if (!this.grants.mayReceive(record.topic)) return
    this.enqueue(record, grant)
  }

  /** Sends what waits, as far as window and socket allow. */
  pump(): void {
    for (let next = this.queue.peek(); next !== undefined; next = this.queue.peek()) {
      if (!next.record.inMemory) {
        this.fallBehind()
        break
      }
      if (this.watches !== undefined && !this.seen(next.record)) break
      if (!this.send(next.record, next.grant)) break
      this.dequeue()
    }
    this.catchUp?.advance()
    if (this.filters.hasSince && !this.isBehind) this.filters.forgetSince()
  }

  rides(stream: string, from: Position): boolean {
    return this.reading().rides(stream, from)
  }

  scanned(record: LogRecord): void {
    this.caughtUp(record)
  }

  scannedTo(stream: string, next: Position): boolean {
    return this.reading().scannedTo(stream, next)
  }

  scanFailed(stream: string, thrown: unknown): void {
    this.reading().scanFailed(stream, thrown)
  }

  /** Whether the catch-up may read on: little of what it read waits. */
  get wantsMore(): boolean {
    return this.queue.length < (readsAhead(this.stats) ? READ_AHEAD_RECORDS : 1)
  }

  /** Whether something older than the live tail is still to be sent. */
  get isBehind(): boolean {
    return this.queue.length > 0 || this.catchUp?.isActive === true
  }

  /** Reads on where the session was left; called before anything else is. */
  resume(resumption: Resumption): void {
    this.resumption = resumption
    for (const [stream, position] of resumption.places) this.reading().begin(stream, position)
  }

  /** Somebody moved the session's place in a stream: what waits of it is given up for that. */
  move(stream: string, to: Position): void {
    const waiting: Waiting[] = []
    for (let next = this.dequeue(); next !== undefined; next = this.dequeue()) waiting.push(next)
    for (const { record, grant } of waiting) {
      if (record.stream !== stream) this.enqueue(record, grant)
    }
    this.reading().move(stream, to)
    this.outbound.pump()
  }

  /** What waits and may no longer be had goes: the rules have changed. */
  accessChanged(): void {
    for (let left = this.queue.length; left > 0; left--) {
      const next = this.dequeue()
      if (next !== undefined && this.grants.mayReceive(next.record.topic)) {
        this.enqueue(next.record, next.grant)
      }
    }
  }

  /** The next record of each stream that was not given to the client; the live end without one. */
  next(): Map<string, Position> {
    const next = new Map<string, Position>(this.catchUp?.places)
    for (
      let index = 0, item = this.queue.at(0);
      item !== undefined;
      item = this.queue.at(++index)
    ) {
      const { stream, position } = item.record
      const known = next.get(stream)
      if (stream !== '' && (known === undefined || position < known)) next.set(stream, position)
    }
    return next
  }

  /** `watch` is told of live topics until `unwatch`. */
  watch(watch: LiveWatch): void {
    this.watches = [...(this.watches ?? []), watch]
  }

  unwatch(watch: LiveWatch): void {
    const left = this.watches?.filter((one) => one !== watch) ?? []
    this.watches = left.length === 0 ? undefined : left
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    // What waits for a session is still in the log.
    if (!this.hasCursors) this.stats.dropped['subscriber-gone'] += this.queue.length
    this.queue.clear()
    this.catchUp?.stop()
  }

  /** False when it must wait. True also when the message is not for this subscriber after all. */
  private send(record: LogRecord, grant: Grant): boolean {
    const own = record.client === this.clientId
    const granted = own ? grant.ownQos : grant.qos
    if (granted === undefined) return true
    const qos = Math.min(granted, record.qos) as QoS
    const retain = grant.retainAsPublished && record.retain
    const dup = this.resumption !== undefined && qos === 1 && this.mayBeRepeated(record)
    return this.outbound.publish(record, qos, retain, dup, grant.ids)
  }

  private seen(record: LogRecord): boolean {
    let mayGo = true
    for (const watch of this.watches ?? []) if (!watch.saw(record)) mayGo = false
    return mayGo
  }

  private mayBeRepeated(record: LogRecord): boolean {
    return record.position < (this.resumption?.dupBefore?.get(record.stream) ?? 0)
  }

  private isTooLate(record: LogRecord, grant: Grant): boolean {
    if (this.resumption === undefined || !this.isBestEffort(record, grant)) return false
    return record.position < (this.resumption.qos0From.get(record.stream) ?? 0)
  }

  private keep(record: LogRecord, grant: Grant): void {
    if (this.hasPlaceFor(record)) this.enqueue(record, grant)
    else this.overflow(record, grant)
  }

  private overflow(record: LogRecord, grant: Grant): void {
    if (this.isBestEffort(record, grant)) {
      this.stats.dropped['slow-subscriber']++
      return
    }
    this.fallBehind().begin(record.stream, record.position)
  }

  private reading(): CatchUp {
    this.catchUp ??= new CatchUp(this, this.catchUpParts)
    return this.catchUp
  }

  /** Gives the queue up for a place in the log, from which it is read again (D3). */
  private fallBehind(): CatchUp {
    const catchUp = this.reading()
    for (let next = this.dequeue(); next !== undefined; next = this.dequeue()) {
      const { record, grant } = next
      if (this.isBestEffort(record, grant)) this.stats.dropped['slow-subscriber']++
      else catchUp.begin(record.stream, record.position)
    }
    return catchUp
  }

  private hasPlaceFor(record: LogRecord): boolean {
    if (this.queue.length >= QUEUE_LENGTH_MAX) return false
    return record.stream !== '' || this.unloggedBytes + record.sizeBytes <= UNLOGGED_BYTES_MAX
  }

  private enqueue(record: LogRecord, grant: Grant): void {
    if (record.stream === '') this.unloggedBytes += record.sizeBytes
    this.queue.push({ record, grant })
  }

  private dequeue(): Waiting | undefined {
    const next = this.queue.shift()
    if (next?.record.stream === '') this.unloggedBytes -= next.record.sizeBytes
    return next
  }

  private isBestEffort(record: LogRecord, grant: Grant): boolean {
    return record.stream === '' || record.qos === 0 || grant.qos === 0
  }
}
