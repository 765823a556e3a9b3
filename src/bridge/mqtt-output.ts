/**
 * What one connection has under way: identifiers with their waiters, and the bytes on their way to
 * the socket, collected in one buffer for each loop turn.
 *
 * Identifiers are used in turn, so that an ack which comes twice, or late, meets a waiter that is
 * gone and not a newer message (U1).
 */
import type { Duplex } from 'node:stream'
import { assert } from '../base/assert.ts'
import { type PublishSizes, publishSizes, writeAck, writePublish } from './publish-packet.ts'
import type { OutboundMessage, PublishWaiter } from './uplink.ts'

/** The part of a socket that is used here. */
export type OutputSocket = Pick<Duplex, 'writableLength' | 'destroyed'> & {
  write(bytes: Buffer, done?: (error?: Error | null) => void): boolean
  once(event: 'drain', listener: () => void): unknown
}

/** Bytes handed to the socket and not taken by the system: enough for any link, and bounded. */
const UNSENT_BYTES_MAX = 128 * 1024
const CHUNK_BYTES = 64 * 1024
const PUBREL_FIRST = 0x62
const PUBACK_FIRST = 0x40
const PUBCOMP_FIRST = 0x70
/** Reason codes from here on refuse a message. */
export const REFUSED_FROM = 0x80

export class MqttOutput {
  inflight = 0
  inflightMax: number
  private readonly version: 4 | 5
  private readonly roomy: () => void
  /** By identifier - 1. */
  private readonly waiters: (PublishWaiter | undefined)[]
  private nextId = 1
  private socket: OutputSocket | undefined
  private chunk = Buffer.alloc(0)
  /** What of the chunk is not handed over yet: [from, to). */
  private from = 0
  private to = 0
  private unsettledQos0: PublishWaiter[] = []
  private flushDue = false
  private lacked = false
  private readonly sizes: PublishSizes = { remainingLength: 0, properties: 0 }

  /** `roomy` is called when there is room after there was none. */
  constructor(version: 4 | 5, idsMax: number, roomy: () => void) {
    this.version = version
    this.roomy = roomy
    this.inflightMax = idsMax
    this.waiters = new Array<PublishWaiter | undefined>(idsMax)
  }

  get hasRoom(): boolean {
    const { socket } = this
    if (socket === undefined || socket.destroyed) return false
    const unsent = socket.writableLength + this.to - this.from
    const has = this.inflight < this.inflightMax && unsent < UNSENT_BYTES_MAX
    if (!has) this.lacked = true
    return has
  }

  open(socket: OutputSocket, receiveMaximum: number): void {
    this.socket = socket
    this.inflightMax = Math.min(this.inflightMax, receiveMaximum)
  }

  sizeOf(message: OutboundMessage): number {
    return publishSizes(message, this.version, this.sizes)
  }

  publish(message: OutboundMessage, waiter: PublishWaiter): void {
    const sizeBytes = publishSizes(message, this.version, this.sizes)
    let id = 0
    if (message.qos === 0) {
      this.unsettledQos0.push(waiter)
    } else {
      id = this.freeId()
      this.waiters[id - 1] = waiter
      this.inflight++
    }
    this.reserve(sizeBytes)
    const end = writePublish(this.chunk, this.to, message, this.version, id, this.sizes)
    assert(end === this.to + sizeBytes, 'a PUBLISH has the size that was reckoned')
    this.to = end
    this.flushSoon()
  }

  /** PUBACK or PUBCOMP. */
  settled(id: number, reason: number): void {
    const waiter = this.waiters[id - 1]
    if (waiter === undefined) return
    this.waiters[id - 1] = undefined
    this.inflight--
    waiter.settled(reason < REFUSED_FROM ? 0 : reason)
    this.tellRoom()
  }

  /** PUBREC. */
  received(id: number, reason: number): void {
    if (reason >= REFUSED_FROM) this.settled(id, reason)
    else this.control(PUBREL_FIRST, id)
  }

  /** Acknowledges a message that came down. */
  ack(qos: 1 | 2, id: number): void {
    this.control(qos === 1 ? PUBACK_FIRST : PUBCOMP_FIRST, id)
  }

  /**
   * Sends PUBREL for each identifier that the process before this one may have left in the
   * upstream's session; returns how many PUBCOMPs will come.
   */
  releaseAll(): number {
    for (let id = 1; id <= this.waiters.length; id++) this.control(PUBREL_FIRST, id)
    return this.waiters.length
  }

  flush(): void {
    this.flushDue = false
    const { socket } = this
    if (socket === undefined || this.from === this.to) return
    const bytes = this.chunk.subarray(this.from, this.to)
    this.from = this.to
    const settling = this.unsettledQos0
    if (settling.length > 0) this.unsettledQos0 = []
    const went = socket.write(bytes, (error) => {
      if (error === undefined || error === null) for (const waiter of settling) waiter.settled(0)
      this.tellRoom()
    })
    if (!went) socket.once('drain', () => this.tellRoom())
  }

  /** Nothing is settled and nothing sent any more. */
  end(): void {
    this.socket = undefined
    this.waiters.fill(undefined)
    this.unsettledQos0 = []
    this.inflight = 0
  }

  private tellRoom(): void {
    if (!this.lacked || !this.hasRoom) return
    this.lacked = false
    this.roomy()
  }

  private freeId(): number {
    assert(this.inflight < this.waiters.length, 'there is an identifier for each message')
    while (this.waiters[this.nextId - 1] !== undefined) this.turn()
    const id = this.nextId
    this.turn()
    return id
  }

  private turn(): void {
    this.nextId = this.nextId === this.waiters.length ? 1 : this.nextId + 1
  }

  private control(first: number, id: number): void {
    this.reserve(4)
    this.to = writeAck(this.chunk, this.to, first, id)
    this.flushSoon()
  }

  private reserve(sizeBytes: number): void {
    if (this.to + sizeBytes <= this.chunk.length) return
    this.flush()
    this.chunk = Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, sizeBytes))
    this.from = 0
    this.to = 0
  }

  private flushSoon(): void {
    if (this.flushDue) return
    this.flushDue = true
    setImmediate(() => this.flush())
  }
}
