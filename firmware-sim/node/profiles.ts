/**
 * The kinds of devices: how often they measure, what they remember, when their radio is on.
 *
 * Everything a device measures is a function of (seed, device, simulated time), so that one seed
 * gives one fleet whatever the speed and whatever the network does.
 */
import type { EncodingName, Values } from '../payload/encodings.ts'
import { chance, mix } from '../random.ts'
import { readingAt } from '../readings.ts'
import type { DropRule } from './ram.ts'
import type { ClockName } from './rtc.ts'

export interface Sample {
  readonly topic: 'telemetry' | 'alarm'
  readonly retain: boolean
  readonly values: Values
}

export interface Profile {
  readonly about: string
  /** Simulated time between two measurements. */
  readonly everyMs: number
  readonly encoding: EncodingName
  readonly qos: 0 | 1 | 2
  readonly protocol: 4 | 5
  /** Whether the broker keeps the session while the device is away. */
  readonly persistent: boolean
  readonly ramBytes: number
  readonly drop: DropRule
  readonly clock: ClockName
  /** Deep sleep: the radio wakes so often, empties the memory and sleeps again. 0: always on. */
  readonly uploadMs: number
  /** Whether the radio has a network; without it, always. */
  readonly covered?: (seed: number, device: number, nowMs: number) => boolean
  /** Leaves "offline", retained, when it goes without a word. */
  readonly will: boolean
  /** Takes commands and answers them (MQTT 5 request and response). */
  readonly commands: boolean
  /** What there is to tell; often nothing. */
  readonly measure: (seed: number, device: number, nowMs: number) => readonly Sample[]
}

const secondMs = 1_000
const minuteMs = 60_000
const lane = { power: 301, burst: 302, shake: 303, cover: 304, door: 305, track: 306 } as const

const usual = {
  encoding: 'cbor',
  qos: 1,
  protocol: 4,
  persistent: false,
  ramBytes: 8 * 1024,
  drop: 'oldest',
  clock: 'drift',
  uploadMs: 0,
  will: false,
  commands: false,
} as const

/** Minutes of coverage: one slot in three on the way, so that a trip is often an hour without. */
const coverSlotMs = 20 * minuteMs
const coverShare = 1 / 3

export const profileNames = [
  'env-sensor',
  'power-meter',
  'vibration',
  'gps-tracker',
  'door',
  'valve',
] as const
export type ProfileName = (typeof profileNames)[number]

export const profiles: Readonly<Record<ProfileName, Profile>> = {
  'env-sensor': {
    ...usual,
    about: 'measures every 10 s in deep sleep, sends every 5 minutes',
    everyMs: 10 * secondMs,
    persistent: true,
    ramBytes: 16 * 1024,
    uploadMs: 5 * minuteMs,
    measure: (seed, device, nowMs) => {
      const { temperature, humidity, battery, rssi } = readingAt(seed, device, nowMs)
      return telemetry({ temperature, humidity, battery, rssi })
    },
  },
  'power-meter': {
    ...usual,
    about: 'measures and sends every second; no clock',
    everyMs: secondMs,
    encoding: 'senml-json',
    clock: 'missing',
    ramBytes: 32 * 1024,
    measure: (seed, device, nowMs) => {
      const base = 400 + 2_000 * chance(seed, device, lane.power)
      const noise = chance(seed, device, lane.power, Math.floor(nowMs / secondMs))
      return telemetry({ power: Math.round(base * (0.8 + 0.4 * noise)), voltage: 230 + noise })
    },
  },
  vibration: {
    ...usual,
    about: 'bursts of five messages of 2 kB a minute; refuses new ones when full',
    everyMs: minuteMs,
    drop: 'newest',
    ramBytes: 32 * 1024,
    measure: (seed, device, nowMs) =>
      Array.from({ length: 5 }, (_, part) => burst(mix(seed, device, lane.burst, nowMs, part))),
  },
  'gps-tracker': {
    ...usual,
    about: 'a position every 30 s, without a network for long, then all of it in order',
    everyMs: 30 * secondMs,
    encoding: 'senml-cbor',
    persistent: true,
    ramBytes: 64 * 1024,
    clock: 'exact',
    covered: (seed, device, nowMs) =>
      chance(seed, device, lane.cover, Math.floor(nowMs / coverSlotMs)) < coverShare,
    measure: (seed, device, nowMs) => {
      const angle = (nowMs / minuteMs / 97 + chance(seed, device, lane.track)) * 2 * Math.PI
      const position = { lat: 47 + Math.sin(angle) / 10, lon: 8 + Math.cos(angle) / 10 }
      return telemetry({ ...position, speed: 12 })
    },
  },
  door: {
    ...usual,
    about: 'rare alarms, retained and at QoS 2, and a will',
    everyMs: 30 * secondMs,
    qos: 2,
    persistent: true,
    ramBytes: 2 * 1024,
    clock: 'missing',
    will: true,
    measure: (seed, device, nowMs) => {
      const slot = Math.floor(nowMs / (30 * secondMs))
      if (chance(seed, device, lane.door, slot) >= 1 / 60) return []
      return [{ topic: 'alarm', retain: true, values: { what: 'door', state: slot % 2 === 0 } }]
    },
  },
  valve: {
    ...usual,
    about: 'takes commands and answers them, tells its state every minute',
    everyMs: minuteMs,
    protocol: 5,
    persistent: true,
    ramBytes: 4 * 1024,
    will: true,
    commands: true,
    measure: (seed, device, nowMs) =>
      telemetry({ opening: mix(seed, device, Math.floor(nowMs / (15 * minuteMs))) % 101 }),
  },
}

function telemetry(values: Values): readonly Sample[] {
  return [{ topic: 'telemetry', retain: false, values }]
}

/** 1,000 samples of 16 bits: noise, as a machine that runs makes it. */
function burst(seed: number): Sample {
  const samples = Buffer.allocUnsafe(2_000)
  for (let i = 0; i < samples.length; i += 4) {
    samples.writeUInt32LE(mix(seed, lane.shake, i), i)
  }
  return { topic: 'telemetry', retain: false, values: { samples } }
}
