/**
 * The delivery engine of one connected subscriber: window, packet identifiers, a short queue, and a
 * cursor over the log for when the queue is not enough.
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
import type { LogRecord, QoS } from '../../log/log.ts'
import type { MqttStats } from '../stats.ts'
import type { Output } from '../wire/output.ts'
import { longAck, Reason, varintBytes } from '../wire/packets.ts'
import { remainingLengthOf, writePublish } from '../wire/publish.ts'
import { CatchUp, type CatchUpParts } from './catch-up.ts'
import type { Match } from './subscriptions.ts'
import { Window } from './window.ts'

/** Enough for bursts; a longer lag is cheaper as a position in the log than as a list in memory. */
const QUEUE_LENGTH_MAX = 8192

/** Unlogged messages own their memory, which no tail cache bounds. */
const UNLOGGED_BYTES_MAX = 1024 * 1024

const PUBREL_FIRST = 0x62
const NO_IDS: readonly number[] = []

export interface SubscriberLimits {
  readonly inflightMax: number
  /** What the client takes; larger messages are dropped for it [MQTT-3.1.2-24]. */
  readonly packetBytesMax: number
}

interface Waiting {
  readonly record: LogRecord
  readonly match: Match<Subscriber>
}

export class Subscriber {
  readonly clientId: string
  private readonly version: number
  private readonly window: Window
  private readonly packetBytesMax: number
  private readonly output: Output
  private readonly stats: MqttStats
  private readonly queue = new Deque<Waiting>()
  private readonly catchUpParts: CatchUpParts
  /** Made when the subscriber first falls behind, which few ever do. */
  private catchUp: CatchUp | undefined
  /** Of the unlogged messages in the queue. */
  private unloggedBytes = 0
  private closed = false

  constructor(
    clientId: string,
    version: number,
    limits: SubscriberLimits,
    output: Output,
    stats: MqttStats,
    catchUpParts: CatchUpParts,
  ) {
    this.clientId = clientId
    this.version = version
    this.window = new Window(limits.inflightMax)
    this.packetBytesMax = limits.packetBytesMax
    this.output = output
    this.stats = stats
    this.catchUpParts = catchUpParts
  }

  /** A message that was just kept, or that no stream takes. */
  live(record: LogRecord, match: Match<Subscriber>): void {
    if (this.catchUp?.takes(record) === true) return
    if (this.queue.length === 0 && this.send(record, match)) return
    if (this.hasPlaceFor(record)) this.enqueue(record, match)
    else this.overflow(record, match)
  }

  /** A message that the catch-up read; the queue may grow by a page beyond its limit. */
  caughtUp(record: LogRecord, match: Match<Subscriber>): void {
    this.enqueue(record, match)
  }

  /** Sends what waits, as far as window and socket allow. */
  pump(): void {
    for (let next = this.queue.peek(); next !== undefined; next = this.queue.peek()) {
      if (!next.record.inMemory) {
        this.fallBehind()
        break
      }
      if (!this.send(next.record, next.match)) return
      this.dequeue()
    }
    this.catchUp?.advance()
  }

  /** The catch-up reads on only once nothing of it waits. */
  get isDrained(): boolean {
    return this.queue.length === 0
  }

  get inflightCount(): number {
    return this.window.count
  }

  puback(id: number): void {
    if (this.window.puback(id)) this.pump()
  }

  pubrec(id: number, reason: number): void {
    if (reason >= 0x80) {
      if (this.window.pubrecRefused(id)) this.pump()
    } else if (this.window.pubrec(id)) {
      this.output.ack(PUBREL_FIRST, id)
    } else if (this.version === 5) {
      // PUBREL says so [MQTT5 3.6.2.1]; MQTT 3.1.1 has no word for it.
      this.output.bytes(longAck(PUBREL_FIRST, id, Reason.packetIdentifierNotFound))
    } else {
      this.output.ack(PUBREL_FIRST, id)
    }
  }

  pubcomp(id: number): void {
    if (this.window.pubcomp(id)) this.pump()
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    this.stats.dropped['subscriber-gone'] += this.queue.length
    this.queue.clear()
    this.catchUp?.stop()
  }

  /** False when it must wait. True also when the message is not for this subscriber after all. */
  private send(record: LogRecord, match: Match<Subscriber>): boolean {
    const own = record.client === this.clientId
    const granted = own ? match.ownQos : match.qos
    if (granted === undefined) return true
    const qos = Math.min(granted, record.qos) as QoS
    if (!this.output.hasRoom || (qos > 0 && !this.window.hasRoom)) return false
    const ids = this.version === 5 ? match.ids : NO_IDS
    const remaining = remainingLengthOf(record, this.version, qos, ids)
    const size = 1 + varintBytes(remaining) + remaining
    if (size > this.packetBytesMax) {
      this.stats.dropped['too-large-for-subscriber']++
      return true
    }
    const packetId = qos === 0 ? 0 : this.window.open(qos)
    const retain = match.retainAsPublished && record.retain
    const at = this.output.reserve(size)
    const out = { record, qos, retain, dup: false, packetId, subscriptionIds: ids }
    this.output.length = writePublish(this.output.chunk as Buffer, at, out, this.version, remaining)
    this.stats.delivered[qos]++
    return true
  }

  private overflow(record: LogRecord, match: Match<Subscriber>): void {
    if (this.isBestEffort(record, match)) {
      this.stats.dropped['slow-subscriber']++
      return
    }
    this.fallBehind().begin(record)
  }

  /** Gives the queue up for a place in the log, from which it is read again (D3). */
  private fallBehind(): CatchUp {
    const catchUp = this.catchUp ?? new CatchUp(this, this.catchUpParts)
    this.catchUp = catchUp
    for (let next = this.dequeue(); next !== undefined; next = this.dequeue()) {
      const { record, match } = next
      if (catchUp.takes(record)) continue
      if (this.isBestEffort(record, match)) this.stats.dropped['slow-subscriber']++
      else catchUp.begin(record)
    }
    return catchUp
  }

  private hasPlaceFor(record: LogRecord): boolean {
    if (this.queue.length >= QUEUE_LENGTH_MAX) return false
    return record.stream !== '' || this.unloggedBytes + record.sizeBytes <= UNLOGGED_BYTES_MAX
  }

  private enqueue(record: LogRecord, match: Match<Subscriber>): void {
    if (record.stream === '') this.unloggedBytes += record.sizeBytes
    this.queue.push({ record, match })
  }

  private dequeue(): Waiting | undefined {
    const next = this.queue.shift()
    if (next?.record.stream === '') this.unloggedBytes -= next.record.sizeBytes
    return next
  }

  private isBestEffort(record: LogRecord, match: Match<Subscriber>): boolean {
    return record.stream === '' || record.qos === 0 || match.qos === 0
  }
}
