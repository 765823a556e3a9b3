/**
 * `npm run bench`: the gateway and Debian's Mosquitto, side by side on this machine in this run.
 *
 * It asserts nothing: a table is for people, who know what else the machine was doing. It ends with
 * exit code 0 when it ran.
 */
import os from 'node:os'
import { Command, InvalidArgumentError } from 'commander'
import { systemClock } from '../../src/base/clock.ts'
import { messageOf } from '../../src/base/errors.ts'
import {
  type Broker,
  type BrokerName,
  findMosquitto,
  type Mosquitto,
  startMosquitto,
  startSluice,
} from './brokers.ts'
import { type Case, cases } from './cases.ts'
import { tempFolder } from './children.ts'
import { heldRate, killedSluice, runDrain } from './drain.ts'
import { type DrainRig, mosquittoBridge } from './drain-mosquitto.ts'
import { type DrainResults, renderDrain } from './drain-table.ts'
import { flashRates, runFlash } from './flash.ts'
import { renderFlash } from './flash-table.ts'
import { flashVariants } from './flash-variants.ts'
import { LoadGenerator } from './load.ts'
import { describeMachine } from './machine.ts'
import { foot, head } from './report.ts'
import { type BenchResults, differences, readResults, writeResults } from './results.ts'
import { runCase } from './run-case.ts'
import { renderTable } from './table.ts'

/** Has a table of its own: not one broker beside the other, but each under several settings. */
const FLASH = 'flash'
/** The same: a drain is a drain of minutes, with and without live traffic, and once killed. */
const BRIDGE = 'bridge'
const caseNames: readonly string[] = [...cases.map(({ name }) => name), FLASH, BRIDGE]

interface Options {
  readonly rounds: number
  readonly quick: boolean
  readonly only?: readonly string[]
  readonly json?: string
  readonly baseline?: string
  readonly records: number
}

async function bench(options: Options): Promise<void> {
  if (os.platform() !== 'linux') {
    throw new Error('the bench reads /proc and uses epoll: run it on Linux')
  }
  const chosen = choose(options.only)
  const baseline = options.baseline === undefined ? undefined : readResults(options.baseline)
  const mosquitto = await findMosquitto()
  const results: BenchResults = {
    format: 1,
    began: new Date(systemClock.now()).toISOString(),
    machine: describeMachine(),
    settings: { rounds: options.rounds, quick: options.quick },
    mosquitto: mosquitto?.version ?? null,
    cases: [],
    flash: [],
    remarks: [],
  }
  say(head(results))
  const isWanted = (name: string) => options.only === undefined || options.only.includes(name)
  await measureAll(chosen, isWanted(FLASH), results, mosquitto)
  const drain = isWanted(BRIDGE) ? await measureDrain(options, results, mosquitto) : undefined
  if (baseline !== undefined) results.remarks.push(...differences(results, baseline))
  const tables = [
    ...(results.cases.length > 0 ? [renderTable(results.cases, baseline?.cases)] : []),
    ...(results.flash.length > 0 ? [renderFlash(results.flash)] : []),
    ...(drain === undefined ? [] : [renderDrain(drain)]),
  ]
  say(`\n${tables.join('\n\n')}\n${foot(results)}`)
  if (options.json !== undefined) writeResults(options.json, results)
}

async function measureAll(
  chosen: readonly Case[],
  withFlash: boolean,
  results: BenchResults,
  mosquitto: Mosquitto | undefined,
): Promise<void> {
  const start = new Map<BrokerName, () => Promise<Broker>>([['sluice', startSluice]])
  if (mosquitto !== undefined) start.set('mosquitto', () => startMosquitto(mosquitto))
  const folder = tempFolder()
  try {
    const rig = {
      generator: await LoadGenerator.build(folder.path),
      start,
      folder: folder.path,
      rounds: results.settings.rounds,
      quick: results.settings.quick,
      progress: (line: string) => void process.stderr.write(`${line}\n`),
      remark: (sentence: string) => void results.remarks.push(sentence),
    }
    for (const one of chosen) results.cases.push(await runCase(one, rig))
    if (withFlash) {
      const variants = flashVariants(mosquitto)
      results.flash.push(...(await runFlash({ ...rig, variants, rates: flashRates })))
    }
  } finally {
    folder.remove()
  }
}

async function measureDrain(
  { quick, records }: Options,
  results: BenchResults,
  mosquitto: Mosquitto | undefined,
): Promise<DrainResults | undefined> {
  if (mosquitto === undefined) {
    results.remarks.push('bridge was not measured: it needs a Mosquitto as its upstream')
    return undefined
  }
  const folder = tempFolder()
  try {
    const rig: DrainRig = {
      generator: await LoadGenerator.build(folder.path),
      mosquitto,
      records: quick ? Math.ceil(records / 10) : records,
      progress: (line) => void process.stderr.write(`${line}\n`),
    }
    const own = await runDrain(rig)
    const theirs = await mosquittoBridge(rig, false)
    const killed = { records: rig.records, name: 'Sluice', arrived: await killedSluice(rig) }
    const { arrived } = await mosquittoBridge(rig, true)
    return {
      heldRate: await heldRate(rig),
      drains: [...own, theirs.reading],
      killed: [killed, { ...killed, name: 'Mosquitto', arrived }],
    }
  } finally {
    folder.remove()
  }
}

function choose(only: readonly string[] | undefined): readonly Case[] {
  for (const name of only ?? []) {
    if (!caseNames.includes(name)) {
      throw new Error(`there is no case "${name}"; there are ${caseNames.join(', ')}`)
    }
  }
  return only === undefined ? cases : cases.filter(({ name }) => only.includes(name))
}

function atLeastOne(text: string): number {
  const count = Number(text)
  if (!Number.isInteger(count) || count < 1) throw new InvalidArgumentError('Give 1 or more.')
  return count
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

// The children and folders go with 'exit', which a signal alone does not bring about.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))

const program = new Command('npm run bench --')
  .description('Measures the gateway, beside Mosquitto where that is installed.')
  .option('--rounds <count>', 'readings of each figure; the table shows medians', atLeastOne, 3)
  .option(
    '--quick',
    'a tenth of the messages, 5 s of flash: to see that it runs, not for figures',
    false,
  )
  .option('--only <case...>', `some of: ${caseNames.join(', ')}`)
  .option('--records <count>', 'the backlog of the case "bridge"', atLeastOne, 1_000_000)
  .option('--json <file>', 'write every reading to this file')
  .option('--baseline <file>', 'compare with a file that --json wrote')
  .action(async (options: Options) => {
    try {
      await bench(options)
    } catch (error) {
      process.stderr.write(`bench: ${messageOf(error)}\n`)
      process.exitCode = 1
    }
  })
await program.parseAsync()
