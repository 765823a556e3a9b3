/**
 * The outbound window of one client: which packet identifiers are in flight, what they carry, and
 * where each QoS 2 handshake stands. Pure: it sends nothing. Of a persistent session it lives
 * longer than the connection.
 *
 * W1. No more than `size` messages are in flight [MQTT-3.3.4-9].
 * W2. An identifier is not used again before its handshake has ended [MQTT-2.3.1-4].
 * W3. What waits to be sent again comes before what is new, in its first order [MQTT-4.6.0-1].
 */
import { assert } from '../../base/assert.ts'
import type { Settled } from '../../consumers/member.ts'
import type { Position } from '../../log/log.ts'

/**
 * What the client owes next. 'nothing': the message is no longer ours to send, but the client may
 * hold on to its identifier, which is not used meanwhile.
 */
export type Awaited = 'puback' | 'pubrec' | 'pubcomp' | 'nothing'

/** One message in flight; one object each, which is all that a message in flight costs. */
export interface InFlight {
  readonly packetId: number
  /** Empty: of no stream, so that it cannot be sent again. */
  readonly stream: string
  readonly position: Position
  /** Sent with the retain flag because it was retained when the client subscribed. */
  readonly isRetained: boolean
  awaited: Awaited
  /** On this connection. */
  isSent: boolean
  /** Whose it is when it is not the client's own subscriptions': told how it ended. */
  settled: Settled | undefined
}

export type StoredEntry = Omit<InFlight, 'settled' | 'isSent'>

export class Window {
  private size: number
  /** In the order of sending. Made with the first message: most connections only publish. */
  private inflight: Map<number, InFlight> | undefined
  /** Of an earlier connection, not sent again yet. */
  private unsent = 0
  /** Entries that await nothing. */
  private reserved = 0
  private lastId = 0
  private changeCount = 0

  /** `size`: from 1 to 65,535. */
  constructor(size: number) {
    assert(size >= 1 && size <= 65_535, `a window of ${size} messages is possible`)
    this.size = size
  }

  get count(): number {
    return (this.inflight?.size ?? 0) - this.reserved
  }

  get hasRoom(): boolean {
    return this.count - this.unsent < this.size && (this.inflight?.size ?? 0) < 65_535
  }

  /** Whether something of an earlier connection waits to be sent again. */
  get isResuming(): boolean {
    return this.unsent > 0
  }

  /** Rises with every change of what is in flight. */
  get changes(): number {
    return this.changeCount
  }

  get lastPacketId(): number {
    return this.lastId
  }

  /** What is in flight, in the order of sending. */
  entries(): Iterable<InFlight> {
    return this.inflight?.values() ?? []
  }

  get(id: number): InFlight | undefined {
    return this.inflight?.get(id)
  }

  /** Takes a free identifier, 1 to 65,535. Needs room. */
  open(
    qos: 1 | 2,
    stream: string,
    position: Position,
    isRetained = false,
    settled: Settled | undefined = undefined,
  ): number {
    assert(this.hasRoom, 'the window has room for a message')
    this.inflight ??= new Map()
    do {
      this.lastId = this.lastId === 65_535 ? 1 : this.lastId + 1
    } while (this.inflight.has(this.lastId))
    const awaited = qos === 1 ? 'puback' : 'pubrec'
    const packetId = this.lastId
    this.changeCount++
    this.inflight.set(packetId, {
      packetId,
      stream,
      position,
      isRetained,
      awaited,
      isSent: true,
      settled,
    })
    return packetId
  }

  /** Puts back what a stored session had in flight, in the order of sending. */
  restore(entries: readonly StoredEntry[], lastId: number): void {
    this.inflight = new Map(
      entries.map((one) => [one.packetId, { ...one, isSent: false, settled: undefined }]),
    )
    this.reserved = entries.filter(({ awaited }) => awaited === 'nothing').length
    this.lastId = lastId
  }

  /** A new connection of the session: all that is in flight is to be sent again. */
  resume(size: number): void {
    this.size = size
    this.unsent = this.count
    for (const entry of this.inflight?.values() ?? []) entry.isSent = entry.awaited === 'nothing'
  }

  /** One of those that wait was sent again; there must be room for it. */
  resent(entry: InFlight): void {
    if (entry.isSent) return
    entry.isSent = true
    this.unsent--
  }

  /** Ends an entry that cannot be sent again, of those that wait. */
  forget(entry: InFlight): void {
    if (this.inflight?.get(entry.packetId) !== entry) return
    if (entry.awaited === 'pubrec') this.reserve(entry)
    else this.drop(entry)
  }

  /**
   * The connection ended: what belongs to others goes to others. An identifier of theirs whose
   * QoS 2 handshake has begun stays taken, because the client may remember it.
   */
  suspend(): void {
    for (const entry of this.inflight?.values() ?? []) {
      const isOwn = entry.settled === undefined && entry.stream !== ''
      if (isOwn || entry.awaited === 'nothing' || entry.awaited === 'pubcomp') continue
      if (entry.awaited === 'pubrec') this.reserve(entry)
      else this.inflight?.delete(entry.packetId)
    }
    this.unsent = 0
    for (const entry of this.inflight?.values() ?? []) entry.isSent = false
  }

  /** Lets go of everything of a stream: somebody moved the session's place in it. */
  abandon(stream: string): void {
    for (const entry of this.inflight?.values() ?? []) {
      if (entry.stream !== stream || entry.settled !== undefined) continue
      if (entry.awaited === 'pubrec') this.reserve(entry)
      else if (entry.awaited === 'puback') this.drop(entry)
    }
  }

  /** Lets go of what is before `position`: it was settled, or can no longer be read. */
  passed(stream: string, position: Position): void {
    for (const entry of this.inflight?.values() ?? []) {
      if (entry.stream !== stream || entry.position >= position || entry.isRetained) continue
      if (entry.awaited === 'pubrec') this.reserve(entry)
      else if (entry.awaited === 'puback') this.drop(entry)
    }
  }

  private reserve(entry: InFlight): void {
    this.resent(entry)
    entry.awaited = 'nothing'
    this.reserved++
  }

  private drop(entry: InFlight): void {
    this.changeCount++
    this.resent(entry)
    this.inflight?.delete(entry.packetId)
  }

  /** PUBACK: the message that was waiting for it. */
  puback(id: number): InFlight | undefined {
    return this.ended(id, 'puback')
  }

  /** PUBREC with success: true when a PUBREL is due, which it is again for a repeated PUBREC. */
  pubrec(id: number): boolean {
    const entry = this.inflight?.get(id)
    if (entry === undefined || entry.awaited === 'puback') return false
    if (entry.awaited === 'nothing') this.reserved--
    this.changeCount++
    entry.awaited = 'pubcomp'
    return true
  }

  /** PUBREC with a reason of 0x80 or more ends the handshake [MQTT-4.3.3-5]. */
  pubrecRefused(id: number): InFlight | undefined {
    return this.ended(id, 'pubrec')
  }

  /** PUBCOMP: the message whose handshake it ended. */
  pubcomp(id: number): InFlight | undefined {
    return this.ended(id, 'pubcomp')
  }

  private ended(id: number, awaited: Awaited): InFlight | undefined {
    const entry = this.inflight?.get(id)
    if (entry === undefined || entry.awaited !== awaited) return undefined
    this.drop(entry)
    return entry
  }
}
