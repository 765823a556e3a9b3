/**
 * Bytes a day, as a metered link is billed: what was sent on the wire, per UTC day, also across
 * restarts. It answers "how long until" as the rate does.
 *
 * D1. A step of the wall clock back gives nothing anew: what was spent counts for the day that it
 *     now is. A step forward into another day does, for that cannot be told from a night.
 */
import { assert } from '../base/assert.ts'

export interface DailySpending {
  /** Days since 1970, UTC. */
  readonly day: number
  readonly spentBytes: number
}

export interface DailyBudgetParts {
  readonly bytesPerDay: number
  /** Wall time in milliseconds. */
  readonly nowMs: () => number
  /** What was saved last; undefined at the first start. */
  readonly load: () => DailySpending | undefined
  /** Called about once a second while bytes are spent, at a new day, and by `save`. */
  readonly save: (spending: DailySpending) => void
}

const DAY_MS = 86_400_000
/** A crash forgets about this much of the day's spending, beside what `save` itself delays. */
const SAVE_MS = 1000

export class DailyBudget {
  readonly bytesPerDay: number
  private readonly parts: DailyBudgetParts
  private day: number
  private spent: number
  private savedMs: number

  constructor(parts: DailyBudgetParts) {
    assert(parts.bytesPerDay > 0, `${parts.bytesPerDay} bytes a day are above 0`)
    this.parts = parts
    this.bytesPerDay = parts.bytesPerDay
    const nowMs = parts.nowMs()
    const saved = parts.load()
    this.day = saved?.day ?? dayOf(nowMs)
    this.spent = saved?.spentBytes ?? 0
    this.savedMs = nowMs
    this.turn(nowMs)
  }

  /** Bytes that were spent today. */
  get spentBytes(): number {
    this.turn(this.parts.nowMs())
    return this.spent
  }

  /** Bytes that are left of today; 0 also when more than all was spent. */
  get remainingBytes(): number {
    return Math.max(0, this.bytesPerDay - this.spentBytes)
  }

  /**
   * How long until `cost` bytes may be sent: 0 for now, otherwise until the next day begins. A
   * cost above a whole day's bytes may go on a day on which nothing was spent.
   */
  delayMs(cost: number): number {
    const nowMs = this.parts.nowMs()
    this.turn(nowMs)
    if (this.spent + cost <= this.bytesPerDay || this.spent === 0) return 0
    return (this.day + 1) * DAY_MS - nowMs
  }

  /** Counts bytes as sent, also past the budget: priority 0 and keep-alives never wait. */
  take(cost: number): void {
    const nowMs = this.parts.nowMs()
    this.turn(nowMs)
    this.spent += cost
    // A clock that was set back must not put the next save off.
    if (Math.abs(nowMs - this.savedMs) >= SAVE_MS) this.saveAt(nowMs)
  }

  /** At a stop: nothing of the day is forgotten. */
  save(): void {
    this.saveAt(this.parts.nowMs())
  }

  private turn(nowMs: number): void {
    const day = dayOf(nowMs)
    if (day === this.day) return
    if (day > this.day) this.spent = 0
    this.day = day
    this.saveAt(nowMs)
  }

  private saveAt(nowMs: number): void {
    this.savedMs = nowMs
    this.parts.save({ day: this.day, spentBytes: this.spent })
  }
}

function dayOf(nowMs: number): number {
  return Math.floor(nowMs / DAY_MS)
}
