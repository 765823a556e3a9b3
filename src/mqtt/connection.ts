/**
 * One client's connection: its socket, what is read from it and what is written to it. Cuts the
 * stream into packets, sends each to its owner (publisher, subscriber, protocol), and closes.
 *
 * N1. An exception while one packet is handled closes this connection only (G8).
 * N2. Between CONNECT and CONNACK nothing more is handled: later packets wait, at most a read chunk
 *     of them.
 */
import type { Grants, Identity } from '../access/access.ts'
import { AssertionFailure, present } from '../base/assert.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { Peer, ProtocolSession, SessionFacts } from './aedes/protocol.ts'
import type { Outbound } from './delivery/outbound.ts'
import type { Subscriber } from './delivery/subscriber.ts'
import { type Publisher, type PublisherConnection, RECEIVE_MAXIMUM } from './ingest/publisher.ts'
import type { Throttle } from './ingest/throttle.ts'
import type { LimitName } from './limits.ts'
import { type ClientFacts, ClientLogin, type LoginHost, type LoginSink } from './login.ts'
import type { Carrier, Origin } from './origin.ts'
import { RatePause } from './rate-pause.ts'
import type { CloseReason, MqttStats } from './stats.ts'
import type { Strangers } from './strangers.ts'
import { longAckFault } from './wire/ack.ts'
import { FrameReader } from './wire/frame-reader.ts'
import { Output } from './wire/output.ts'
import { PacketType, Reason } from './wire/packets.ts'
import type { PacketFault, PublishDecoder } from './wire/publish.ts'
import type { ReasonStrings } from './wire/reason-string.ts'
import {
  type Asked,
  disconnectFault,
  type FiltersAnswer,
  filtersAck,
  isFault,
  readSubscribe,
  readUnsubscribe,
} from './wire/subscribe.ts'

/** A peer that was told why it is disconnected may read that for so long. */
const FAREWELL_MS = 1000

/** A CONNECT with a will of 64 KiB and some room. */
const CONNECT_BYTES_MAX = 128 * 1024

/** Flags that a fixed header must have [MQTT-2.2.2-1]; PUBLISH carries its own. */
const flagsOf = (type: number): number =>
  type === PacketType.pubrel || type === PacketType.subscribe || type === PacketType.unsubscribe
    ? 2
    : 0

type State = 'opening' | 'connecting' | 'ready' | 'closing' | 'closed'

/** What the front end does for its connections. */
export interface ConnectionHost extends LoginHost {
  readonly stats: MqttStats
  readonly logger: Logger
  readonly dirty: Output[]
  readonly strangers: Strangers<Connection>
  /** Sends what all outputs have collected. */
  flush(): void
  /** The same, at the end of the loop turn. */
  flushSoon(): void
  /** Makes what a connected client needs; undefined: the session that it was told of has ended. */
  connected(
    connection: Connection,
    facts: ClientFacts,
    identity: Identity,
  ): ConnectedParts | undefined
  /** Subscribes as far as limits allow; a code for each filter [MQTT-3.9.3-1]. */
  subscribe(
    subscriber: Subscriber,
    asked: readonly Asked[],
    version: number,
  ): FiltersAnswer | Promise<FiltersAnswer>
  /** When the session's subscriptions are on disk; undefined: none has to be. May reject. */
  subscriptionsKept(subscriber: Subscriber): Promise<void> | undefined
  /** SUBACK is on its way: retained messages may follow it. */
  subscriptionsAnswered(subscriber: Subscriber): void
  /** A code for each filter [MQTT5 3.11.3]. */
  unsubscribe(
    subscriber: Subscriber,
    filters: readonly string[],
  ): FiltersAnswer | Promise<FiltersAnswer>
  closed(connection: Connection, subscriber: Subscriber | undefined): void
}

export interface ConnectedParts {
  readonly version: number
  readonly publisher: Publisher
  readonly outbound: Outbound
  /** The client's own subscriptions. */
  readonly subscriber: Subscriber
  /** Begins to send: once CONNACK is on its way. */
  begin(): void
  readonly decoder: PublishDecoder
  readonly grants: Grants
  /** Undefined: the client may publish as fast as it can. */
  readonly throttle: Throttle | undefined
}

export class Connection implements Peer, PublisherConnection, LoginSink {
  readonly output: Output
  private readonly socket: Carrier
  private readonly origin: Origin
  private readonly host: ConnectionHost
  private readonly frames: FrameReader
  private readonly protocol: ProtocolSession
  private state: State = 'opening'
  private parts: ConnectedParts | undefined
  private facts: ClientFacts | undefined
  /** Why we end the connection, for MQTT 5. */
  private farewellReason: number | undefined
  private readonly login: ClientLogin
  /** While the client is over its rate. */
  private readonly ratePause: RatePause

  constructor(
    socket: Carrier,
    origin: Origin,
    host: ConnectionHost,
    open: (peer: Peer) => ProtocolSession,
  ) {
    this.socket = socket
    this.origin = origin
    this.host = host
    // Before CONNECT nobody has shown who they are: ten thousand strangers must not hold much.
    this.frames = new FrameReader(Math.min(host.packetBytesMax, CONNECT_BYTES_MAX))
    this.output = new Output(socket, host.limits.unsentBytesMax, host.stats, host.dirty)
    this.login = new ClientLogin(host, this)
    this.ratePause = new RatePause(host.stats, () => this.updateReading())
    this.protocol = open(this)
    host.stats.sockets++
    host.stats.socketsOpened++
    socket.on('data', (chunk: Buffer) => this.read(chunk))
    socket.on('drain', () => this.drained())
    socket.on('error', () => this.protocol.lost())
    socket.on('end', () => this.protocol.lost())
    socket.on('close', () => this.gone())
  }

  get clientId(): string | undefined {
    return this.facts?.clientId
  }

  /** Undefined before its login. */
  get identity(): Identity | undefined {
    return this.login.identity
  }

  /** How long the client's session outlives this connection, seconds. */
  get sessionExpiryS(): number {
    return this.protocol.sessionExpiryS
  }

  /** Ends the connection from our side; MQTT 5 clients are told the reason. */
  disconnect(reason: number, why: CloseReason, cause: string): void {
    if (this.state === 'closing' || this.state === 'closed') return
    this.state = 'closing'
    this.farewellReason = reason
    this.protocol.disconnect(why, cause)
  }

  /** Reads, or not, for the reasons that the publisher and the output have. */
  updateReading(): void {
    if (this.state !== 'ready' || this.parts === undefined) return
    if (this.isHeld(this.parts)) this.socket.pause()
    else if (this.socket.isPaused()) queueMicrotask(() => this.readOn())
  }

  /** What the pause left of the last chunk comes first; it may bring the next pause. */
  private readOn(): void {
    if (this.state !== 'ready' || this.parts === undefined) return
    this.read(undefined)
    if (!this.isHeld(this.parts)) this.socket.resume()
  }

  private isHeld({ publisher }: ConnectedParts): boolean {
    return publisher.isPaused || this.output.isStuffed || this.ratePause.isActive
  }

  refuse(): void {
    const cause = 'the log could not keep a message'
    this.disconnect(Reason.implementationSpecific, 'storage', cause)
  }

  /** The client is not read because of us: its silence is no reason to end it. */
  keepAliveWhilePaused(): void {
    const isPaused = this.parts?.publisher.isPaused === true || this.ratePause.isActive
    if (isPaused) this.protocol.touch()
  }

  send(bytes: Uint8Array): void {
    this.output.bytes(bytes)
    this.host.flushSoon()
  }

  refused(connack: Uint8Array): void {
    this.output.bytes(connack)
  }

  ready(session: SessionFacts): void {
    if (this.state !== 'connecting') return
    const facts = this.login.facts(session)
    this.facts = facts
    const parts = this.host.connected(
      this,
      facts,
      present(this.identity, 'the identity of a client'),
    )
    const answer = parts === undefined ? undefined : this.login.connack(facts, parts.grants)
    if (parts === undefined || answer === undefined) {
      const cause =
        parts === undefined ? 'its session ended while it connected' : 'it takes no CONNACK'
      if (parts !== undefined) this.host.closed(this, parts.subscriber)
      this.disconnect(Reason.implementationSpecific, 'refused', cause)
      return
    }
    this.parts = parts
    this.host.strangers.leave(this)
    this.output.bytes(answer)
    this.state = 'ready'
    this.frames.packetBytesMax = this.host.packetBytesMax
    // CONNACK goes out before anything that answers what came behind CONNECT, held until now.
    this.host.flush()
    this.parts.begin()
    this.host.flush()
    queueMicrotask(() => this.readOn())
  }

  /** What must be on disk before CONNACK; never rejects. */
  async accepted(clientId: string): Promise<void> {
    try {
      await this.login.accepted(clientId)
    } catch (thrown) {
      this.disconnect(Reason.implementationSpecific, 'storage', messageOf(thrown))
    }
  }

  ended(reason: CloseReason, cause: string): void {
    if (this.state === 'closed') return
    this.state = 'closed'
    this.host.stats.closed[reason]++
    if (this.parts === undefined) this.host.stats.connectionsRefused++
    this.host.logger.debug({ client: this.clientId, reason, cause }, 'connection closed')
    this.ratePause.end()
    this.host.strangers.leave(this)
    this.login.ended(this.parts?.grants, this.sessionExpiryS)
    this.parts?.publisher.close()
    this.host.closed(this, this.parts?.subscriber)
    this.sayWhy(reason, cause)
    this.frames.clear()
    this.output.flush()
    this.farewell()
  }

  /** DISCONNECT as the last packet, to MQTT 5 clients that had a CONNACK [MQTT-3.14.0-1]. */
  private sayWhy(why: CloseReason, cause: string): void {
    const reason = this.farewellReason ?? LIBRARY_REASONS.get(why)
    const { facts } = this
    if (this.parts === undefined || facts === undefined || reason === undefined) return
    if (facts.version < 5) return
    const isOurs = why === 'internal-error' || why === 'storage'
    this.output.bytes(facts.explain.disconnect(reason, isOurs ? OUR_FAULT : cause))
  }

  /**
   * Closes so that the last packet is read: closing a socket with unread input resets it, and the
   * reset would overtake the DISCONNECT that says why.
   */
  private farewell(): void {
    const { socket } = this
    if (socket.destroyed) return
    socket.removeAllListeners('data')
    socket.on('data', () => undefined)
    socket.resume()
    socket.end()
    const timer = setTimeout(() => socket.destroy(), FAREWELL_MS)
    socket.once('close', () => clearTimeout(timer))
  }

  private gone(): void {
    this.host.stats.sockets--
    this.protocol.lost()
  }

  private drained(): void {
    if (this.parts === undefined || this.state !== 'ready') return
    this.parts.outbound.pump()
    this.host.flush()
    this.updateReading()
  }

  private read(chunk: Buffer | undefined): void {
    if (this.state === 'closing' || this.state === 'closed') return
    if (chunk !== undefined) this.host.stats.receivedBytes += chunk.length
    try {
      const fault = this.frames.read(chunk, this.onFrame)
      if (fault === 'malformed') {
        this.disconnect(
          Reason.malformedPacket,
          'malformed-packet',
          'the packet length is malformed',
        )
      } else if (fault === 'too-large') {
        this.host.stats.limited.packet++
        const cause = `a packet is larger than ${this.host.packetBytesMax} bytes`
        this.disconnect(Reason.packetTooLarge, 'packet-too-large', cause)
      }
    } catch (thrown) {
      this.fail(thrown)
    }
    if (this.parts === undefined) {
      this.weigh()
      return
    }
    this.protocol.touch()
    this.host.flush()
    if (this.output.isStuffed) this.updateReading()
  }

  /** What a connection holds that has not logged in. */
  private weigh(): void {
    if (this.state !== 'opening' && this.state !== 'connecting') return
    const bytes = this.frames.heldBytes + this.login.heldBytes
    if (this.host.strangers.hold(this, bytes)) return
    this.host.stats.limited.handshake++
    const cause = 'connections that have not logged in hold too much'
    this.disconnect(Reason.serverBusy, 'refused', cause)
  }

  /** N1: a bug that one client's packet met must not take the others with it. */
  fail(thrown: unknown): void {
    if (thrown instanceof AssertionFailure) throw thrown
    this.host.logger.error(
      { client: this.clientId, err: thrown },
      'a packet of this client could not be handled: only its connection is closed',
    )
    this.disconnect(Reason.implementationSpecific, 'internal-error', messageOf(thrown))
  }

  private readonly onFrame = (
    first: number,
    bytes: Buffer,
    at: number,
    bodyAt: number,
    end: number,
  ): boolean => {
    const type = first >> 4
    this.host.stats.packetsReceived++
    if (this.state === 'ready' && this.parts !== undefined) {
      if (type === PacketType.publish) {
        return this.onPublish(this.parts, first, bytes, at, bodyAt, end)
      }
      if ((first & 15) !== flagsOf(type)) return this.protocolFault('the packet has wrong flags')
      if (type >= PacketType.puback && type <= PacketType.pubcomp) {
        return this.onAck(this.parts, type, bytes, bodyAt, end)
      }
      if (type === PacketType.pingreq) return this.onPing(bodyAt, end)
      if (type === PacketType.subscribe) return this.onSubscribe(this.parts, bytes, bodyAt, end)
      if (type === PacketType.unsubscribe) return this.onUnsubscribe(this.parts, bytes, bodyAt, end)
      if (type === PacketType.disconnect) return this.onDisconnect(bytes, at, bodyAt, end)
    }
    if (this.state === 'opening' && type === PacketType.connect) {
      return this.onConnect(first, bytes, bodyAt, end)
    }
    // The first packet is CONNECT [MQTT-3.1.0-1], and no later one is [MQTT-3.1.0-2].
    return this.protocolFault(
      this.state === 'opening' ? 'the first packet is not CONNECT' : `type ${type} is not allowed`,
    )
  }

  /** CONNECT, checked by us and handled by the protocol side. */
  private onConnect(first: number, bytes: Buffer, bodyAt: number, end: number): boolean {
    if ((first & 15) !== 0) return this.protocolFault('CONNECT has wrong flags')
    this.login.begin(bytes, bodyAt, end, this.origin)
    return false
  }

  wait(): void {
    this.state = 'connecting'
    this.host.strangers.introduced(this)
    this.socket.pause()
  }

  get isWaiting(): boolean {
    return this.state === 'connecting'
  }

  pass(packet: Buffer): void {
    this.protocol.packet(packet)
  }

  turnAway(connack: Uint8Array | undefined, sentence: string): void {
    if (connack !== undefined) this.output.bytes(connack)
    this.disconnect(Reason.protocolError, 'refused', sentence)
  }

  private mayPublish(grants: Grants, { packet }: PublishDecoder): boolean {
    return grants.isOpen || grants.mayPublish(present(packet.route, 'a decoded route').topic)
  }

  private countLimit(limit: LimitName | undefined): void {
    if (limit !== undefined) this.host.stats.limited[limit]++
  }

  private onSubscribe(parts: ConnectedParts, bytes: Buffer, bodyAt: number, end: number): boolean {
    const { version } = parts
    const packet = readSubscribe(bytes, bodyAt, end, version, this.host.limits)
    if (isFault(packet)) return this.packetFault(packet)
    const said = this.host.subscribe(parts.subscriber, packet.asked, version)
    this.answerFilters(parts, PacketType.suback, packet.packetId, said)
    return true
  }

  get explain(): ReasonStrings {
    return present(this.facts, 'the facts of a client').explain
  }

  /** Answers once the subscriptions are on disk, where they outlive the connection. */
  private answerKept(parts: ConnectedParts, answer: Uint8Array): void {
    const kept = this.host.subscriptionsKept(parts.subscriber)
    if (kept === undefined) {
      this.output.bytes(answer)
      this.host.subscriptionsAnswered(parts.subscriber)
      return
    }
    kept.then(
      () => {
        if (this.state !== 'ready') return
        this.send(answer)
        this.host.subscriptionsAnswered(parts.subscriber)
      },
      (thrown: unknown) => {
        this.disconnect(Reason.implementationSpecific, 'storage', messageOf(thrown))
      },
    )
  }

  /** Consumers join and leave in their own time; all else is answered at once. */
  private answerFilters(
    parts: ConnectedParts,
    type: number,
    packetId: number,
    said: FiltersAnswer | Promise<FiltersAnswer>,
  ): void {
    const answer = (one: FiltersAnswer): void =>
      this.answerKept(parts, filtersAck(type, packetId, one, parts.version, this.explain))
    if (!(said instanceof Promise)) {
      answer(said)
      return
    }
    said
      .then((one) => {
        if (this.state !== 'ready') return
        answer(one)
        this.host.flushSoon()
      })
      .catch((thrown: unknown) => this.fail(thrown))
  }

  private onUnsubscribe(
    parts: ConnectedParts,
    bytes: Buffer,
    bodyAt: number,
    end: number,
  ): boolean {
    const { version } = parts
    const packet = readUnsubscribe(bytes, bodyAt, end, version)
    if (isFault(packet)) return this.packetFault(packet)
    const said = this.host.unsubscribe(parts.subscriber, packet.filters)
    this.answerFilters(parts, PacketType.unsuback, packet.packetId, said)
    return true
  }

  private onDisconnect(bytes: Buffer, at: number, bodyAt: number, end: number): boolean {
    const { version, sessionExpiryAskedS } = present(this.facts, 'the facts of a session')
    const fault = disconnectFault(bytes, bodyAt, end, version, sessionExpiryAskedS > 0)
    if (fault !== undefined) return this.packetFault(fault)
    this.login.disconnected(bodyAt === end ? Reason.success : (bytes[bodyAt] as number))
    this.protocol.packet(Buffer.from(bytes.subarray(at, end)))
    return false
  }

  /** Answered here, because a fleet that is idle sends nothing else [MQTT-3.12.4-1]. */
  private onPing(bodyAt: number, end: number): boolean {
    if (bodyAt !== end) return this.malformed('PINGREQ has a body')
    this.output.bytes(PINGRESP)
    return true
  }

  private onPublish(
    parts: ConnectedParts,
    first: number,
    bytes: Buffer,
    at: number,
    bodyAt: number,
    end: number,
  ): boolean {
    const fault = parts.decoder.decode(first, bytes, bodyAt, end)
    const { publisher } = parts
    if (fault === undefined) this.publish(parts, bytes, end)
    else if (fault.fatal) return this.packetFault(fault)
    else this.reject(parts, fault)
    if (publisher.isOverReceiveMaximum) return this.packetFault(OVER_RECEIVE_MAXIMUM)
    publisher.checkBounds()
    const waitMs = parts.throttle?.charge(end - at) ?? 0
    // The message may have ended the connection, which nothing would wake up.
    if (waitMs > 0 && this.state === 'ready') {
      this.ratePause.begin(waitMs)
      this.updateReading()
    }
    return !publisher.isPaused && !this.ratePause.isActive
  }

  private publish({ publisher, decoder, grants }: ConnectedParts, bytes: Buffer, end: number) {
    if (this.mayPublish(grants, decoder)) {
      publisher.publish(decoder.packet, bytes, end)
      return
    }
    // MQTT 3.1.1 has no word for it: it is acknowledged and goes nowhere [MQTT-3.3.5-2].
    this.host.stats.denied.publish++
    this.host.stats.dropped['not-authorized']++
    publisher.reject(decoder.packet, Reason.notAuthorized)
  }

  private reject({ publisher, decoder }: ConnectedParts, fault: PacketFault): void {
    this.countLimit(fault.limit)
    publisher.reject(decoder.packet, fault.reason)
  }

  private onAck(
    parts: ConnectedParts,
    type: number,
    bytes: Buffer,
    bodyAt: number,
    end: number,
  ): boolean {
    const length = end - bodyAt
    const isLong = this.facts?.version === 5 && length > 2
    if (length < 2 || (length > 2 && !isLong)) return this.malformed('an ack has a wrong length')
    const packetId = bytes.readUInt16BE(bodyAt)
    if (packetId === 0) return this.protocolFault('an ack has packet identifier 0')
    const fault = isLong ? longAckFault(type, bytes, bodyAt + 2, end) : undefined
    if (fault !== undefined) return this.packetFault(fault)
    const reason = isLong ? (bytes[bodyAt + 2] as number) : Reason.success
    if (type === PacketType.puback) parts.outbound.puback(packetId, reason)
    else if (type === PacketType.pubrec) parts.outbound.pubrec(packetId, reason)
    else if (type === PacketType.pubrel) parts.publisher.pubrel(packetId)
    else parts.outbound.pubcomp(packetId)
    return true
  }

  private packetFault(fault: PacketFault): boolean {
    this.countLimit(fault.limit)
    const why = fault.reason === Reason.protocolError ? 'protocol-error' : 'malformed-packet'
    this.disconnect(fault.reason, why, fault.sentence)
    return false
  }

  private malformed(cause: string): boolean {
    this.disconnect(Reason.malformedPacket, 'malformed-packet', cause)
    return false
  }

  private protocolFault(cause: string): boolean {
    this.disconnect(Reason.protocolError, 'protocol-error', cause)
    return false
  }
}

/** Reasons of ends that the protocol side came to; of others the client knows. */
const LIBRARY_REASONS: ReadonlyMap<CloseReason, number> = new Map([
  ['keep-alive', Reason.keepAliveTimeout],
  ['taken-over', Reason.sessionTakenOver],
  ['protocol-error', Reason.protocolError],
])

/** What failed here is told to the log, not to clients. */
const OUR_FAULT = 'the gateway could not go on with this connection'

const PINGRESP = Uint8Array.of(0xd0, 0)

const OVER_RECEIVE_MAXIMUM: PacketFault = {
  reason: Reason.receiveMaximumExceeded,
  sentence: `more than ${RECEIVE_MAXIMUM} QoS 2 messages are in flight`,
  fatal: true,
}
