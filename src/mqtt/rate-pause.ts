/** The pause of a client that is over its rate: its socket is not read while it lasts. */
import type { MqttStats } from './stats.ts'

/**
 * A timer for longer than 2^31 ms fires at once. One packet of 256 MiB at a byte a second would ask
 * for eight years: whoever is paused for an hour is read again, and paused again.
 */
const PAUSE_MAX_MS = 3_600_000

export class RatePause {
  private readonly stats: MqttStats
  private readonly over: () => void
  private timer: NodeJS.Timeout | undefined

  /** `over` is called when a pause has passed. */
  constructor(stats: MqttStats, over: () => void) {
    this.stats = stats
    this.over = over
  }

  get isActive(): boolean {
    return this.timer !== undefined
  }

  begin(waitMs: number): void {
    if (this.timer !== undefined) return
    this.stats.limited['client-rate']++
    this.stats.pausedPublishers++
    this.timer = setTimeout(
      () => {
        this.end()
        this.over()
      },
      Math.min(waitMs, PAUSE_MAX_MS),
    )
  }

  end(): void {
    if (this.timer === undefined) return
    clearTimeout(this.timer)
    this.timer = undefined
    this.stats.pausedPublishers--
  }
}
