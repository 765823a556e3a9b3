/** The shortest and longest pause between two attempts of one device to connect. */
const firstMs = 500
const mostMs = 8_000

/**
 * Pauses between attempts to connect, with decorrelated jitter: each is a random time between the
 * shortest and three times the last, so that a fleet does not come back as one wave.
 */
export class Backoff {
  private readonly random: () => number
  private lastMs = firstMs

  /** `random` gives fractions of [0, 1). */
  constructor(random: () => number) {
    this.random = random
  }

  nextMs(): number {
    const span = this.lastMs * 3 - firstMs
    this.lastMs = Math.min(mostMs, Math.round(firstMs + this.random() * span))
    return this.lastMs
  }

  reset(): void {
    this.lastMs = firstMs
  }
}
