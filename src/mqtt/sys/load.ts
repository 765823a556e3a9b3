/**
 * Averages of a counter's rate, per minute, over 1, 5 and 15 minutes, as `$SYS/broker/load/...` has
 * them: each look moves the average towards the rate since the last one, the more the longer that
 * is.
 */
export const loadSpans = [
  { name: '1min', spanMs: 60_000 },
  { name: '5min', spanMs: 300_000 },
  { name: '15min', spanMs: 900_000 },
] as const

export class Load {
  private readonly averages = loadSpans.map(() => 0)
  private last = 0

  /** The counter stands at `total`; `elapsedMs` since the last look. */
  update(total: number, elapsedMs: number): void {
    if (elapsedMs <= 0) return
    const perMinute = ((total - this.last) * 60_000) / elapsedMs
    this.last = total
    for (const [i, { spanMs }] of loadSpans.entries()) {
      const before = this.averages[i] ?? 0
      this.averages[i] = perMinute + (before - perMinute) * Math.exp(-elapsedMs / spanMs)
    }
  }

  /** By the name of the span. */
  values(): readonly (readonly [string, string])[] {
    return loadSpans.map(({ name }, i) => [name, (this.averages[i] ?? 0).toFixed(2)])
  }
}
