/**
 * The time that a record shows.
 *
 *   monotonic   0 ─────────●────────────────●──────────▶   never set, one scale for a boot
 *   wall            1970 ──●──┐ step ┌─2026─●──────────▶   as written, wrong before the step
 *                             └──────┘
 *   shown          2026 ───●────────────────●──────────▶   the boot's offset + monotonic
 *
 * A boot's row says where its monotonic zero lies in wall time, by the best clock that the boot had
 * (watch.ts). Where that agrees with the time written, the record shows what was written: the same
 * to the millisecond live, in the tail and years later. Where they differ by more than a step, the
 * clock was set after the record was written, and the row knows better, whatever its quality: the
 * watch keeps a better row from being replaced by a worse one.
 *
 * The files keep what was written; checksums cover that.
 */
import type { FinishedSegment } from '../retention/segments.ts'
import { type Boot, type ClockQuality, clockQualities } from '../state.ts'
import { isPlausible } from './plausible.ts'

/** A smaller difference is the slewing of a time source and the rounding of readings. */
export const STEP_MS = 500

export type Boots = ReadonlyMap<number, Pick<Boot, 'quality' | 'offsetMs'>>

/** Nothing is known of the time of any boot. */
export const asWritten = (): Boots => new Map()

/** When something happened, as its record has it. */
export interface Moment {
  readonly boot: number
  readonly monotonicUs: number
  /** Wall time as written. */
  readonly timeMs: number
}

/** The wall time to show, ms since 1970. Without a row of the boot: as written. */
export function timeOf(moment: Moment, boots: Boots): number {
  const row = boots.get(moment.boot)
  if (row === undefined) return moment.timeMs
  const knownMs = row.offsetMs + moment.monotonicUs / 1000
  return Math.abs(knownMs - moment.timeMs) > STEP_MS ? Math.round(knownMs) : moment.timeMs
}

/** The same of the last record of a segment. */
export function lastTimeOf(segment: FinishedSegment, boots: Boots): number {
  const { lastBoot: boot, lastMonotonicUs: monotonicUs, lastTimeMs: timeMs } = segment
  return timeOf({ boot, monotonicUs, timeMs }, boots)
}

/** From a time that cannot be right to one of a synchronised clock. */
export const clockTrusts = ['impossible', ...clockQualities] as const

/** How far a wall time is believed: an index into `clockTrusts`. */
export function trustIn(timeMs: number, quality: ClockQuality): number {
  return clockTrusts.indexOf(isPlausible(timeMs) ? quality : 'impossible')
}
