/**
 * The outbound window of one subscriber: which packet identifiers are in flight, and where each
 * QoS 2 handshake stands. Pure: it sends nothing.
 *
 * W1. No more than `size` messages are in flight [MQTT-3.3.4-9].
 * W2. An identifier is not used again before its handshake has ended [MQTT-2.3.1-4].
 */
import { assert } from '../../base/assert.ts'

/** What the subscriber owes next. */
export type Awaited = 'puback' | 'pubrec' | 'pubcomp'

export class Window {
  private readonly size: number
  /** Made with the first message: most connections only publish. */
  private inflight: Map<number, Awaited> | undefined
  private lastId = 0

  /** `size`: from 1 to 65,535. */
  constructor(size: number) {
    assert(size >= 1 && size <= 65_535, `a window of ${size} messages is possible`)
    this.size = size
  }

  get count(): number {
    return this.inflight?.size ?? 0
  }

  get hasRoom(): boolean {
    return this.count < this.size
  }

  /** Takes a free identifier, 1 to 65,535. Needs room. */
  open(qos: 1 | 2): number {
    assert(this.hasRoom, 'the window has room for a message')
    this.inflight ??= new Map()
    do {
      this.lastId = this.lastId === 65_535 ? 1 : this.lastId + 1
    } while (this.inflight.has(this.lastId))
    this.inflight.set(this.lastId, qos === 1 ? 'puback' : 'pubrec')
    return this.lastId
  }

  /** PUBACK: true when a message was waiting for it. */
  puback(id: number): boolean {
    return this.ended(id, 'puback')
  }

  /** PUBREC with success: true when a PUBREL is due, which it is again for a repeated PUBREC. */
  pubrec(id: number): boolean {
    const awaited = this.inflight?.get(id)
    if (awaited !== 'pubrec' && awaited !== 'pubcomp') return false
    this.inflight?.set(id, 'pubcomp')
    return true
  }

  /** PUBREC with a reason of 0x80 or more ends the handshake [MQTT-4.3.3-5]. */
  pubrecRefused(id: number): boolean {
    return this.ended(id, 'pubrec')
  }

  /** PUBCOMP: true when it ended a handshake. */
  pubcomp(id: number): boolean {
    return this.ended(id, 'pubcomp')
  }

  private ended(id: number, awaited: Awaited): boolean {
    return this.inflight?.get(id) === awaited && this.inflight.delete(id)
  }
}
