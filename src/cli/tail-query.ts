import { asPartition, type Partition, type StreamBounds } from '../log/log.ts'
import { filterFault } from '../log/topics.ts'
import { printable } from './format.ts'

const PARTITION_END = 65_536

/** What was written on the command line cannot be meant. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** A count from 1, as an option has it. */
export function countOf(option: string, text: string): number {
  const count = /^\d{1,15}$/.test(text) ? Number(text) : 0
  if (count < 1) throw new UsageError(`${option} takes a whole number from 1, not "${shown(text)}"`)
  return count
}

/** A partition's number, as --partition has it. */
export function partitionOf(text: string): Partition {
  const number = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN
  if (!(number < PARTITION_END)) {
    throw new UsageError(`--partition takes the number of a partition, not "${shown(text)}"`)
  }
  return asPartition(number)
}

/** Why nothing can be read of this partition; undefined when the stream has it. */
export function partitionFault(
  wanted: Partition,
  { stream, partitions }: StreamBounds,
): string | undefined {
  if (partitions.some(({ partition }) => partition === wanted)) return undefined
  const known = partitions.map(({ partition }) => partition).join(', ')
  const has = known === '' ? 'nothing was written to it' : `there is: ${known}`
  return `stream "${stream}" has no partition ${wanted} yet; ${has}`
}

/** An MQTT topic filter. */
export function filterOf(text: string): string {
  const fault = filterFault(text)
  if (fault !== undefined) {
    throw new UsageError(`--topic takes an MQTT topic filter, and "${shown(text)}" ${fault}`)
  }
  return text
}

function shown(text: string): string {
  return printable(text.slice(0, 80))
}
