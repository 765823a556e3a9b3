/** A live fleet: seeded devices that publish at a steady rate, each at its own moment. */
import type { Fleet, Member } from './fleet.ts'
import { chance } from './random.ts'
import { readingAt } from './readings.ts'
import type { Time } from './time.ts'

export interface TelemetryOptions {
  readonly seed: number
  readonly devices: number
  /** Messages per second of each device; may be below 1. */
  readonly rate: number
  /** Device names are `<prefix>-0001` and on. */
  readonly prefix: string
}

/** Connects are spread, 500 a second: one wave of thousands is a storm no fleet begins with. */
const connectGapMs = 2
/**
 * A fleet that slept longer than this (a suspended machine) goes on from now instead of catching
 * up.
 */
const catchUpMs = 1_000
/** Messages that are late and may be made without a pause. */
const lateBurst = 64
/** Lane of the random numbers that de-phase the devices; readings use lanes of their own. */
const phaseLane = 100

/** When each device's turn comes: all share one period, so the order within it never changes. */
export interface Turn {
  readonly device: number
  /** ms after the beginning of each period, in [0, period). */
  readonly phaseMs: number
}

/** The turns of one period, in order, from the seed. */
export function turnsOf(seed: number, devices: number, periodMs: number): Turn[] {
  const turns = Array.from({ length: devices }, (_, device) => ({
    device,
    phaseMs: chance(seed, device, phaseLane) * periodMs,
  }))
  return turns.sort((a, b) => a.phaseMs - b.phaseMs || a.device - b.device)
}

export function deviceName(prefix: string, device: number): string {
  return `${prefix}-${String(device + 1).padStart(4, '0')}`
}

/** Publishes until `signal` aborts. One timer serves all devices. */
export async function publishTelemetry(
  fleet: Fleet,
  options: TelemetryOptions,
  time: Time,
  signal: AbortSignal,
): Promise<void> {
  const { seed, devices, rate, prefix } = options
  const periodMs = 1_000 / rate
  const turns = turnsOf(seed, devices, periodMs)
  const members = Array.from({ length: devices }, (_, i) => fleet.add(deviceName(prefix, i)))
  const sensors = members.map((member, i) => sensor(member, seed, i))
  const connecting = connectAll(members, time, signal)
  let periodStartMs = time.nowMs()
  let madeInTurn = 0
  while (!signal.aborted) {
    for (const turn of turns) {
      const dueMs = periodStartMs + turn.phaseMs
      const waitMs = dueMs - time.nowMs()
      if (waitMs < -catchUpMs) periodStartMs -= waitMs
      madeInTurn = waitMs > 0 ? 0 : madeInTurn + 1
      // Also a fleet that is late must let acknowledgements in.
      if (waitMs > 0 || madeInTurn % lateBurst === 0) await time.sleep(Math.max(0, waitMs), signal)
      if (signal.aborted) break
      sensors[turn.device]?.(time.nowMs())
    }
    periodStartMs += periodMs
  }
  await connecting
}

async function connectAll(
  members: readonly Member[],
  time: Time,
  signal: AbortSignal,
): Promise<void> {
  const startMs = time.nowMs()
  for (const [i, member] of members.entries()) {
    const waitMs = startMs + i * connectGapMs - time.nowMs()
    if (waitMs > 0) await time.sleep(waitMs, signal)
    if (signal.aborted) return
    member.device.connect()
  }
}

/** Measures and publishes once per call; a door that moved since the last call raises an alarm. */
function sensor(member: Member, seed: number, device: number): (timeMs: number) => void {
  let doorWasOpen: boolean | undefined
  return (timeMs) => {
    const { doorOpen, ...values } = readingAt(seed, device, timeMs)
    member.telemetry(values)
    if (doorWasOpen !== undefined && doorWasOpen !== doorOpen) {
      member.alarm({ what: 'door', state: doorOpen ? 'open' : 'closed' })
    }
    doorWasOpen = doorOpen
  }
}
