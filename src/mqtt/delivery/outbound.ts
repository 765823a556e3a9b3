/**
 * The outbound side of one connected client: window, packet identifiers, version, size limit and
 * socket. It sends what its sources give it, and tells them when there is room again.
 *
 * O1. A source is asked in turn with the others; none is asked while the last one sends.
 * O2. What cannot be sent now is not taken: whoever gives it keeps it (D3).
 * O3. Of a persistent session, a QoS 2 message and a PUBREL leave only after the window that says
 *     so is on disk, and nothing overtakes them.
 */
import type { Member, Sending, Settled } from '../../consumers/member.ts'
import type { LogRecord, QoS } from '../../log/log.ts'
import type { MqttStats } from '../stats.ts'
import type { MessageExpiry } from '../wire/message-expiry.ts'
import type { Output } from '../wire/output.ts'
import { Reason, varintBytes } from '../wire/packets.ts'
import { OutboundPublish, remainingLengthOf, writePublish } from '../wire/publish.ts'
import type { ReasonStrings } from '../wire/reason-string.ts'
import { OutboundAliases } from '../wire/topic-aliases.ts'
import { userPropertiesNow } from '../wire/user-properties.ts'
import type { HeldPackets } from './held-packets.ts'
import type { Source } from './source.ts'
import type { Grant } from './subscriptions.ts'
import type { InFlight, Window } from './window.ts'

const PUBREL_FIRST = 0x62
const NO_IDS: readonly number[] = []
const NO_BYTES = new Uint8Array(0)

/** What a client and its session agreed on. */
export interface OutboundFacts {
  readonly clientId: string
  readonly version: number
  /** What the client takes; larger messages are dropped for it [MQTT-3.1.2-24]. */
  /** Undefined: no limit. */
  readonly packetBytesMax: number | undefined
  /** Topic aliases that the client takes [MQTT-3.1.2-26]. */
  readonly topicAliasMaximum: number
  readonly explain: ReasonStrings
}

/** The message that is being written: one for all, because a write is never interrupted. */
const out = new OutboundPublish()

export class Outbound implements Member {
  readonly clientId: string
  readonly version: number
  readonly window: Window
  private readonly packetBytesMax: number
  private readonly output: Output
  private readonly explain: ReasonStrings
  private readonly stats: MqttStats
  private readonly expiry: MessageExpiry
  /** Of a persistent session (O3). */
  private readonly held: HeldPackets | undefined
  /** Undefined: the client takes none [MQTT-3.1.2-27]. */
  private readonly aliases: OutboundAliases | undefined
  private sources: readonly Source[] = []
  private turn = 0
  /** Remaining length of the packet in `out`. */
  private remaining = 0
  private closed = false

  constructor(
    facts: OutboundFacts,
    window: Window,
    output: Output,
    stats: MqttStats,
    expiry: MessageExpiry,
    held?: HeldPackets,
  ) {
    this.clientId = facts.clientId
    this.version = facts.version
    this.explain = facts.explain
    this.packetBytesMax = facts.packetBytesMax ?? Number.MAX_SAFE_INTEGER
    this.window = window
    this.output = output
    this.stats = stats
    this.expiry = expiry
    this.held = held
    if (facts.topicAliasMaximum > 0) this.aliases = new OutboundAliases(facts.topicAliasMaximum)
  }

  get isClosed(): boolean {
    return this.closed
  }

  get hasRoom(): boolean {
    return this.hasSocketRoom && this.window.hasRoom
  }

  /** Whether what waits to be sent again can be. */
  get canResend(): boolean {
    return this.output.hasRoom && this.held?.isFull !== true && this.window.hasRoom
  }

  /** For a QoS 0 message. Nothing new is sent while something waits to be sent again (W3). */
  private get hasSocketRoom(): boolean {
    return this.output.hasRoom && !this.window.isResuming && this.held?.isFull !== true
  }

  attach(source: Source): void {
    this.sources = [...this.sources, source]
  }

  /** The source has nothing more to send, for good. */
  detach(source: Source): void {
    this.sources = this.sources.filter((one) => one !== source)
  }

  /** Asks the sources, as far as window and socket allow. */
  pump(): void {
    const { sources } = this
    const first = sources[0]
    if (first === undefined || this.closed) return
    if (sources.length === 1) {
      first.pump()
      return
    }
    this.turn = (this.turn + 1) % sources.length
    for (let i = 0; i < sources.length; i++) {
      sources[(this.turn + i) % sources.length]?.pump()
    }
  }

  send(record: LogRecord, how: Sending, settled: Settled): boolean {
    if (this.closed) return false
    const { qos, retain, dup, subscriptionIds, userProperties } = how
    const hasExtra = this.version === 5 && userProperties.length > 0
    const extra = hasExtra ? userPropertiesNow(userProperties) : NO_BYTES
    return this.deliver(record, qos, retain, dup, subscriptionIds, extra, false, settled)
  }

  /** For the client's own subscriptions; the hot path, hence no object for the parameters. */
  publish(record: LogRecord, qos: QoS, retain: boolean, dup: boolean, ids: readonly number[]) {
    return this.deliver(record, qos, retain, dup, ids, NO_BYTES, false, undefined)
  }

  /** A message that was retained before the client subscribed [MQTT-3.3.1-8]. */
  publishRetained(record: LogRecord, qos: QoS, ids: readonly number[]): boolean {
    return this.deliver(record, qos, true, false, ids, NO_BYTES, true, undefined)
  }

  /**
   * Sends again what an earlier connection of the session was sent, under its old identifier and
   * with DUP [MQTT-3.3.1-1]. False: no room.
   */
  republish(record: LogRecord, entry: InFlight, grant: Grant | undefined): boolean {
    if (!this.canResend) return false
    const qos = entry.awaited === 'puback' ? 1 : 2
    const retain = record.retain && (entry.isRetained || grant?.retainAsPublished === true)
    const size = this.prepare(record, qos, retain, true, grant?.ids ?? NO_IDS, NO_BYTES, qos === 2)
    if (size === 0) {
      this.window.forget(entry)
      return true
    }
    this.window.resent(entry)
    out.packetId = entry.packetId
    // The connection that it was first sent by may have ended before the disk answered (O3).
    this.write(size, qos === 2)
    return true
  }

  /** Goes on with a QoS 2 handshake of an earlier connection. */
  rerelease(entry: InFlight): void {
    this.window.resent(entry)
    this.release(entry.packetId)
  }

  puback(id: number, reason: number): void {
    this.end(this.window.puback(id), reason)
  }

  pubrec(id: number, reason: number): void {
    if (reason >= 0x80) {
      this.end(this.window.pubrecRefused(id), reason)
    } else if (this.window.pubrec(id)) {
      this.takenOver(id)
      this.release(id)
    } else if (this.version === 5) {
      // PUBREL says so [MQTT5 3.6.2.1]; MQTT 3.1.1 has no word for it.
      this.output.bytes(this.explain.ack(PUBREL_FIRST, id, Reason.packetIdentifierNotFound))
    } else {
      this.pubrel(id)
    }
  }

  pubcomp(id: number): void {
    this.end(this.window.pubcomp(id), Reason.success)
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    this.held?.close()
    for (const source of this.sources) source.close()
    this.sources = []
  }

  /** With PUBREC the message is the client's, and nobody else is to get it [MQTT-4.8.2-4]. */
  private takenOver(id: number): void {
    const entry = this.window.get(id)
    const settled = entry?.settled
    if (entry === undefined || settled === undefined) return
    entry.settled = undefined
    settled('acked')
  }

  private end(entry: InFlight | undefined, reason: number): void {
    if (entry === undefined) return
    entry.settled?.(reason < 0x80 ? 'acked' : 'refused')
    this.pump()
  }

  /** PUBREL for a message of the window, once the disk knows that PUBREC came (O3). */
  private release(id: number): void {
    if (this.held === undefined) this.pubrel(id)
    else this.held.push(Buffer.of(PUBREL_FIRST, 2, id >> 8, id & 255))
  }

  private pubrel(id: number): void {
    this.output.ack(PUBREL_FIRST, id)
  }

  /** False when it must wait. True also when the client does not get it at all. */
  private deliver(
    record: LogRecord,
    qos: QoS,
    retain: boolean,
    dup: boolean,
    ids: readonly number[],
    extra: Uint8Array,
    isRetained: boolean,
    settled: Settled | undefined,
  ): boolean {
    if (!this.hasSocketRoom || (qos > 0 && !this.window.hasRoom)) return false
    const size = this.prepare(record, qos, retain, dup, ids, extra)
    if (size === 0) {
      settled?.('refused')
      return true
    }
    out.packetId =
      qos === 0 ? 0 : this.window.open(qos, record.stream, record.position, isRetained, settled)
    this.write(size, qos === 2)
    if (qos === 0) settled?.('acked')
    return true
  }

  /**
   * `hasBegun`: a QoS 2 handshake, which does not end with the message's lifetime [MQTT-4.3.3-7].
   * Fills `out` and says how long its packet is; 0, and counted, when it is not to be sent. */
  private prepare(
    record: LogRecord,
    qos: QoS,
    retain: boolean,
    dup: boolean,
    ids: readonly number[],
    extra: Uint8Array,
    hasBegun = false,
  ): number {
    const { version } = this
    out.remainingS = this.expiry.remainingS(record)
    if (out.remainingS <= 0) {
      if (!hasBegun) {
        this.stats.dropped.expired++
        return 0
      }
      out.remainingS = 0
    }
    out.expiryAt = this.expiry.at
    out.record = record
    out.qos = qos
    out.retain = retain
    out.dup = dup
    out.subscriptionIds = version === 5 ? ids : NO_IDS
    out.extra = extra
    if (this.aliases !== undefined) {
      out.alias = this.aliases.of(record.topic)
      out.isTopicKnown = this.aliases.isKnown
    }
    const size = this.measure()
    if (size <= this.packetBytesMax) return size
    this.forgetAlias()
    // A new alias made it three bytes longer.
    const plain = this.aliases === undefined ? size : this.measure()
    if (plain <= this.packetBytesMax) return plain
    this.stats.dropped['too-large-for-subscriber']++
    return 0
  }

  /** The whole packet's bytes. */
  private measure(): number {
    this.remaining = remainingLengthOf(out, this.version)
    return 1 + varintBytes(this.remaining) + this.remaining
  }

  /** `out` is for all clients: the next one may take no aliases. */
  private forgetAlias(): void {
    out.alias = 0
    out.isTopicKnown = false
  }

  private write(size: number, mustBeKept: boolean): void {
    this.writePacket(size, mustBeKept)
    if (this.aliases === undefined) return
    this.aliases.sent((out.record as LogRecord).topic, out.alias)
    this.forgetAlias()
  }

  private writePacket(size: number, mustBeKept: boolean): void {
    const { held, output, version, remaining } = this
    this.stats.delivered[out.qos]++
    const { payloadAt, payloadEnd } = out.record as LogRecord
    this.stats.publishBytesSent += payloadEnd - payloadAt
    if (held !== undefined && (mustBeKept || held.isHolding)) {
      // The record may be gone from memory when the disk has answered.
      const bytes = Buffer.allocUnsafe(size)
      writePublish(bytes, 0, out, version, remaining)
      held.push(bytes)
      return
    }
    const at = output.reserve(size)
    output.length = writePublish(output.chunk as Buffer, at, out, version, remaining)
  }
}
