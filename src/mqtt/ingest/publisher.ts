/**
 * The inbound side of one connection: from a decoded PUBLISH to its PUBACK or PUBREC.
 *
 * P1. An ack leaves only after the log said 'kept' (G1); a refusal by storage ends the connection
 *     without an ack and never looks like "not authorized".
 * P2. Acks leave in the order of the PUBLISHes [MQTT-4.6.0-2], also across streams.
 * P3. A QoS 2 identifier is appended once until its PUBREL, however often and however fast it is
 *     sent again [MQTT-4.3.3-9].
 * P4. What is in flight is bounded by count and bytes, per connection and over all, by not reading
 *     the socket; a read chunk that is being worked on may pass the bound.
 */
import { present } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import type { AppendOutcome, AppendWaiter, ClientName, EventLog, LogRecord } from '../../log/log.ts'
import type { MqttStats } from '../stats.ts'
import type { Output } from '../wire/output.ts'
import { longAck, Reason } from '../wire/packets.ts'
import { userProperty } from '../wire/properties.ts'
import type { InboundPublish } from '../wire/publish.ts'
import type { Backlog } from './backlog.ts'
import { unloggedRecord } from './unlogged.ts'

const PUBACK_FIRST = 0x40
const PUBREC_FIRST = 0x50
const PUBCOMP_FIRST = 0x70

/** Ten windows of an eager client; at 256 B that is the byte limit too. */
const INFLIGHT_RECORDS_MAX = 4096
const INFLIGHT_BYTES_MAX = 1024 * 1024

/**
 * A PUBLISH with QoS 1 or 2 that has no ack yet; a link in the list that keeps the acks in order.
 */
class Unacknowledged implements AppendWaiter {
  readonly publisher: Publisher
  readonly packetId: number
  readonly first: number
  outcome: AppendOutcome | undefined
  /** Why the message was not taken, for MQTT 5; 0 when it was. */
  reason = 0
  next: Unacknowledged | undefined

  constructor(publisher: Publisher, first: number, packetId: number) {
    this.publisher = publisher
    this.first = first
    this.packetId = packetId
  }

  settled(outcome: AppendOutcome, record: LogRecord): void {
    this.outcome = outcome
    this.publisher.settled(outcome, record)
  }
}

/** What all publishers share. */
export interface PublisherParts {
  readonly log: EventLog
  readonly clock: Clock
  readonly backlog: Backlog
  readonly stats: MqttStats
  /** Gives a message that no stream takes to whoever subscribes to it now. */
  deliverUnlogged(record: LogRecord): void
}

/** The publisher's own connection. */
export interface PublisherConnection {
  readonly output: Output
  /** Stops or resumes reading the socket, as `isPaused` says now. */
  updateReading(): void
  /** Ends the connection because storage refused a message. */
  refuse(): void
}

export class Publisher implements AppendWaiter {
  private readonly client: ClientName
  private readonly version: number
  private readonly connection: PublisherConnection
  private readonly parts: PublisherParts
  private first: Unacknowledged | undefined
  private last: Unacknowledged | undefined
  /**
   * QoS 2 identifiers between PUBLISH and PUBREL, with their message while it is unacknowledged.
   */
  private received: Map<number, Unacknowledged> | undefined
  private inflightRecords = 0
  private inflightBytes = 0
  private paused = false
  private closed = false

  constructor(
    client: ClientName,
    version: number,
    connection: PublisherConnection,
    parts: PublisherParts,
  ) {
    this.client = client
    this.version = version
    this.connection = connection
    this.parts = parts
  }

  /** Takes a valid PUBLISH whose parts are ranges of `bytes`. */
  publish(packet: InboundPublish, bytes: Buffer, end: number): void {
    this.parts.stats.received[packet.qos]++
    let waiter: AppendWaiter = this
    if (packet.qos === 1) {
      waiter = this.expectAck(PUBACK_FIRST, packet.packetId)
    } else if (packet.qos === 2) {
      const earlier = this.received?.get(packet.packetId)
      if (earlier !== undefined) {
        this.repeated(earlier)
        return
      }
      const unacknowledged = this.expectAck(PUBREC_FIRST, packet.packetId)
      // Most connections never use QoS 2: thousands of idle ones would pay for the map.
      this.received ??= new Map()
      this.received.set(packet.packetId, unacknowledged)
      waiter = unacknowledged
    }
    this.append(packet, bytes, end, waiter)
  }

  /** A will, from the protocol side when the connection was lost: nobody waits for its ack. */
  will(packet: InboundPublish, bytes: Buffer, end: number): void {
    this.append(packet, bytes, end, this)
  }

  /** PUBREL: forgets the identifier and completes the handshake [MQTT-4.3.3-11]. */
  pubrel(packetId: number): void {
    const known = this.received?.delete(packetId) === true
    if (known || this.version < 5) this.connection.output.ack(PUBCOMP_FIRST, packetId)
    else {
      const unknown = longAck(PUBCOMP_FIRST, packetId, Reason.packetIdentifierNotFound)
      this.connection.output.bytes(unknown)
    }
  }

  /**
   * Answers a PUBLISH that is not taken, in its turn (P2); MQTT 3.1.1 has no word for a refusal.
   */
  reject(packet: InboundPublish, reason: number): void {
    if (packet.qos === 0) return
    const first = packet.qos === 1 ? PUBACK_FIRST : PUBREC_FIRST
    const unacknowledged = this.expectAck(first, packet.packetId)
    unacknowledged.outcome = 'kept'
    unacknowledged.reason = this.version < 5 ? 0 : reason
    this.acknowledge()
  }

  settled(outcome: AppendOutcome, record: LogRecord): void {
    this.inflightRecords--
    this.inflightBytes -= record.sizeBytes
    this.parts.backlog.remove(record.sizeBytes)
    if (this.closed) return
    if (outcome === 'refused') {
      this.parts.stats.dropped['storage-refused']++
      this.connection.refuse()
      return
    }
    this.acknowledge()
    if (this.paused) this.resume()
  }

  /** After a read chunk: stops reading when too much is in flight (P4). */
  checkBounds(): void {
    if (this.paused || this.closed || !this.isOverBound) return
    this.paused = true
    this.parts.stats.pausedPublishers++
    this.parts.backlog.hold(this)
    this.connection.updateReading()
  }

  /** Reads again if there is room. */
  resume(): void {
    if (!this.paused || this.closed) return
    const roomAgain =
      this.inflightRecords * 2 <= INFLIGHT_RECORDS_MAX &&
      this.inflightBytes * 2 <= INFLIGHT_BYTES_MAX
    if (!roomAgain) return
    if (this.parts.backlog.isFull) {
      this.parts.backlog.hold(this)
      return
    }
    this.leavePause()
    this.connection.updateReading()
  }

  get isPaused(): boolean {
    return this.paused
  }

  close(): void {
    if (this.closed) return
    if (this.paused) this.leavePause()
    this.closed = true
    this.parts.backlog.forget(this)
  }

  private leavePause(): void {
    this.paused = false
    this.parts.stats.pausedPublishers--
    this.parts.backlog.forget(this)
  }

  private get isOverBound(): boolean {
    return (
      this.inflightRecords >= INFLIGHT_RECORDS_MAX ||
      this.inflightBytes >= INFLIGHT_BYTES_MAX ||
      this.parts.backlog.isFull
    )
  }

  private append(packet: InboundPublish, bytes: Buffer, end: number, waiter: AppendWaiter): void {
    const { log, clock } = this.parts
    const route = present(packet.route, 'the route of a decoded PUBLISH')
    const stream = route.stream
    if (stream === undefined || (packet.qos === 0 && !stream.qos0)) {
      const record = unloggedRecord(route, this.client, packet, bytes, end, clock)
      this.count(record)
      this.parts.deliverUnlogged(record)
      waiter.settled('kept', record)
      return
    }
    const key =
      stream.key.kind === 'user-property'
        ? userProperty(bytes, packet.propertiesAt, packet.propertiesEnd, stream.key.name)
        : undefined
    const record = log.append({
      route,
      client: this.client,
      qos: packet.qos,
      retain: packet.retain,
      key,
      bytes,
      propertiesAt: packet.propertiesAt,
      propertiesEnd: packet.propertiesEnd,
      payloadAt: packet.payloadAt,
      payloadEnd: end,
      waiter,
    })
    this.count(record)
  }

  private count(record: LogRecord): void {
    this.inflightRecords++
    this.inflightBytes += record.sizeBytes
    this.parts.backlog.add(record.sizeBytes)
  }

  private expectAck(first: number, packetId: number): Unacknowledged {
    const unacknowledged = new Unacknowledged(this, first, packetId)
    if (this.last === undefined) this.first = unacknowledged
    else this.last.next = unacknowledged
    this.last = unacknowledged
    return unacknowledged
  }

  /** A QoS 2 message sent again: PUBREC again, but not before the first append is kept (P3). */
  private repeated(earlier: Unacknowledged): void {
    if (earlier.outcome === 'kept') this.connection.output.ack(PUBREC_FIRST, earlier.packetId)
  }

  /** Sends the acks whose turn it is (P2). */
  private acknowledge(): void {
    let next = this.first
    while (next !== undefined && next.outcome === 'kept') {
      if (next.reason === 0) this.connection.output.ack(next.first, next.packetId)
      else this.connection.output.bytes(longAck(next.first, next.packetId, next.reason))
      this.parts.stats.acknowledged++
      next = next.next
    }
    this.first = next
    if (next === undefined) this.last = undefined
  }
}
