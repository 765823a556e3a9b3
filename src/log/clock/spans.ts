/**
 * The times of a stream put in order, so that a time can be searched for.
 *
 * Positions are in the order in which records came; times need not be, where a boot's clock was
 * never set. Positions win: a boot lies behind the better known boots before it and before the
 * better known boots after it, whatever its own clock said.
 *
 *   boot      1 (synchronised)   2 (none, 1970)      3 (synchronised)
 *   shown     2026-03 ─ 2026-05  1970 ─ 1970         2026-06 ─ …
 *   searched  2026-03 ─ 2026-05  2026-05 ─ 2026-05   2026-06 ─ …
 *
 * T1. The bounded times never fall from one position to the next, as long as they do not within a
 *     boot: there one offset or one clock counts.
 * T2. A boot that contradicts no better known one keeps the times that it shows.
 */

import { clockTrusts } from './time-of.ts'

/** The records of one boot in a stream: [first, end). */
export interface BootRun {
  readonly first: number
  readonly end: number
  /** Shown by its first and its last record. */
  readonly firstMs: number
  readonly lastMs: number
  /** From `trustIn`. */
  readonly trust: number
}

/** A run whose times are held in [fromMs, toMs]. */
export interface BoundedRun extends BootRun {
  readonly fromMs: number
  readonly toMs: number
}

/** `runs` in the order of positions. */
export function boundedRuns(runs: readonly BootRun[]): BoundedRun[] {
  const highest = latestStarts(runs)
  const lastByTrust: number[] = clockTrusts.map(() => Number.NEGATIVE_INFINITY)
  let previousMs = Number.NEGATIVE_INFINITY
  return runs.map((run, index) => {
    const fromMs = Math.max(previousMs, ...lastByTrust.slice(run.trust + 1))
    const toMs = Math.max(fromMs, highest[index] ?? Number.POSITIVE_INFINITY)
    const bounded = { ...run, fromMs, toMs }
    lastByTrust[run.trust] = Math.max(lastByTrust[run.trust] ?? 0, run.lastMs)
    previousMs = boundedTime(bounded, run.lastMs)
    return bounded
  })
}

/** A time that a record of the run shows, within the run's bounds. */
export function boundedTime({ fromMs, toMs }: BoundedRun, shownMs: number): number {
  return Math.min(toMs, Math.max(fromMs, shownMs))
}

/** For each run the earliest start of a better known one behind it. */
function latestStarts(runs: readonly BootRun[]): number[] {
  const firstByTrust: number[] = clockTrusts.map(() => Number.POSITIVE_INFINITY)
  const starts: number[] = []
  for (let index = runs.length - 1; index >= 0; index--) {
    const run = runs[index] as BootRun
    starts[index] = Math.min(Number.POSITIVE_INFINITY, ...firstByTrust.slice(run.trust + 1))
    firstByTrust[run.trust] = Math.min(firstByTrust[run.trust] ?? run.firstMs, run.firstMs)
  }
  return starts
}
