/** One run of a scenario: the fleet lives, empties its memories, and its ledger is written. */
import { readFile } from 'node:fs/promises'
import type { SimArguments } from './args.ts'
import { LedgerFile } from './ledger-file.ts'
import { Field } from './node/field.ts'
import { noChaos, parseScenario, type Scenario, usualChaos } from './node/scenario.ts'
import { keepShowing, plural, type Screen } from './screen.ts'
import type { Time } from './time.ts'

type Source = Extract<SimArguments['source'], { kind: 'scenario' }>

/** How long the devices may take to send what is left in their memories. */
const drainGraceMs = 15_000

/** Returns the exit code: 1 when the scenario or the ledger is none, or cannot be reached. */
export async function simulateScenario(
  sim: SimArguments,
  source: Source,
  time: Time,
  screen: Screen,
  signal: AbortSignal,
): Promise<number> {
  let scenario: Scenario
  try {
    scenario = scenarioOf(await readFile(source.file, 'utf8'), source)
  } catch (error) {
    screen.say(`${source.file} is no scenario: ${sentenceOf(error)}`)
    return 1
  }
  const field = new Field({ scenario, ...sim }, time, (line) => screen.say(line))
  const devices = plural(field.nodes.length, 'device')
  const { host, port } = sim.broker
  const where = `to ${host}:${port}, seed ${sim.seed}`
  screen.say(`${scenario.name}: ${devices}, ${scenario.speed} times real time, ${where}`)
  const stop = new AbortController()
  const end = (): void => stop.abort()
  signal.addEventListener('abort', end)
  if (signal.aborted) end()
  if (sim.durationMs !== undefined) void time.sleep(sim.durationMs, stop.signal).then(end)
  const shown = new AbortController()
  const showing = keepShowing(screen, time, () => field.statusLine(), shown.signal)
  const ledger = new LedgerFile(field.ledger, sim.ledger, sim.seed, time)
  try {
    // At the start too: a file that cannot be written is told before the run and not behind it.
    await ledger.write()
    const keeping = ledger.keep(shown.signal)
    await field.live(stop.signal)
    const left = await field.drain(drainGraceMs)
    shown.abort()
    await Promise.all([showing, keeping])
    await ledger.write()
    for (const line of field.totals()) screen.say(line)
    if (left > 0) screen.say(`${plural(left, 'reading')} could not be sent before the end`)
    return 0
  } catch (error) {
    screen.say(`the ledger cannot be written: ${sentenceOf(error)}`)
    return 1
  } finally {
    end()
    shown.abort()
    signal.removeEventListener('abort', end)
    await showing
  }
}

function scenarioOf(text: string, { speed, chaos }: Source): Scenario {
  const scenario = parseScenario(text)
  const isQuiet = Object.keys(noChaos).every(
    (key) => scenario.chaos[key as keyof typeof noChaos] === 0,
  )
  return {
    ...scenario,
    ...(speed !== undefined && { speed }),
    ...(chaos && isQuiet && { chaos: usualChaos }),
  }
}

function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
