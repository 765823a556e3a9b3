/**
 * The inbound side of one connection: from a decoded PUBLISH to its PUBACK or PUBREC.
 *
 * P1. An ack leaves only after the log said 'kept' (G1); a refusal by storage ends the connection
 *     without an ack and never looks like "not authorized".
 *     A message for a full stream is not kept: MQTT 5 is told 0x97 and goes on, MQTT 3.1.1 gets no
 *     ack and is read more slowly.
 * P2. Acks leave in the order of the PUBLISHes [MQTT-4.6.0-2], also across streams.
 * P3. A QoS 2 identifier is appended once until its PUBREL, however often and however fast it is
 *     sent again [MQTT-4.3.3-9].
 * P4. What is in flight is bounded by count and bytes, per connection, per stream and over all, by
 *     not reading the socket and holding the rest of the chunk.
 */
import { present } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import type {
  AppendOutcome,
  AppendWaiter,
  ClientName,
  EventLog,
  LogRecord,
  Route,
} from '../../log/log.ts'
import type { MqttStats } from '../stats.ts'
import type { Output } from '../wire/output.ts'
import { Reason } from '../wire/packets.ts'
import { userProperty } from '../wire/properties.ts'
import type { InboundPublish } from '../wire/publish.ts'
import type { ReasonStrings } from '../wire/reason-string.ts'
import type { Backlog } from './backlog.ts'
import {
  KEPT,
  type ReceivedById,
  type ReceivedIds,
  type ReceivedMessage,
  type Twin,
} from './received.ts'
import type { SlowDown, Slowed } from './slow-down.ts'
import { unloggedRecord } from './unlogged.ts'

const PUBACK_FIRST = 0x40
const PUBREC_FIRST = 0x50
const PUBCOMP_FIRST = 0x70

/** Ten windows of an eager client; at 256 B that is the byte limit too. */
const INFLIGHT_RECORDS_MAX = 4096
const INFLIGHT_BYTES_MAX = 1024 * 1024
/**
 * What a message in flight costs beside its bytes: its entry's head and the objects that carry it.
 */
const MESSAGE_COST_BYTES = 300
/** QoS 2 identifiers between PUBLISH and PUBREL; MQTT 5 clients are told so in CONNACK. */
export const RECEIVE_MAXIMUM = 4096

/**
 * A PUBLISH with QoS 1 or 2 that has no ack yet; a link in the list that keeps the acks in order.
 */
class Unacknowledged implements AppendWaiter, ReceivedMessage, Twin {
  readonly publisher: Publisher
  readonly packetId: number
  readonly first: number
  outcome: AppendOutcome | undefined
  /** Why the message was not taken, for MQTT 5; 0 when it was. */
  reason = 0
  next: Unacknowledged | undefined
  /** PUBREL came before the message was kept. */
  released = false
  twin: Twin | undefined
  /** A start after a crash does not look for it yet: it must not be answered before. */
  gate: Promise<void> | undefined

  constructor(publisher: Publisher, first: number, packetId: number) {
    this.publisher = publisher
    this.first = first
    this.packetId = packetId
  }

  settled(outcome: AppendOutcome, record: LogRecord): void {
    if (this.gate === undefined) {
      this.settle(outcome, record)
      return
    }
    this.gate.then(
      () => this.settleLate(outcome, record),
      () => this.settleLate('refused', record),
    )
  }

  /** The message was sent on an earlier connection, and this is its answer. */
  answered(outcome: AppendOutcome): void {
    this.outcome = outcome
    this.publisher.answered(outcome)
  }

  private settleLate(outcome: AppendOutcome, record: LogRecord): void {
    this.settle(outcome, record)
    this.publisher.flushSoon()
  }

  private settle(outcome: AppendOutcome, record: LogRecord): void {
    this.outcome = outcome
    this.publisher.settled(outcome, record)
    if (this.first === PUBREC_FIRST) this.publisher.remember(this.packetId, this)
    this.twin?.answered(outcome)
  }
}

/** What all publishers share. */
export interface PublisherParts {
  readonly log: EventLog
  readonly clock: Clock
  readonly backlog: Backlog
  readonly slowDown: SlowDown
  readonly stats: MqttStats
  /** Sends what connections have to send, at the end of the loop turn. */
  flushSoon(): void
  /** Whether a message of this topic may be retained. */
  admitsRetained(topic: string): boolean
  /** Whether a persistent session wants what is published on this topic. */
  wants(topic: string): boolean
  /** Gives a message that no stream takes to whoever subscribes to it now. */
  deliverUnlogged(record: LogRecord): void
}

/** The publisher's own connection. */
export interface PublisherConnection {
  readonly output: Output
  /** How MQTT 5 clients are told why. */
  readonly explain: ReasonStrings
  /** Stops or resumes reading the socket, as `isPaused` says now. */
  updateReading(): void
  /** Ends the connection because storage refused a message. */
  refuse(): void
}

export class Publisher implements AppendWaiter, Slowed {
  private readonly client: ClientName
  private readonly version: number
  private readonly connection: PublisherConnection
  private readonly parts: PublisherParts
  private first: Unacknowledged | undefined
  private last: Unacknowledged | undefined
  /**
   * QoS 2 identifiers between PUBLISH and PUBREL, with their message while it is unacknowledged.
   */
  private received: ReceivedById | undefined
  /** Of a persistent session: the same map, and how it is kept. */
  private readonly kept: ReceivedIds | undefined
  private unacknowledged = 0
  private inflightRecords = 0
  private inflightBytes = 0
  /** Of its last message: what waits in other streams does not hold it back. */
  private stream = ''
  /** Not read, because too much is in flight. */
  private paused = false
  /** Not read for a while, because a stream is full. */
  private slowed = false
  private closed = false

  constructor(
    client: ClientName,
    version: number,
    connection: PublisherConnection,
    parts: PublisherParts,
    kept?: ReceivedIds,
  ) {
    this.client = client
    this.version = version
    this.connection = connection
    this.parts = parts
    this.kept = kept
    this.received = kept?.byId
  }

  /** Takes a valid PUBLISH whose parts are ranges of `bytes`. */
  publish(packet: InboundPublish, bytes: Buffer, end: number): void {
    const { stats } = this.parts
    stats.received[packet.qos]++
    stats.publishBytesReceived += end - packet.payloadAt
    if (packet.retain && this.isOverRetained(packet, end)) return
    let waiter: AppendWaiter = this
    if (packet.qos === 1) {
      waiter = this.expectAck(PUBACK_FIRST, packet.packetId)
    } else if (packet.qos === 2) {
      const earlier = this.received?.get(packet.packetId)
      if (earlier !== undefined) {
        this.repeated(packet.packetId, earlier)
        return
      }
      const unacknowledged = this.expectAck(PUBREC_FIRST, packet.packetId)
      // Most connections never use QoS 2: thousands of idle ones would pay for the map.
      this.received ??= new Map()
      this.received.set(packet.packetId, unacknowledged)
      unacknowledged.gate = this.kept?.begin()
      waiter = unacknowledged
    }
    this.append(packet, bytes, end, waiter)
  }

  /**
   * No more messages may be retained: one that can be answered is refused; another goes on without
   * its flag, so that what the log says and what is retained stay the same.
   */
  private isOverRetained(packet: InboundPublish, end: number): boolean {
    const isClearing = packet.payloadAt === end
    if (isClearing || (packet.qos === 2 && this.received?.has(packet.packetId) === true))
      return false
    const { topic } = present(packet.route, 'the route of a decoded PUBLISH')
    if (this.parts.admitsRetained(topic)) return false
    if (packet.qos === 0 || this.version < 5) {
      packet.retain = false
      return false
    }
    this.reject(packet, Reason.quotaExceeded)
    return true
  }

  /** The client holds more QoS 2 identifiers than it was offered [MQTT-3.3.4-7]. */
  get isOverReceiveMaximum(): boolean {
    return (this.received?.size ?? 0) > RECEIVE_MAXIMUM
  }

  /** PUBREL: forgets the identifier and completes the handshake [MQTT-4.3.3-11]. */
  pubrel(packetId: number): void {
    const waiting = this.received?.get(packetId)
    if (waiting instanceof Unacknowledged && waiting.outcome === undefined) {
      // PUBCOMP must not overtake PUBREC, nor the commit that PUBREC waits for.
      waiting.released = true
      return
    }
    const known = this.received?.delete(packetId) === true
    if (this.kept !== undefined && (known || this.kept.isReleasing)) {
      this.kept.released((isKept) => this.complete(packetId, isKept))
      return
    }
    if (known || this.version < 5) this.connection.output.ack(PUBCOMP_FIRST, packetId)
    else {
      this.sayRefusal(PUBCOMP_FIRST, packetId, Reason.packetIdentifierNotFound)
    }
  }

  /** The release of a session's message is on disk, or could not be written. */
  private complete(packetId: number, isKept: boolean): void {
    if (this.closed) return
    if (!isKept) {
      this.connection.refuse()
      return
    }
    this.connection.output.ack(PUBCOMP_FIRST, packetId)
    this.parts.flushSoon()
  }

  /** Sends what is answered outside of a commit. */
  flushSoon(): void {
    this.parts.flushSoon()
  }

  /** An earlier connection's message was kept or not. */
  answered(outcome: AppendOutcome): void {
    if (this.closed) return
    if (outcome === 'refused') this.connection.refuse()
    else this.acknowledge()
    this.parts.flushSoon()
  }

  /** Of a message that was not kept nothing is: sent again, it is a new one. */
  remember(packetId: number, message: ReceivedMessage): void {
    if (this.received?.get(packetId) !== message) return
    const isTurnedAway = message.outcome === 'full' && this.closed
    if (message.outcome === 'refused' || isTurnedAway) this.received.delete(packetId)
    // A session remembers identifiers, not the connections that they came by.
    else if (this.closed && message.outcome === 'kept') this.received.set(packetId, KEPT)
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
    this.inflightBytes -= record.sizeBytes + MESSAGE_COST_BYTES
    this.parts.backlog.remove(record.stream, record.sizeBytes + MESSAGE_COST_BYTES)
    if (outcome === 'full') this.parts.stats.dropped['stream-full']++
    if (this.closed) return
    if (outcome === 'full' && record.qos > 0) this.turnedAway(record.stream)
    if (outcome === 'refused') {
      this.parts.stats.dropped['storage-refused']++
      this.connection.refuse()
      return
    }
    this.acknowledge()
    if (this.paused) this.resume()
  }

  /** After a packet: stops reading when too much is in flight (P4). */
  checkBounds(): void {
    if (this.paused || this.closed || !this.isOverBound) return
    if (!this.isPaused) this.parts.stats.pausedPublishers++
    this.paused = true
    this.parts.backlog.hold(this, this.stream)
    this.connection.updateReading()
  }

  /** Reads again if there is room. */
  resume(): void {
    if (!this.paused || this.closed) return
    const roomAgain =
      this.inflightRecords * 2 <= INFLIGHT_RECORDS_MAX &&
      this.unacknowledged * 2 <= INFLIGHT_RECORDS_MAX &&
      this.inflightBytes * 2 <= INFLIGHT_BYTES_MAX
    if (!roomAgain) return
    if (this.parts.backlog.isFull(this.stream)) {
      this.parts.backlog.hold(this, this.stream)
      return
    }
    this.leavePause()
    this.connection.updateReading()
  }

  get isPaused(): boolean {
    return this.paused || this.slowed
  }

  /** The stream takes records again, or the publisher has waited for long enough. */
  hurry(): void {
    this.slowed = false
    if (!this.isPaused) this.parts.stats.pausedPublishers--
    this.connection.updateReading()
  }

  close(): void {
    if (this.closed) return
    if (this.isPaused) this.parts.stats.pausedPublishers--
    this.paused = false
    this.slowed = false
    this.closed = true
    for (const [id, message] of this.kept?.byId ?? []) this.remember(id, message)
    this.parts.slowDown.forget(this)
    this.parts.backlog.forget(this)
  }

  private leavePause(): void {
    this.paused = false
    if (!this.isPaused) this.parts.stats.pausedPublishers--
    this.parts.backlog.forget(this)
  }

  /** Its answer is due in its turn, and no kept record brings it about. */
  private turnedAway(stream: string): void {
    this.parts.flushSoon()
    if (this.version >= 5 || this.slowed) return
    if (!this.isPaused) this.parts.stats.pausedPublishers++
    this.slowed = true
    this.parts.slowDown.hold(this, stream)
    this.connection.updateReading()
  }

  private get isOverBound(): boolean {
    return (
      this.inflightRecords >= INFLIGHT_RECORDS_MAX ||
      this.unacknowledged >= INFLIGHT_RECORDS_MAX ||
      this.inflightBytes >= INFLIGHT_BYTES_MAX ||
      this.parts.backlog.isFull(this.stream)
    )
  }

  private append(packet: InboundPublish, bytes: Buffer, end: number, waiter: AppendWaiter): void {
    const { log, clock } = this.parts
    const route = this.routeOf(packet)
    const stream = route.stream
    if (stream === undefined || (packet.qos === 0 && !stream.qos0 && !packet.retain)) {
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
      packetId: packet.qos === 2 ? packet.packetId : 0,
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

  /**
   * What no stream takes is kept when a session wants it that may be away, and when it is retained,
   * because retained messages derive from the log.
   */
  private routeOf(packet: InboundPublish): Route {
    const route = present(packet.route, 'the route of a decoded PUBLISH')
    if (route.stream !== undefined) return route
    const isWanted = packet.retain || (packet.qos > 0 && this.parts.wants(route.topic))
    return isWanted ? this.parts.log.fallbackRoute(route.topic) : route
  }

  private count(record: LogRecord): void {
    this.inflightRecords++
    this.inflightBytes += record.sizeBytes + MESSAGE_COST_BYTES
    this.parts.backlog.add(record.stream, record.sizeBytes + MESSAGE_COST_BYTES)
    this.stream = record.stream
  }

  private expectAck(first: number, packetId: number): Unacknowledged {
    const unacknowledged = new Unacknowledged(this, first, packetId)
    if (this.last === undefined) this.first = unacknowledged
    else this.last.next = unacknowledged
    this.last = unacknowledged
    this.unacknowledged++
    return unacknowledged
  }

  /** A QoS 2 message sent again: PUBREC again, but not before the first append is kept (P3). */
  private repeated(packetId: number, earlier: ReceivedMessage): void {
    if (earlier.outcome === 'kept') this.connection.output.ack(PUBREC_FIRST, packetId)
    else if (earlier instanceof Unacknowledged && earlier.publisher !== this) {
      // Sent on an earlier connection, whose answer nobody would see.
      earlier.twin = this.expectAck(PUBREC_FIRST, packetId)
    }
  }

  /** Sends the acks whose turn it is (P2). */
  private acknowledge(): void {
    let next = this.first
    while (next !== undefined && (next.outcome === 'kept' || next.outcome === 'full')) {
      if (next.outcome === 'full') this.answerFull(next)
      else this.answerKept(next)
      if (next.released) this.pubrel(next.packetId)
      this.unacknowledged--
      const left: Unacknowledged = next
      next = left.next
      // A QoS 2 message is remembered until its PUBREL: it must not hold on to all that came after.
      left.next = undefined
    }
    this.first = next
    if (next === undefined) this.last = undefined
  }

  private answerKept({ first, packetId, reason }: Unacknowledged): void {
    if (reason === 0) this.connection.output.ack(first, packetId)
    else this.sayRefusal(first, packetId, reason)
    this.parts.stats.acknowledged++
  }

  /** Sent again, the message is a new one, also with QoS 2: a refusal ends its handshake. */
  private answerFull({ first, packetId }: Unacknowledged): void {
    if (first === PUBREC_FIRST) this.received?.delete(packetId)
    if (this.version < 5) return
    this.sayRefusal(first, packetId, Reason.quotaExceeded)
  }

  private sayRefusal(first: number, packetId: number, reason: number): void {
    const { output, explain } = this.connection
    output.bytes(explain.ack(first, packetId, reason))
  }
}
