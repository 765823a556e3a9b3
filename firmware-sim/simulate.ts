/**
 * One run of the simulator from its first line to its totals; time, chance and output are given.
 */
import type { SimArguments } from './args.ts'
import { Fleet } from './fleet.ts'
import { LedgerFile } from './ledger-file.ts'
import { type ReplayResult, replay } from './replay.ts'
import { keepShowing, type Output, plural, Screen } from './screen.ts'
import { simulateScenario } from './simulate-scenario.ts'
import { publishTelemetry } from './telemetry.ts'
import type { Time } from './time.ts'

/** How long outstanding acknowledgements may take at the end. */
const stopGraceMs = 5_000

/**
 * Runs until the arguments' duration is over, the recording ends, or `signal` aborts. Returns the
 * exit code: 1 when a recording cannot be read or holds no reading, else 0.
 */
export async function simulate(
  sim: SimArguments,
  time: Time,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const screen = new Screen(output)
  const { source } = sim
  if (source.kind === 'scenario') return simulateScenario(sim, source, time, screen, signal)
  const fleet = new Fleet(sim, time, (line) => screen.say(line))
  screen.say(heading(sim))
  const stop = new AbortController()
  const end = (): void => stop.abort()
  signal.addEventListener('abort', end)
  if (signal.aborted) end()
  if (sim.durationMs !== undefined) void time.sleep(sim.durationMs, stop.signal).then(end)
  const shown = new AbortController()
  const ledger = new LedgerFile(fleet.ledger, sim.ledger, sim.seed, time)
  const keeping = ledger.keep(shown.signal)
  const showing = keepShowing(screen, time, () => fleet.statusLine(), shown.signal)
  const outcome = await publish(sim, fleet, time, (line) => screen.say(line), stop.signal)
  if (outcome.kind === 'replayed') await fleet.settled(stop.signal)
  const discarded = await fleet.stop(stopGraceMs)
  end()
  signal.removeEventListener('abort', end)
  shown.abort()
  await showing
  const unkept = await keeping.then(() => ledger.write()).then(() => undefined, whyOf)
  if (unkept !== undefined) {
    screen.say(`the ledger cannot be written: ${unkept}`)
    return 1
  }
  if (outcome.kind === 'failed') {
    screen.say(outcome.reason)
    return 1
  }
  if (outcome.kind === 'replayed') {
    const { readings, badLines } = outcome.result
    screen.say(`replayed ${plural(readings, 'reading')}, skipped ${plural(badLines, 'bad line')}`)
  }
  for (const line of fleet.totals()) screen.say(line)
  if (discarded > 0) screen.say(`${plural(discarded, 'message')} could not be sent before the end`)
  return 0
}

type Outcome =
  | { readonly kind: 'stopped' }
  | { readonly kind: 'replayed'; readonly result: ReplayResult }
  | { readonly kind: 'failed'; readonly reason: string }

async function publish(
  sim: SimArguments,
  fleet: Fleet,
  time: Time,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Outcome> {
  const { source, seed } = sim
  if (source.kind === 'scenario') throw new Error('a scenario has devices of its own')
  if (source.kind === 'fleet') {
    await publishTelemetry(fleet, { seed, ...source }, time, signal)
    return { kind: 'stopped' }
  }
  try {
    const result = await replay(fleet, source, time, say, signal)
    if (result.readings === 0 && !signal.aborted) {
      return { kind: 'failed', reason: `${source.file} holds no reading: nothing was published` }
    }
    return { kind: 'replayed', result }
  } catch (error) {
    return { kind: 'failed', reason: `${source.file} cannot be read: ${whyOf(error)}` }
  }
}

function heading(sim: SimArguments): string {
  const { broker, source } = sim
  const what =
    source.kind === 'fleet'
      ? `${plural(source.devices, 'device')} × ${source.rate}/s`
      : `${source.kind} of ${source.file} at ${source.speed} times its speed`
  const how = `QoS ${sim.qos}, MQTT ${broker.protocol === 5 ? '5' : '3.1.1'}`
  return `${what} to ${broker.host}:${broker.port}, ${how}, seed ${sim.seed}`
}

function whyOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
