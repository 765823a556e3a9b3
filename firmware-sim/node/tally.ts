/** What a fleet of constrained devices counts, over all and by profile. */
import { LatencyHistogram } from '../rates.ts'

export const tallyNames = [
  'made',
  'sent',
  'sentAgain',
  'acknowledged',
  'dropped',
  'lostInBrownOuts',
  'brownOuts',
  'connects',
  'errors',
  'commands',
] as const
export type TallyName = (typeof tallyNames)[number]

export class Tally {
  /** First handed to a socket to acknowledged, in real ms. */
  readonly latency = new LatencyHistogram()
  private readonly counts = new Map<TallyName, number>()
  private readonly above: Tally | undefined

  /** What is counted here is counted in `above` as well. */
  constructor(above?: Tally) {
    this.above = above
  }

  count(name: TallyName, by = 1): void {
    this.counts.set(name, this.of(name) + by)
    this.above?.count(name, by)
  }

  took(ms: number): void {
    this.latency.record(ms)
    this.above?.took(ms)
  }

  of(name: TallyName): number {
    return this.counts.get(name) ?? 0
  }
}
