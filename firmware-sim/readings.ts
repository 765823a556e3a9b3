/**
 * What the sensors of a simulated device see.
 *
 * Everything is a pure function of (seed, device, time): no state to carry, any moment can be asked
 * for again, and two runs with one seed draw the same curves whatever their rates.
 */
import { chance } from './random.ts'

export interface Reading {
  /** °C */
  readonly temperature: number
  /** Relative humidity in % */
  readonly humidity: number
  /** Charge left in % */
  readonly battery: number
  /** Signal strength in dBm */
  readonly rssi: number
  readonly doorOpen: boolean
}

const dayMs = 86_400_000
const doorSlotMs = 30_000
/**
 * One slot in 60 has an open door: a device raises about two alarms (open, closed) in half an hour.
 */
const doorSlotShare = 1 / 60

// Which quantity a random number is for, so that no two curves follow each other.
const lane = { site: 1, day: 2, weather: 3, air: 4, humidity: 5, battery: 6, rssi: 7, door: 8 }

/** The reading of device number `device` at `timeMs` (ms since 1970). */
export function readingAt(seed: number, device: number, timeMs: number): Reading {
  const site = chance(seed, device, lane.site)
  // Warmest at a quarter past two in the afternoon UTC, give or take two hours by where it hangs.
  const hourShift = (chance(seed, device, lane.day) - 0.5) * (4 / 24)
  const day = Math.sin(2 * Math.PI * (timeMs / dayMs - 0.34 + hourShift))
  // Weather is shared by all devices, draughts of air are each device's own.
  const weather = wander(seed, 0, lane.weather, timeMs, 3 * 3_600_000) * 2
  const air = wander(seed, device, lane.air, timeMs, 300_000) * 0.6
  const doorOpen = doorOpenAt(seed, device, timeMs)
  const warmth = 3.5 * day + weather + air - (doorOpen ? 0.4 : 0)
  return {
    temperature: round(17 + 6 * site + warmth, 100),
    // Warm air holds more water, so relative humidity falls by about 2.5 % for each degree.
    humidity: round(
      within(55 - 2.5 * warmth + 6 * wander(seed, device, lane.humidity, timeMs, 900_000), 5, 99),
      10,
    ),
    battery: round(batteryAt(seed, device, timeMs), 10),
    rssi: Math.round(-50 - 35 * site + 4 * wander(seed, device, lane.rssi, timeMs, 60_000)),
    doorOpen,
  }
}

/** Charge falls for 200 to 400 days, then somebody changes the battery. */
function batteryAt(seed: number, device: number, timeMs: number): number {
  const at = chance(seed, device, lane.battery)
  const lifeMs = (200 + 200 * at) * dayMs
  const spent = (timeMs / lifeMs + at * 7) % 1
  return 100 - 90 * spent
}

function doorOpenAt(seed: number, device: number, timeMs: number): boolean {
  return chance(seed, device, lane.door, Math.floor(timeMs / doorSlotMs)) < doorSlotShare
}

/** A smooth curve in (-1, 1): a random value at each multiple of `spanMs`, eased in between. */
function wander(
  seed: number,
  device: number,
  what: number,
  timeMs: number,
  spanMs: number,
): number {
  const slot = Math.floor(timeMs / spanMs)
  const within = timeMs / spanMs - slot
  const ease = within * within * (3 - 2 * within)
  const from = chance(seed, device, what, slot)
  const to = chance(seed, device, what, slot + 1)
  return 2 * (from + (to - from) * ease) - 1
}

function within(value: number, least: number, most: number): number {
  return Math.min(most, Math.max(least, value))
}

function round(value: number, steps: number): number {
  return Math.round(value * steps) / steps
}
