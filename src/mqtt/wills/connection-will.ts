/** The will of one connection, from its CONNECT to how it ended. */
import type { Will } from './will.ts'
import type { ArmedWill, Wills } from './wills.ts'

/** What CONNECT says of it. */
export interface WillFacts {
  readonly version: number
  readonly will: { readonly packet: Uint8Array; readonly delayS: number } | undefined
  readonly cleanStart: boolean
  readonly sessionExpiryS: number
}

export class ConnectionWill {
  private readonly wills: Wills
  private readonly facts: WillFacts
  private armed: ArmedWill | undefined
  private isClean = false
  private hasEnded = false

  constructor(wills: Wills, facts: WillFacts) {
    this.wills = wills
    this.facts = facts
  }

  /** Before CONNACK. Rejects with `storage` when the will cannot be stored. */
  async arm(clientId: string): Promise<void> {
    const { cleanStart, sessionExpiryS } = this.facts
    this.armed = await this.wills.arm(clientId, this.will(sessionExpiryS), !cleanStart)
    // Gone before it was there: nobody was told that its will is taken.
    if (this.hasEnded && this.armed !== undefined) this.wills.disarm(this.armed)
  }

  /** DISCONNECT: with reason 0 the will goes [MQTT-3.14.4-3], any other keeps it. */
  disconnected(reason: number): void {
    this.isClean = reason === 0
  }

  /**
   * The connection has ended; its session lives for `sessionExpiryS` more. `isValid`: CONNACK was
   * sent, and the client still may publish its will.
   */
  end(isValid: boolean, sessionExpiryS: number): void {
    this.hasEnded = true
    const { armed } = this
    this.armed = undefined
    if (armed === undefined) return
    armed.will = this.will(sessionExpiryS) ?? armed.will
    if (this.isClean || !isValid) this.wills.disarm(armed)
    else this.wills.ended(armed)
  }

  /** It waits no longer than the session lives [MQTT5 3.1.3.2.2]. */
  private will(sessionExpiryS: number): Will | undefined {
    const { version, will } = this.facts
    if (will === undefined) return undefined
    return { packet: will.packet, version, delayS: Math.min(will.delayS, sessionExpiryS) }
  }
}
