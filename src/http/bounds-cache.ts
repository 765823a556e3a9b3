import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { EventLog, StreamBounds } from '../log/log.ts'

/** Bounds look at files and segments: however many scrape, that is done once in this time. */
const AGE_MAX_US = 5_000_000

/**
 * The bounds of all streams, at most five seconds old and read once for all metrics of a scrape.
 * Bounds that cannot be read are left out, logged on the change and counted.
 */
export class BoundsCache {
  /** Reads that failed, for the metrics. */
  failures = 0
  private readonly log: EventLog
  private readonly clock: Clock
  private readonly logger: Logger
  private current: Promise<readonly StreamBounds[]> = Promise.resolve([])
  private readAtUs: number | undefined
  private failing = false

  constructor(log: EventLog, clock: Clock, logger: Logger) {
    this.log = log
    this.clock = clock
    this.logger = logger
  }

  get(): Promise<readonly StreamBounds[]> {
    const nowUs = this.clock.monotonicUs()
    if (this.readAtUs === undefined || nowUs - this.readAtUs >= AGE_MAX_US) {
      this.readAtUs = nowUs
      this.current = this.read()
    }
    return this.current
  }

  private async read(): Promise<readonly StreamBounds[]> {
    const { streams } = this.log
    const asked = await Promise.allSettled(streams.map(({ name }) => this.log.bounds(name)))
    const [failed] = asked.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
    if (failed !== undefined) this.failures += 1
    if (failed !== undefined && !this.failing) {
      this.logger.warn({ reason: messageOf(failed) }, 'bounds of the log cannot be read')
    }
    this.failing = failed !== undefined
    return asked.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  }
}
