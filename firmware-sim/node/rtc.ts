/**
 * A device's real-time clock. Cheap crystals are off by some ten parts in a million, seconds a day;
 * some devices have none and know only how long they run.
 */
import { chance } from '../random.ts'

export const clockNames = ['exact', 'drift', 'missing'] as const
export type ClockName = (typeof clockNames)[number]

/** 100 ppm is 8.6 s a day: a crystal without compensation in the cold. */
const driftPpmMost = 100
/** Set by hand at the factory, and never again. */
const offsetMsMost = 120_000
const lane = { drift: 201, offset: 202 } as const

export class Rtc {
  private readonly name: ClockName
  private readonly setMs: number
  private readonly offsetMs: number
  private readonly rate: number

  /** `setMs`: when it was set, simulated; from then on it drifts. */
  constructor(name: ClockName, seed: number, device: number, setMs: number) {
    this.name = name
    this.setMs = setMs
    this.offsetMs = (2 * chance(seed, device, lane.offset) - 1) * offsetMsMost
    this.rate = ((2 * chance(seed, device, lane.drift) - 1) * driftPpmMost) / 1e6
  }

  /** What it says when it is really `nowMs`; undefined when there is no clock. */
  read(nowMs: number): number | undefined {
    if (this.name === 'missing') return undefined
    if (this.name === 'exact') return nowMs
    return nowMs + this.offsetMs + (nowMs - this.setMs) * this.rate
  }
}
