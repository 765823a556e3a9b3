/**
 * How fast one client may publish: two token buckets that hold a second's worth. What is over the
 * rate is not refused: the caller stops reading the socket, and TCP slows the client down.
 */
import type { Clock } from '../../base/clock.ts'
import type { ClientRate } from '../limits.ts'

export class Throttle {
  private readonly clock: Clock
  private readonly messagesPerMs: number
  private readonly bytesPerMs: number
  private messages: number
  private bytes: number
  private filledAtMs: number

  constructor({ messagesPerSecond, bytesPerSecond }: ClientRate, clock: Clock) {
    this.clock = clock
    this.messagesPerMs = (messagesPerSecond ?? Number.POSITIVE_INFINITY) / 1000
    this.bytesPerMs = (bytesPerSecond ?? Number.POSITIVE_INFINITY) / 1000
    this.messages = this.messagesPerMs * 1000
    this.bytes = this.bytesPerMs * 1000
    this.filledAtMs = this.nowMs()
  }

  /**
   * Takes a message of `size` bytes. Answers how many milliseconds the client must not be read
   * now, 0 for go on. The message itself always goes through: a bucket may be overdrawn by one.
   */
  charge(size: number): number {
    const nowMs = this.nowMs()
    const passedMs = nowMs - this.filledAtMs
    this.filledAtMs = nowMs
    this.messages = filled(this.messages, this.messagesPerMs, passedMs) - 1
    this.bytes = filled(this.bytes, this.bytesPerMs, passedMs) - size
    const waitMs = Math.max(-this.messages / this.messagesPerMs, -this.bytes / this.bytesPerMs)
    return waitMs > 0 ? Math.ceil(waitMs) : 0
  }

  private nowMs(): number {
    return this.clock.monotonicUs() / 1000
  }
}

function filled(level: number, perMs: number, passedMs: number): number {
  if (perMs === Number.POSITIVE_INFINITY) return Number.MAX_SAFE_INTEGER
  return Math.min(perMs * 1000, level + perMs * passedMs)
}
