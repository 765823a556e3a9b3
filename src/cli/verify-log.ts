import type { RepairNote } from '../log/repair/notes.ts'
import { repairSentence } from '../log/repair/sentences.ts'
import {
  type Fault,
  isRunning,
  repairLog,
  type StreamVerdict,
  type Verdict,
  verifyLog,
} from '../log/repair/verify.ts'
import type { CliContext } from './context.ts'
import { dataDirOf, type Place } from './place.ts'

export interface VerifyLogOptions extends Place {
  readonly repair?: boolean
  readonly format: 'text' | 'json'
}

/** Checks all that is on disk; 0 when nothing is wrong (any more), 1 otherwise. */
export async function verifyLogCommand(
  options: VerifyLogOptions,
  context: CliContext,
): Promise<number> {
  const dataDir = dataDirOf(options, context)
  if (dataDir === undefined) return 1
  if (options.repair === true && isRunning(dataDir)) {
    context.output.err(
      `sluice: a gateway runs on ${dataDir}: stop it before a repair, or look without --repair\n`,
    )
    return 1
  }
  const found = verifyLog(dataDir, context.clock)
  await print(found, options, context)
  if (countFaults(found) === 0) return 0
  if (options.repair !== true) return 1
  const notes = await repairLog(dataDir, found, context.clock)
  await printRepairs(notes, found, options, context)
  const left = verifyLog(dataDir, context.clock)
  for (const fault of faultsOf(left))
    context.output.err(`sluice: still wrong: ${faultText(fault)}\n`)
  return countFaults(left) === 0 ? 0 : 1
}

async function print(
  verdict: Verdict,
  { format }: VerifyLogOptions,
  { data }: CliContext,
): Promise<void> {
  const lines =
    format === 'json'
      ? [...verdict.streams.map(streamLine), ...faultsOf(verdict).map(faultLine)]
      : [...verdict.streams.map(streamText), ...faultsOf(verdict).map(faultText)]
  await data.write(lines.map((line) => `${line}\n`).join(''))
}

async function printRepairs(
  notes: readonly RepairNote[],
  { faults }: Verdict,
  { format }: VerifyLogOptions,
  { data }: CliContext,
): Promise<void> {
  const lines = notes.map((note) =>
    format === 'json' ? JSON.stringify({ repaired: note }) : repairSentence(note),
  )
  if (faults.length > 0) {
    const said = 'state.db is set aside: the next start makes it anew, and consumers begin again'
    lines.push(format === 'json' ? JSON.stringify({ repaired: 'state.db' }) : said)
  }
  await data.write(lines.map((line) => `${line}\n`).join(''))
}

function streamText({ stream, segments, records, noted, faults }: StreamVerdict): string {
  const lost = noted === 0 ? '' : `, ${noted} positions lost and noted`
  const result = faults.length === 0 ? 'nothing is wrong' : `${faults.length} faults`
  return `${stream}: ${segments} segments, ${records} records verified${lost}: ${result}`
}

function streamLine({ stream, segments, records, noted, faults }: StreamVerdict): string {
  return JSON.stringify({ stream, segments, records, noted, faults: faults.length })
}

function faultText({ file, position, what }: Fault): string {
  return position === undefined ? `${file}: ${what}` : `${file}, position ${position}: ${what}`
}

function faultLine({ file, position, what }: Fault): string {
  return JSON.stringify({ fault: what, file, position: position ?? null })
}

const faultsOf = (verdict: Verdict): Fault[] => [
  ...verdict.streams.flatMap(({ faults }) => faults),
  ...verdict.faults,
]

const countFaults = (verdict: Verdict): number => faultsOf(verdict).length
