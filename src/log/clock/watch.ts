/**
 * Watches the wall clock of this boot against its monotonic clock, and keeps the boot's row: from
 * what wall time its records count. Owned by the log, on the main thread.
 *
 * W1. A row is replaced only by one that is believed at least as much (`trustIn`): a clock that
 *     jumps to 1970 changes the time of no record.
 * W2. A step is told and counted once.
 * W3. A clock of which nothing is known has a row only once it was set: otherwise a crash between
 *     the step and its row would leave one that calls right times wrong. Of a clock that had a row,
 *     the records of that second show the time by the row.
 *
 * A machine that sleeps looks the same as one whose clock is set: its monotonic clock stands still
 * meanwhile. The records of the boot from before the sleep then show a time that is too late by the
 * sleep. Rejected: a list of steps for each boot; gateways do not sleep, and clocks are set often.
 */
import type { Clock } from '../../base/clock.ts'
import { SluiceError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import type { Boot, ClockQuality } from '../state.ts'
import { isPlausible } from './plausible.ts'
import type { ClockProbe } from './probe.ts'
import { STEP_MS, trustIn } from './time-of.ts'

/** Records show a wrong time for this long at most after the clock was set. */
export const CHECK_MS = 1000
/** Files are looked at with every so many checks, and with each step. */
const CHECKS_PER_PROBE = 10

export interface ClockWatchParts {
  readonly clock: Clock
  readonly probe: ClockProbe
  /** As the boot began. */
  readonly row: Boot
  /** On disk when it resolves; rejects with `storage`. */
  readonly save: (row: Boot) => Promise<void>
  readonly logger: Logger | undefined
  /** CHECK_MS without it. */
  readonly intervalMs?: number
}

/** What is shown of the clock. */
export type ClockNumbers = Pick<ClockWatch, 'quality' | 'steps'>

/** The row to write with the number of a boot, if any (W3). */
export function rowAtStart(boot: number, clock: Clock, probe: ClockProbe): Boot | undefined {
  const row = bootRow(boot, clock, probe)
  return row.quality === 'none' ? undefined : row
}

/** The row of a boot by its clock as it is now. */
export function bootRow(boot: number, clock: Clock, probe: ClockProbe): Boot {
  return { boot, quality: probe(), offsetMs: offsetOf(clock) }
}

export class ClockWatch {
  quality: ClockQuality
  /** Times that the wall clock was set since the process started. */
  steps = 0
  private readonly parts: ClockWatchParts
  private readonly timer: NodeJS.Timeout
  private row: Boot
  private offsetMs: number
  private untilProbe = CHECKS_PER_PROBE
  private isSaved = true
  private saving: Promise<void> | undefined

  constructor(parts: ClockWatchParts) {
    this.parts = parts
    this.row = parts.row
    this.quality = parts.row.quality
    this.offsetMs = parts.row.offsetMs
    this.timer = setInterval(() => this.check(), parts.intervalMs ?? CHECK_MS)
    this.timer.unref()
  }

  /** Looks at the clock now. */
  check(): void {
    const { clock, probe } = this.parts
    const offsetMs = offsetOf(clock)
    const steppedMs = offsetMs - this.offsetMs
    const isStep = Math.abs(steppedMs) > STEP_MS
    if (isStep || --this.untilProbe <= 0 || !isPlausible(clock.now())) {
      this.quality = isPlausible(clock.now()) ? probe() : 'none'
      this.untilProbe = CHECKS_PER_PROBE
    }
    const isBelieved = this.trust(offsetMs, this.quality) >= this.trust(this.row.offsetMs)
    if (isStep) {
      this.offsetMs = offsetMs
      this.steps++
      this.tell(steppedMs, isBelieved)
    }
    if (isBelieved) this.note(offsetMs)
    if (!this.isSaved) this.save()
  }

  /** The wall time, for deletions by age; undefined while it cannot be right. */
  trustedNow(): number | undefined {
    this.check()
    const nowMs = this.parts.clock.now()
    return isPlausible(nowMs) ? nowMs : undefined
  }

  /** Resolves when the last row that was noted is on disk, or could not be written. */
  async close(): Promise<void> {
    clearInterval(this.timer)
    await this.saving
  }

  private trust(offsetMs: number, quality: ClockQuality = this.row.quality): number {
    return trustIn(offsetMs + this.parts.clock.monotonicUs() / 1000, quality)
  }

  private note(offsetMs: number): void {
    const { boot, quality, offsetMs: knownMs } = this.row
    if (quality === this.quality && Math.abs(offsetMs - knownMs) <= STEP_MS) return
    this.row = { boot, quality: this.quality, offsetMs }
    this.isSaved = !isPlausible(this.parts.clock.now())
  }

  /** One at a time; what fails is told by the state and tried again with the next check. */
  private save(): void {
    if (this.saving !== undefined) return
    const { row } = this
    this.saving = this.parts
      .save(row)
      .then(
        () => {
          this.isSaved = row === this.row
        },
        (thrown: unknown) => {
          if (!(thrown instanceof SluiceError)) throw thrown
        },
      )
      .finally(() => {
        this.saving = undefined
      })
  }

  private tell(steppedMs: number, isBelieved: boolean): void {
    const { logger, clock } = this.parts
    const fields = { steppedMs: Math.round(steppedMs), quality: this.quality, now: clock.now() }
    const what = `the clock was set ${steppedMs > 0 ? 'forward' : 'back'} by ${span(steppedMs)}`
    if (isBelieved) {
      logger?.info(fields, `${what}; records of this boot show their right time from now on`)
    } else {
      logger?.warn(fields, `${what}, which is not believed: records of this boot keep their time`)
    }
  }
}

function offsetOf(clock: Clock): number {
  return clock.now() - clock.monotonicUs() / 1000
}

const UNITS = [
  ['years', 365.25 * 86_400_000],
  ['days', 86_400_000],
  ['hours', 3_600_000],
  ['minutes', 60_000],
] as const

/** For people: in the largest unit of which there are two. */
function span(ms: number): string {
  const size = Math.abs(ms)
  const unit = UNITS.find(([, unitMs]) => size >= 2 * unitMs)
  return unit === undefined
    ? `${(size / 1000).toFixed(1)} s`
    : `${Math.floor(size / unit[1])} ${unit[0]}`
}
