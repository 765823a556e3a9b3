import type { Random } from './random.ts'

/** Waits grow from the first to the most; a success that lasts sets them back. */
export interface BackoffLimits {
  readonly firstMs: number
  readonly mostMs: number
}

/**
 * Waits between attempts, with decorrelated jitter: each is drawn between the first wait and three
 * times the last one. So a thousand gateways whose broker came back do not knock at the same
 * moment, as they would with waits that merely double, and the mean still grows with each failure.
 */
export class Backoff {
  private readonly limits: BackoffLimits
  private readonly random: Random
  private lastMs: number

  constructor(limits: BackoffLimits, random: Random) {
    this.limits = limits
    this.random = random
    this.lastMs = limits.firstMs
  }

  /** The wait before the next attempt, ms. */
  next(): number {
    const { firstMs, mostMs } = this.limits
    const spreadMs = Math.max(1, Math.min(0xffff_ffff, Math.floor(this.lastMs * 3 - firstMs)))
    this.lastMs = Math.min(mostMs, firstMs + this.random.below(spreadMs))
    return this.lastMs
  }

  /** What came before counts no more. */
  reset(): void {
    this.lastMs = this.limits.firstMs
  }
}
