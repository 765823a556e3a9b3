/** Runs one case: both brokers, in alternation, round after round. */
import type { Broker, BrokerName } from './brokers.ts'
import type { Bench, Case, Readings } from './cases.ts'
import { probeFsync } from './fsync-probe.ts'
import type { LoadGenerator, LoadOptions, LoadResult } from './load.ts'
import type { CaseResult } from './table.ts'

export interface Rig {
  readonly generator: LoadGenerator
  /** The brokers to measure. */
  readonly start: ReadonlyMap<BrokerName, () => Promise<Broker>>
  /** On the file system the gateway keeps its data on. */
  readonly folder: string
  readonly rounds: number
  readonly quick: boolean
  /** A line about how far it is. */
  readonly progress: (line: string) => void
  /** A sentence that belongs under the table. */
  readonly remark: (sentence: string) => void
}

const FSYNCS = 2000

export async function runCase(one: Case, rig: Rig): Promise<CaseResult> {
  const names = [...rig.start.keys()].filter((name) => name === 'sluice' || !one.onlySluice)
  const readings = new Map<BrokerName, Readings[]>(names.map((name) => [name, []]))
  const warm = new Map<BrokerName, Broker>()
  try {
    for (let round = 1; round <= rig.rounds; round++) {
      // Who goes first changes each round: what the first leaves behind would else favour one.
      for (const name of round % 2 === 1 ? names : names.toReversed()) {
        rig.progress(`${one.name}: round ${round} of ${rig.rounds}, ${name}`)
        const measured = await measureOnce(one, rig, name, round, warm)
        readings.get(name)?.push(measured)
      }
    }
  } finally {
    await Promise.all([...warm.values()].map((broker) => broker.stop()))
  }
  return {
    name: one.name,
    title: one.title,
    figures: one.figures.map((figure) => ({
      ...figure,
      sluice: column(readings.get('sluice'), figure.name),
      mosquitto: column(readings.get('mosquitto'), figure.name),
    })),
  }
}

async function measureOnce(
  one: Case,
  rig: Rig,
  name: BrokerName,
  round: number,
  warm: Map<BrokerName, Broker>,
): Promise<Readings> {
  const start = rig.start.get(name)
  if (start === undefined) throw new Error(`${name} is not in this run`)
  const where = `${one.name}, round ${round}, ${name}`
  let broker = warm.get(name)
  if (broker === undefined) {
    broker = await start()
    // Kept before it is warmed up, so that it ends with the case if that fails.
    if (one.warmUp !== 'fresh') warm.set(name, broker)
    if (one.warmUp !== 'fresh') await warmUp(one.warmUp, rig, broker)
  }
  try {
    return await one.measure(benchOn(broker, rig, where))
  } finally {
    if (one.warmUp === 'fresh') await broker.stop()
  }
}

async function warmUp(
  options: Omit<LoadOptions, 'port'>,
  rig: Rig,
  { port }: Broker,
): Promise<void> {
  const messages = scale(options.messages ?? 0, rig.quick)
  await rig.generator.run({ ...options, messages, port })
}

function benchOn(broker: Broker, rig: Rig, where: string): Bench {
  const { port } = broker
  return {
    broker,
    load: async (options) => {
      const result = await rig.generator.run({ ...options, port })
      for (const trouble of troublesOf(options, result)) rig.remark(`${where}: ${trouble}`)
      return result
    },
    hold: (idle, measure) => rig.generator.hold({ idle, port }, measure),
    probeFsync: () => probeFsync(rig.folder, scale(FSYNCS, rig.quick)),
    scaled: (count) => scale(count, rig.quick),
  }
}

function scale(count: number, quick: boolean): number {
  return quick ? Math.ceil(count / 10) : count
}

/** What a reader must know beside the figure: a rate with losses is not the same rate. */
function troublesOf(options: Omit<LoadOptions, 'port'>, result: LoadResult): string[] {
  const wanted = options.messages ?? 0
  const expected = wanted * (options.subscribers ?? 0)
  const lost = expected - (result.received - result.repeats)
  const troubles: string[] = []
  if (result.acknowledged < wanted) {
    troubles.push(`${wanted - result.acknowledged} of ${wanted} messages were not acknowledged`)
  }
  if (lost > 0) troubles.push(`${lost} of ${expected} deliveries did not arrive`)
  if (result.repeats > 0) troubles.push(`${result.repeats} deliveries came again or out of order`)
  if (result.closed > 0) troubles.push(`the broker closed ${result.closed} connections`)
  return troubles
}

/** The readings of one figure; a round in which there was nothing to read has none. */
function column(readings: readonly Readings[] | undefined, figure: string): number[] {
  return (readings ?? []).map((reading) => reading[figure] ?? Number.NaN).filter(Number.isFinite)
}
