/** How fast a counter rises, over about a minute, from looks at it a few seconds apart. */
const WINDOW_MS = 60_000
const LOOKS_MAX = 13

export class Pace {
  private readonly looks: { readonly timeMs: number; readonly count: number }[] = []

  /** Notes the counter; more often than every five seconds changes nothing. */
  look(timeMs: number, count: number): void {
    const last = this.looks.at(-1)
    if (last !== undefined && timeMs - last.timeMs < WINDOW_MS / (LOOKS_MAX - 1)) return
    this.looks.push({ timeMs, count })
    if (this.looks.length > LOOKS_MAX) this.looks.shift()
  }

  /** Since the first look that is kept; 0 before the second moment. */
  perSecond(timeMs: number, count: number): number {
    const [first] = this.looks
    if (first === undefined || timeMs - first.timeMs < 1) return 0
    return ((count - first.count) * 1000) / (timeMs - first.timeMs)
  }
}
