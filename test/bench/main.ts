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
const caseNames: readonly string[] = [...cases.map(({ name }) => name), FLASH]

interface Options {
  readonly rounds: number
  readonly quick: boolean
  readonly only?: readonly string[]
  readonly json?: string
  readonly baseline?: string
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
  const withFlash = options.only === undefined || options.only.includes(FLASH)
  await measureAll(chosen, withFlash, results, mosquitto)
  if (baseline !== undefined) results.remarks.push(...differences(results, baseline))
  const tables = [
    ...(results.cases.length > 0 ? [renderTable(results.cases, baseline?.cases)] : []),
    ...(results.flash.length > 0 ? [renderFlash(results.flash)] : []),
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
