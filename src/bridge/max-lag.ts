/** Keeps a forward within max_lag: leaves its oldest records out, or lets its stream be full. */
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import { asPosition, type EventLog, type Start } from '../log/log.ts'
import type { ForwardSettings } from './settings.ts'

/** The forward, as far as this looks at it. */
export interface Lagging {
  readonly lagRecords: number
  /** What is not handed out yet before `until`, as half-open ranges. */
  before(until: number): readonly { readonly first: number; readonly end: number }[]
  /** Nothing before `until` is sent any more: a gap says so. */
  passed(until: number): void
}

export interface MaxLagParts {
  readonly log: EventLog
  readonly clock: Clock
  readonly logger: Logger
  readonly cursor: string
  readonly settings: ForwardSettings
  readonly forward: Lagging
}

export class MaxLag {
  private readonly parts: MaxLagParts
  /** The stream is full by our word. */
  private hasFilled = false
  private isLooking = false

  constructor(parts: MaxLagParts) {
    this.parts = parts
  }

  /** Rejects with `storage`; to be called again. */
  async look(): Promise<void> {
    const { ageMs, onLag } = this.parts.settings.maxLag
    // One look may outlast the time to the next: twice at once would note a gap twice.
    if (ageMs === undefined || this.isLooking) return
    this.isLooking = true
    try {
      if (onLag === 'gap') await this.leaveOut(ageMs)
      else await this.refuseNew(ageMs)
    } finally {
      this.isLooking = false
    }
  }

  /** The stream takes no more until the forward has come back to its bound. */
  private async refuseNew(ageMs: number): Promise<void> {
    const { log, logger, cursor, forward, settings } = this.parts
    const { stream } = settings
    const lag = await log.state.cursors.lag(cursor)
    const isOver = forward.lagRecords > 0 && lag.ageMs > ageMs
    if (isOver && !log.full.has(stream)) {
      this.hasFilled = true
      log.setFull(stream, `the forward ${cursor} lags more than its max_lag`)
      logger.warn({ cursor, stream }, 'a forward lags too much: its stream is full')
    } else if (!isOver && this.hasFilled) {
      this.hasFilled = false
      log.setFull(stream, undefined)
      logger.info({ cursor, stream }, 'the stream takes new messages again')
    }
  }

  /** What is in flight stays: it may be there already. The rest is left out, with a gap. */
  private async leaveOut(ageMs: number): Promise<void> {
    const { log, clock, logger, cursor, forward, settings } = this.parts
    if (forward.lagRecords === 0) return
    const { stream } = settings
    const oldest: Start = { kind: 'time', timeMs: clock.now() - ageMs }
    const until = await log.locate(stream, oldest)
    const lag = await log.state.cursors.lag(cursor)
    const shareBytes = lag.records === 0 ? 0 : lag.sizeBytes / lag.records
    const pieces = forward.before(until)
    const records = pieces.reduce((sum, { first, end }) => sum + end - first, 0)
    if (records === 0) return
    await log.state.gaps.add(
      pieces.map(({ first, end }) => ({
        stream,
        cursor,
        first: asPosition(first),
        end: asPosition(end),
        records: end - first,
        sizeBytes: Math.round(shareBytes * (end - first)),
        reason: 'policy' as const,
      })),
    )
    forward.passed(until)
    logger.warn(
      { cursor, records, until },
      'a forward lagged more than max_lag: its oldest records are not sent, which is a gap',
    )
  }
}
