import type { DailyBudget } from './daily-budget.ts'
import type { DayWindow } from './day-window.ts'
import type { TokenBucket } from './rate-limit.ts'

export interface LimitParts {
  readonly records: TokenBucket | undefined
  readonly bytes: TokenBucket | undefined
  readonly day: DailyBudget | undefined
  readonly window: DayWindow | undefined
}

/** All limits of a bridge as one: what waits, waits for the last of them. */
export class Limits {
  readonly day: DailyBudget | undefined
  readonly window: DayWindow | undefined
  private readonly records: TokenBucket | undefined
  private readonly bytes: TokenBucket | undefined

  constructor({ records, bytes, day, window }: LimitParts) {
    this.records = records
    this.bytes = bytes
    this.day = day
    this.window = window
  }

  /** How long until a message may go; 0: now. */
  delayMs(records: number, sizeBytes: number): number {
    return Math.max(
      this.records?.delayMs(records) ?? 0,
      this.bytes?.delayMs(sizeBytes) ?? 0,
      this.day?.delayMs(sizeBytes) ?? 0,
      this.window?.delayMs() ?? 0,
    )
  }

  /** Counts what went, also what no limit holds up. */
  take(records: number, sizeBytes: number): void {
    this.records?.take(records)
    this.bytes?.take(sizeBytes)
    this.day?.take(sizeBytes)
  }
}
