/**
 * One client's connection: its socket, what is read from it and what is written to it. Cuts the
 * stream into packets, sends each to its owner (publisher, subscriber, protocol), and closes.
 *
 * N1. An exception while one packet is handled closes this connection only (G8).
 * N2. Between CONNECT and CONNACK nothing more is handled: later packets wait, at most a read chunk
 *     of them.
 */
import type { Socket } from 'node:net'
import { AssertionFailure } from '../base/assert.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { Peer, ProtocolSession, SessionFacts } from './aedes/protocol.ts'
import type { Subscriber } from './delivery/subscriber.ts'
import { type Publisher, type PublisherConnection, RECEIVE_MAXIMUM } from './ingest/publisher.ts'
import type { CloseReason, MqttStats } from './stats.ts'
import { checkConnect } from './wire/connect.ts'
import { FrameReader } from './wire/frame-reader.ts'
import { Output } from './wire/output.ts'
import { PacketType, Reason } from './wire/packets.ts'
import type { PacketFault, PublishDecoder } from './wire/publish.ts'
import {
  type Asked,
  disconnectFault,
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
export interface ConnectionHost {
  readonly stats: MqttStats
  readonly logger: Logger
  readonly packetBytesMax: number
  readonly dirty: Output[]
  /** Sends what all outputs have collected. */
  flush(): void
  /** The same, at the end of the loop turn. */
  flushSoon(): void
  /** Makes what a connected client needs. */
  connected(connection: Connection, facts: SessionFacts): ConnectedParts
  /** A decoder, for a will before its client is connected. */
  decoder(version: number): PublishDecoder
  /** Subscribes as far as limits allow; a code for each filter [MQTT-3.9.3-1]. */
  subscribe(subscriber: Subscriber, asked: readonly Asked[], version: number): readonly number[]
  /** A code for each filter [MQTT5 3.11.3]. */
  unsubscribe(subscriber: Subscriber, filters: readonly string[]): readonly number[]
  closed(connection: Connection, subscriber: Subscriber | undefined): void
}

export interface ConnectedParts {
  readonly version: number
  readonly publisher: Publisher
  readonly subscriber: Subscriber
  readonly decoder: PublishDecoder
}

export class Connection implements Peer, PublisherConnection {
  readonly output: Output
  private readonly socket: Socket
  private readonly host: ConnectionHost
  private readonly frames: FrameReader
  private readonly protocol: ProtocolSession
  private state: State = 'opening'
  private parts: ConnectedParts | undefined
  private facts: SessionFacts | undefined
  /** The will of CONNECT as a PUBLISH packet. */
  private willPacket: Buffer | undefined

  constructor(socket: Socket, host: ConnectionHost, open: (peer: Peer) => ProtocolSession) {
    this.socket = socket
    this.host = host
    // Before CONNECT nobody has shown who they are: ten thousand strangers must not hold much.
    this.frames = new FrameReader(Math.min(host.packetBytesMax, CONNECT_BYTES_MAX))
    this.output = new Output(socket, host.stats, host.dirty)
    this.protocol = open(this)
    host.stats.sockets++
    socket.on('data', (chunk: Buffer) => this.read(chunk))
    socket.on('drain', () => this.drained())
    socket.on('error', () => this.protocol.lost())
    socket.on('end', () => this.protocol.lost())
    socket.on('close', () => this.gone())
  }

  get clientId(): string | undefined {
    return this.facts?.clientId
  }

  /** Ends the connection from our side; MQTT 5 clients are told the reason. */
  disconnect(reason: number, why: CloseReason, cause: string): void {
    if (this.state === 'closing' || this.state === 'closed') return
    this.state = 'closing'
    this.protocol.disconnect(reason, why, cause)
  }

  /** Reads, or not, for the reasons that the publisher and the output have. */
  updateReading(): void {
    if (this.state !== 'ready' || this.parts === undefined) return
    const held = this.parts.publisher.isPaused || this.output.isStuffed
    if (held) this.socket.pause()
    else if (this.socket.isPaused()) queueMicrotask(() => this.readOn())
  }

  /** What the pause left of the last chunk comes first; it may bring the next pause. */
  private readOn(): void {
    if (this.state !== 'ready' || this.parts === undefined) return
    this.read(undefined)
    if (!this.parts.publisher.isPaused && !this.output.isStuffed) this.socket.resume()
  }

  refuse(): void {
    const cause = 'the log could not keep a message'
    this.disconnect(Reason.implementationSpecific, 'storage', cause)
  }

  /** The client is not read because of us: its silence is no reason to end it. */
  keepAliveWhilePaused(): void {
    if (this.parts?.publisher.isPaused === true) this.protocol.touch()
  }

  send(bytes: Uint8Array): void {
    this.output.bytes(bytes)
    this.host.flushSoon()
  }

  ready(facts: SessionFacts): void {
    if (this.state !== 'connecting') return
    this.facts = facts
    this.parts = this.host.connected(this, facts)
    this.state = 'ready'
    this.frames.packetBytesMax = this.host.packetBytesMax
    // CONNACK goes out before anything that answers what came behind CONNECT, held until now.
    this.host.flush()
    queueMicrotask(() => this.readOn())
  }

  will(): void {
    const { parts, willPacket } = this
    if (parts === undefined || willPacket === undefined) return
    this.withWill(willPacket, parts.decoder, (bytes, end) => {
      parts.publisher.will(parts.decoder.packet, bytes, end)
    })
  }

  /** Decodes a will as the PUBLISH that it is; answers what is wrong with it. */
  private withWill(
    will: Buffer,
    decoder: PublishDecoder,
    take: (bytes: Buffer, end: number) => void,
  ): PacketFault | undefined {
    let fault: PacketFault | undefined
    new FrameReader(will.length).read(will, (first, bytes, _at, bodyAt, end) => {
      fault = decoder.decode(first, bytes, bodyAt, end)
      if (fault === undefined) take(bytes, end)
      return false
    })
    return fault
  }

  ended(reason: CloseReason, cause: string): void {
    if (this.state === 'closed') return
    this.state = 'closed'
    this.host.stats.closed[reason]++
    if (this.parts === undefined) this.host.stats.connectionsRefused++
    this.host.logger.debug({ client: this.clientId, reason, cause }, 'connection closed')
    this.parts?.publisher.close()
    this.parts?.subscriber.close()
    this.host.closed(this, this.parts?.subscriber)
    this.frames.clear()
    this.output.flush()
    this.farewell()
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
    this.parts.subscriber.pump()
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
        const cause = `a packet is larger than ${this.host.packetBytesMax} bytes`
        this.disconnect(Reason.packetTooLarge, 'packet-too-large', cause)
      }
    } catch (thrown) {
      this.fail(thrown)
    }
    if (this.parts === undefined) return
    this.protocol.touch()
    this.host.flush()
    if (this.output.isStuffed) this.updateReading()
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
    if (this.state === 'ready' && this.parts !== undefined) {
      if (type === PacketType.publish) return this.onPublish(this.parts, first, bytes, bodyAt, end)
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
      return this.onConnect(first, bytes, at, bodyAt, end)
    }
    // The first packet is CONNECT [MQTT-3.1.0-1], and no later one is [MQTT-3.1.0-2].
    return this.protocolFault(
      this.state === 'opening' ? 'the first packet is not CONNECT' : `type ${type} is not allowed`,
    )
  }

  /** CONNECT, checked by us and handled by the protocol side. */
  private onConnect(
    first: number,
    bytes: Buffer,
    at: number,
    bodyAt: number,
    end: number,
  ): boolean {
    if ((first & 15) !== 0) return this.protocolFault('CONNECT has wrong flags')
    const verdict = checkConnect(bytes, bodyAt, end)
    if (verdict.kind === 'refused') return this.refuseConnect(verdict.connack, verdict.sentence)
    if (verdict.will !== undefined) {
      const fault = this.willFault(verdict.will, verdict.version)
      if (fault !== undefined) {
        const connack =
          verdict.version === 5 ? Uint8Array.of(0x20, 3, 0, fault.reason, 0) : undefined
        return this.refuseConnect(connack, `the will: ${fault.sentence}`)
      }
      this.willPacket = verdict.will
    }
    this.state = 'connecting'
    this.socket.pause()
    // The library keeps parts of what it gets: it must not be a view on the read chunk.
    this.protocol.packet(Buffer.from(bytes.subarray(at, end)))
    return false
  }

  private willFault(will: Buffer, version: number): PacketFault | undefined {
    if (will.length > this.host.packetBytesMax) {
      return { reason: Reason.packetTooLarge, sentence: 'it is too large', fatal: true }
    }
    return this.withWill(will, this.host.decoder(version), () => undefined)
  }

  private refuseConnect(connack: Uint8Array | undefined, sentence: string): boolean {
    if (connack !== undefined) this.output.bytes(connack)
    this.disconnect(Reason.protocolError, 'refused', sentence)
    return false
  }

  private onSubscribe(parts: ConnectedParts, bytes: Buffer, bodyAt: number, end: number): boolean {
    const { version } = parts
    const packet = readSubscribe(bytes, bodyAt, end, version)
    if (isFault(packet)) return this.packetFault(packet)
    const codes = this.host.subscribe(parts.subscriber, packet.asked, version)
    this.output.bytes(filtersAck(PacketType.suback, packet.packetId, codes, version))
    return true
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
    const codes = this.host.unsubscribe(parts.subscriber, packet.filters)
    this.output.bytes(filtersAck(PacketType.unsuback, packet.packetId, codes, version))
    return true
  }

  private onDisconnect(bytes: Buffer, at: number, bodyAt: number, end: number): boolean {
    const fault = disconnectFault(bytes, bodyAt, end, this.facts?.version ?? 4)
    if (fault !== undefined) return this.packetFault(fault)
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
    bodyAt: number,
    end: number,
  ): boolean {
    const fault = parts.decoder.decode(first, bytes, bodyAt, end)
    const { publisher } = parts
    if (fault === undefined) publisher.publish(parts.decoder.packet, bytes, end)
    else if (fault.fatal) return this.packetFault(fault)
    else publisher.reject(parts.decoder.packet, fault.reason)
    if (publisher.isOverReceiveMaximum) return this.packetFault(OVER_RECEIVE_MAXIMUM)
    publisher.checkBounds()
    return !publisher.isPaused
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
    const reason = isLong ? (bytes[bodyAt + 2] as number) : Reason.success
    if (type === PacketType.puback) parts.subscriber.puback(packetId)
    else if (type === PacketType.pubrec) parts.subscriber.pubrec(packetId, reason)
    else if (type === PacketType.pubrel) parts.publisher.pubrel(packetId)
    else parts.subscriber.pubcomp(packetId)
    return true
  }

  private packetFault(fault: PacketFault): boolean {
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

const PINGRESP = Uint8Array.of(0xd0, 0)

const OVER_RECEIVE_MAXIMUM: PacketFault = {
  reason: Reason.receiveMaximumExceeded,
  sentence: `more than ${RECEIVE_MAXIMUM} QoS 2 messages are in flight`,
  fatal: true,
}
