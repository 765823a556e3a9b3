/**
 * Joins the ledger of a fleet with what the log, a consumer and an upstream have of it.
 *
 * A1. What was acknowledged must be in the log. What is in the log must be at the consumer and at
 *     the upstream; of the streams they take, when these are named, else also all that was
 *     acknowledged.
 * A2. What is missing is lost, but for as many readings as gaps tell of: records that retention
 *     removed and gaps of every reader for the log, those and the gaps of its cursors for a
 *     consumer and an upstream.
 * A3. Memory grows with devices, boots and holes, not with readings.
 */
import { Ledger } from '../ledger.ts'
import { Ranges } from '../ranges.ts'
import { type Line, linesOf, parseLine } from './lines.ts'
import type { Gap, LogSource, StreamOfLog } from './log-source.ts'
import { MissingCount, Seen } from './seen.ts'

/** A consumer's or an upstream's side. */
export interface FarEnd {
  readonly name: string
  /** Its output, each file in order; a group has one for each member. */
  readonly files: readonly string[]
  /** The streams it takes; none: all. */
  readonly streams: readonly string[]
  /** Beginnings of the names of its cursors, such as `group/analytics/`. */
  readonly cursors: readonly string[]
}

export interface AuditOptions {
  readonly ledger: string
  readonly log: LogSource | undefined
  readonly farEnds: readonly FarEnd[]
}

export interface StageResult {
  readonly name: string
  readonly readings: number
  readonly missing: number
  readonly explained: number
  readonly lost: number
  readonly duplicated: number
  readonly outOfOrder: number
  readonly examples: readonly string[]
}

export interface AuditResult {
  readonly sent: number
  readonly acknowledged: number
  readonly dropped: number
  readonly stages: readonly StageResult[]
  /** Messages that are none of this fleet's. */
  readonly foreign: number
  readonly unreadable: number
}

/** Throws a sentence when something cannot be read. */
export async function auditFleet({ ledger, log, farEnds }: AuditOptions): Promise<AuditResult> {
  const audit = new Audit(await Ledger.read(ledger))
  if (log !== undefined) await audit.readLog(log)
  for (const farEnd of farEnds) await audit.readFarEnd(farEnd)
  return audit.result()
}

class Audit {
  private readonly ledger: Ledger
  private readonly stages: StageResult[] = []
  private readonly logged = new Map<string, Seen>()
  private streams: readonly StreamOfLog[] = []
  private gaps: readonly Gap[] = []
  private foreign = 0
  private unreadable = 0

  constructor(ledger: Ledger) {
    this.ledger = ledger
  }

  async readLog(log: LogSource): Promise<void> {
    this.streams = await log.streams()
    this.gaps = await log.gaps()
    for (const { name } of this.streams) {
      const seen = new Seen()
      for await (const line of log.records(name)) this.take(line, seen)
      this.logged.set(name, seen)
    }
    const all = [...this.logged.values()]
    const missing = new MissingCount()
    for (const { device, boot, acknowledged } of this.ledger.accounts()) {
      missing.add(device, boot, withoutAll(acknowledged, device, boot, all))
    }
    const [duplicated, outOfOrder] = [sum(all, 'duplicated'), sum(all, 'outOfOrder')]
    const counts = { readings: sum(all, 'count'), duplicated, outOfOrder }
    this.stages.push(stage('logged', counts, missing, this.removed([])))
  }

  async readFarEnd({ name, files, streams, cursors }: FarEnd): Promise<void> {
    const seen = new Seen()
    for (const file of files) {
      seen.forgetOrder()
      for await (const line of linesOf(file)) this.take(parseLine(line), seen)
    }
    for (const stream of streams) {
      if (!this.logged.has(stream)) throw new Error(`the log has no stream "${stream}"`)
    }
    const missing = new MissingCount()
    const wanted = [...this.logged].filter(([one]) => streams.length === 0 || streams.includes(one))
    const expected = wanted.map(([, one]) => one)
    for (const one of expected) {
      for (const [device, boot, readings] of one.entries()) {
        missing.add(device, boot, withoutAll(readings, device, boot, [seen]))
      }
    }
    if (streams.length === 0) {
      for (const { device, boot, acknowledged } of this.ledger.accounts()) {
        const rest = withoutAll(acknowledged, device, boot, [...expected, seen])
        missing.add(device, boot, rest)
      }
    }
    const { duplicated, outOfOrder } = seen
    const counts = { readings: seen.count, duplicated, outOfOrder }
    this.stages.push(stage(name, counts, missing, this.removed(cursors)))
  }

  result(): AuditResult {
    const { ledger, stages, foreign, unreadable } = this
    return {
      sent: ledger.count('sent'),
      acknowledged: ledger.count('acknowledged'),
      dropped: ledger.count('dropped'),
      stages,
      foreign,
      unreadable,
    }
  }

  private take(line: Line, seen: Seen): void {
    if (line.kind === 'unreadable') this.unreadable += 1
    else if (line.kind === 'foreign' || this.ledger.find(line.sighting.id) === undefined) {
      this.foreign += 1
    } else seen.take(line.sighting)
  }

  /** How many records nobody, or nobody with these cursors, will get. */
  private removed(cursors: readonly string[]): number {
    const firsts = new Map(this.streams.map(({ name, removed }) => [name, removed]))
    let records = 0
    for (const { removed } of this.streams) records += removed
    for (const { stream, cursor, first, records: count } of this.gaps) {
      const counts =
        cursor === null
          ? first >= (firsts.get(stream) ?? 0)
          : cursors.some((beginning) => cursor.startsWith(beginning))
      if (counts) records += count
    }
    return records
  }
}

/** The readings of one device and boot that none of `stages` has. */
function withoutAll(
  readings: Ranges,
  device: string,
  boot: number,
  stages: readonly Seen[],
): [number, number][] {
  let left = readings
  for (const one of stages) {
    const seen = one.readings(device, boot)
    if (seen !== undefined) left = Ranges.of(left.without(seen))
  }
  return left.list()
}

function stage(
  name: string,
  counts: { readonly readings: number; readonly duplicated: number; readonly outOfOrder: number },
  missing: MissingCount,
  removed: number,
): StageResult {
  const explained = Math.min(missing.count, removed)
  const lost = missing.count - explained
  return { name, ...counts, missing: missing.count, explained, lost, examples: missing.examples }
}

function sum(stages: readonly Seen[], what: 'count' | 'duplicated' | 'outOfOrder'): number {
  return stages.reduce((total, one) => total + one[what], 0)
}
