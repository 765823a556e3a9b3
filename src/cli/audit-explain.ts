/**
 * Why offsets are missing at the far end, from the data directory of the gateway they come from.
 *
 * A record of a hole that is still in the log is looked at: it lies in a gap of a bridge, or no
 * filter of the forward wants it, or it has no excuse. One that is gone from the log has left its
 * position with it: then the gaps of its stream explain as many records as they speak of, and not
 * one more.
 */
import type { Range } from '../bridge/ranges.ts'
import {
  asOffset,
  asPartition,
  type Gap,
  type LogRecord,
  type Offset,
  type Partition,
  type Position,
} from '../log/log.ts'
import type { LogReader } from '../log/reader/log-reader.ts'
import { topicMatches } from '../log/topics.ts'
import type { Lane } from './audit-lanes.ts'

/** Records by what explains them: reasons of gaps, and 'not forwarded'. */
export type Explained = ReadonlyMap<string, number>

const PAGE = { recordsMax: 1000, bytesMax: 1024 * 1024 }

/** A gap and how many of its records are not used as an explanation yet. */
interface Budget {
  readonly gap: Gap
  left: number
}

export class Explainer {
  private readonly reader: LogReader
  private readonly budgets: readonly Budget[]
  private readonly filters: readonly string[] | undefined
  private readonly bounds = new Map<string, ReadonlyMap<number, Range<Offset>>>()
  private readonly walks = new Map<Lane, Walk>()

  /** `filters`: the topics of the forward; undefined: it forwards all of its stream. */
  constructor(reader: LogReader, gaps: readonly Gap[], filters: readonly string[] | undefined) {
    this.reader = reader
    this.budgets = gaps.map((gap) => ({ gap, left: gap.records }))
    this.filters = filters
  }

  /** Of one lane, holes come in ascending order. */
  explain(lane: Lane, hole: Range<Offset>): Explained {
    const explained = new Map<string, number>()
    const count = (reason: string, records: number) =>
      explained.set(reason, (explained.get(reason) ?? 0) + records)
    let found = 0
    for (const record of this.kept(lane, hole)) {
      found++
      const reason = this.reasonOf(record)
      if (reason !== undefined) count(reason, 1)
    }
    let gone = hole.end - hole.first - found
    for (const budget of this.budgets) {
      if (budget.gap.stream !== lane.stream) continue
      const used = Math.min(gone, budget.left)
      if (used === 0) continue
      budget.left -= used
      gone -= used
      count(budget.gap.reason, used)
    }
    return explained
  }

  /** What the log has of each partition of a stream; empty for a stream that it does not have. */
  partitions(stream: string): ReadonlyMap<number, Range<Offset>> {
    const known = this.bounds.get(stream)
    if (known !== undefined) return known
    const isThere = this.reader.streams().includes(stream)
    const partitions = isThere ? this.reader.bounds(stream).partitions : []
    const ranges = new Map(
      partitions.map(({ partition, first, end }) => [partition, { first, end }]),
    )
    this.bounds.set(stream, ranges)
    return ranges
  }

  private reasonOf(record: LogRecord): string | undefined {
    const { position, topic } = record
    const isUnwanted = this.filters?.every((filter) => !topicMatches(filter, topic)) ?? false
    if (isUnwanted) return 'not forwarded'
    const budget = this.budgets.find(
      ({ gap }) => gap.stream === record.stream && gap.first <= position && position < gap.end,
    )
    if (budget === undefined) return undefined
    budget.left = Math.max(0, budget.left - 1)
    return budget.gap.reason
  }

  /** The records of a hole that the log still has. */
  private *kept(lane: Lane, hole: Range<Offset>): Iterable<LogRecord> {
    const bounds = this.partitions(lane.stream).get(lane.partition)
    if (bounds === undefined) return
    const first = asOffset(Math.max(hole.first, bounds.first))
    const end = Math.min(hole.end, bounds.end)
    if (first >= end) return
    const walk = this.walks.get(lane) ?? new Walk(this.reader, lane)
    this.walks.set(lane, walk)
    yield* walk.between(first, end)
  }
}

/**
 * One way through a partition, for holes in ascending order: a forward with filters leaves a hole
 * at every second record, and a search for each of them would read the same page again and again.
 */
class Walk {
  private readonly reader: LogReader
  private readonly stream: string
  private readonly partition: Partition
  private page: readonly LogRecord[] = []
  private index = 0
  private next: Position | undefined

  constructor(reader: LogReader, { stream, partition }: Lane) {
    this.reader = reader
    this.stream = stream
    this.partition = asPartition(partition)
  }

  /** The records of [first, end) that are there; `first` is not below the last call's `end`. */
  *between(first: Offset, end: number): Iterable<LogRecord> {
    for (let record = this.from(first); record !== undefined; record = this.from(first)) {
      if (record.offset >= end) return
      this.index++
      if (record.offset >= first) yield record
    }
  }

  /** The next record, of the next page where this one is done; undefined at the end. */
  private from(first: Offset): LogRecord | undefined {
    const record = this.page[this.index]
    if (record !== undefined) return record
    const last = this.page.at(-1)?.offset
    const isFar = last === undefined || first - last > PAGE.recordsMax
    const { stream, partition } = this
    const start = { kind: 'offset', partition, offset: first } as const
    let from = isFar || this.next === undefined ? this.reader.locate(stream, start) : this.next
    for (;;) {
      const page = this.reader.read({ stream, from, partition, ...PAGE })
      this.page = page.records
      this.index = 0
      this.next = page.next
      if (page.records.length > 0 || page.next === from) return this.page[0]
      from = page.next
    }
  }
}
