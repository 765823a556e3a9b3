/** The table of the case `bridge`. */
import { alignColumns, formatNumber } from './table.ts'

export interface DrainReading {
  readonly name: string
  /** Of the backlog. */
  readonly records: number
  readonly perSecond: number
  /** Resident, of the process that drains; NaN where it was not measured, as below. */
  readonly beforeMiB: number
  readonly peakMiB: number
  /** Live messages acknowledged a second, at a set rate: without the drain, and during it. */
  readonly liveBefore: number
  readonly liveDuring: number
  readonly ackP99Ms: number
}

export interface KilledReading {
  readonly name: string
  readonly records: number
  /** At the upstream, over both runs of the process. */
  readonly arrived: number
}

export interface DrainResults {
  readonly drains: readonly DrainReading[]
  readonly killed: readonly KilledReading[]
  /** Records a second under `rate = "500/s"`. */
  readonly heldRate: number
}

export function renderDrain({ drains, killed, heldRate }: DrainResults): string {
  const head = ['', 'records/s', 'MiB before', 'MiB at most', 'live/s', 'in a drain', 'p99 ms']
  const lines = drains.map((one) => [
    one.name,
    ...[
      one.perSecond,
      one.beforeMiB,
      one.peakMiB,
      one.liveBefore,
      one.liveDuring,
      one.ackP99Ms,
    ].map(formatNumber),
  ])
  const ends = killed.map(({ name, records, arrived }) => {
    const less = arrived < records ? `${count(records - arrived)} lost` : 'nothing lost'
    const more = arrived > records ? `, ${count(arrived - records)} came twice` : ''
    return `${name}: of ${count(records)}, ${less}${more}`
  })
  return [
    `A backlog of ${count(drains[0]?.records ?? 0)} records of 256 B to a Mosquitto [bridge]`,
    alignColumns([head, ...lines]),
    '',
    `Under rate = "500/s": ${heldRate.toFixed(1)} records/s`,
    'Killed in the middle of a drain and started again:',
    ...ends.map((line) => `  ${line}`),
  ].join('\n')
}

function count(value: number): string {
  return value.toLocaleString('en-US')
}
