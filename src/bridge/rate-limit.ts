/**
 * How fast a bridge may send, in messages or in bytes: a token bucket. It answers "how long until"
 * instead of waiting itself, so that one loop can ask several of them and wait once.
 */
import { assert } from '../base/assert.ts'

/**
 * A quarter of a second of the rate may go at once: after a pause of the loop up to that long
 * nothing of the rate is lost, and over any 10 s it is at most 2.5 % too much.
 */
const BURST_SECONDS = 0.25

export class TokenBucket {
  readonly perSecond: number
  private readonly nowMs: () => number
  private readonly most: number
  /** Below 0 after a cost that was larger than the bucket: the debt is waited for afterwards. */
  private tokens: number
  private filledMs: number

  /** `nowMs` must never go back: monotonic time. */
  constructor(perSecond: number, nowMs: () => number) {
    assert(perSecond > 0, `a rate of ${perSecond} a second is above 0`)
    this.perSecond = perSecond
    this.nowMs = nowMs
    this.most = Math.max(1, perSecond * BURST_SECONDS)
    this.tokens = this.most
    this.filledMs = nowMs()
  }

  /**
   * How long until `cost` may be taken, 0 for now. What costs more than the bucket holds may go
   * when it is full.
   */
  delayMs(cost: number): number {
    this.fill()
    const missing = Math.min(cost, this.most) - this.tokens
    return missing <= 0 ? 0 : Math.ceil((missing * 1000) / this.perSecond)
  }

  /** Takes `cost`, also what is not there yet: priority 0 never waits, the others then do. */
  take(cost: number): void {
    this.fill()
    this.tokens -= cost
  }

  private fill(): void {
    const nowMs = this.nowMs()
    const more = ((nowMs - this.filledMs) * this.perSecond) / 1000
    this.tokens = Math.min(this.most, this.tokens + more)
    this.filledMs = nowMs
  }
}
