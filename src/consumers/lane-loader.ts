/**
 * Reads a stream once for all members of a group: pages and live records are dealt out to lanes.
 *
 * O1. Each lane gets each of its records once and in order: a record is taken only by lanes that
 *     stand in what was read, and a lane that is full stands where it stopped.
 * O2. A lane that is full or has no owner holds nobody up: the others are read on, and it is read
 *     again from its own place when it has room. Lanes that stand together share their pages.
 * O3. One read is under way; lanes are bounded, and so is what they hold.
 */
import { messageOf } from '../base/errors.ts'
import { asPosition, type EventLog, type LogRecord, type Position } from '../log/log.ts'
import { topicMatches } from '../log/topics.ts'
import type { Lane } from './lane.ts'
import type { StreamWatch } from './stream-watch.ts'

const PAGE_RECORDS = 4096
/** What waits in a lane holds its page: with many lanes pages are smaller. */
const PAGE_BYTES_MAX = 1024 * 1024
const PAGE_BYTES_MIN = 32 * 1024
const PAGES_BYTES = 16 * 1024 * 1024
/** A lane this far behind the next one is read by itself, without the records of the others. */
const APART = 8192

export interface LaneLoaderParts {
  readonly log: EventLog
  readonly watch: StreamWatch
  readonly stream: string
  readonly filter: string | undefined
}

export interface LaneLoaderOwner {
  /** Lanes have more than before. */
  loaded(): void
  /** The log cannot be read; `load` tries again. */
  failed(reason: string): void
}

export class LaneLoader<M> {
  /** Records between the lane that is furthest behind and the newest; as of the last look. */
  lag = 0
  private readonly parts: LaneLoaderParts
  private readonly lanes: readonly Lane<M>[]
  private readonly byPartition: (Lane<M> | undefined)[] = []
  private readonly owner: LaneLoaderOwner
  private readonly bytesMax: number
  private reading = false
  private stopped = false
  private pages = 0
  /** The stream's end as of the last page; unknown before the first. */
  private endSeen = Number.POSITIVE_INFINITY
  private readonly unwatch: () => void

  constructor(parts: LaneLoaderParts, lanes: readonly Lane<M>[], owner: LaneLoaderOwner) {
    this.parts = parts
    this.lanes = lanes
    this.owner = owner
    for (const lane of lanes) this.byPartition[lane.partition] = lane
    const shareBytes = PAGES_BYTES / Math.max(1, lanes.length)
    this.bytesMax = Math.max(PAGE_BYTES_MIN, Math.min(PAGE_BYTES_MAX, shareBytes))
    this.unwatch = parts.watch.watch(parts.stream, (records) => this.kept(records))
  }

  /** Begins a read if a lane wants one. */
  load(): void {
    if (this.reading || this.stopped) return
    let first: Lane<M> | undefined
    let next = Number.POSITIVE_INFINITY
    for (const lane of this.lanes) {
      if (!lane.wantsMore) continue
      if (first === undefined || lane.readNext < first.readNext) {
        if (first !== undefined) next = first.readNext
        first = lane
      } else if (lane.readNext < next) {
        next = lane.readNext
      }
    }
    if (first === undefined) return
    const end = Math.max(this.endSeen, this.parts.watch.end(this.parts.stream))
    this.lag = Number.isFinite(end) ? Math.max(0, end - first.readNext) : 0
    // At the end nothing is asked: the next kept record wakes the loader.
    if (first.readNext >= end) return
    this.read(first.readNext, next - first.readNext > APART ? first : undefined)
  }

  stop(): void {
    this.stopped = true
    this.unwatch()
  }

  private read(from: Position, only: Lane<M> | undefined): void {
    const { log, stream, filter } = this.parts
    this.reading = true
    log
      .read({
        stream,
        from,
        recordsMax: PAGE_RECORDS,
        bytesMax: this.bytesMax,
        ...(filter !== undefined && { filters: [filter] }),
        ...(only !== undefined && { partition: only.partition }),
      })
      .then(
        (page) => {
          this.reading = false
          this.endSeen = page.end
          if (this.stopped) return
          this.deal(page.records, from, page.next, page.end, only)
          this.owner.loaded()
          if (page.next > from) this.load()
        },
        (thrown: unknown) => {
          this.reading = false
          if (!this.stopped) this.owner.failed(messageOf(thrown))
        },
      )
  }

  private kept(records: readonly LogRecord[]): void {
    const [first, last] = [records[0], records.at(-1)]
    if (first === undefined || last === undefined) return
    const next = asPosition(last.position + 1)
    this.deal(records, first.position, next, next, undefined)
    this.owner.loaded()
    this.load()
  }

  /** Deals out what was read of [from, next); of one lane alone if `only` says so (O1). */
  private deal(
    records: readonly LogRecord[],
    from: Position,
    next: Position,
    end: Position,
    only: Lane<M> | undefined,
  ): void {
    const page = ++this.pages
    const { filter, stream, watch } = this.parts
    const isAtEnd = next === Math.max(end, watch.end(stream))
    for (const record of records) {
      const lane = this.byPartition[record.partition]
      if (lane === undefined || lane.readNext < from || record.position < lane.readNext) continue
      if (lane.stoppedAt === page) continue
      if (!lane.takesMore) {
        lane.readNext = record.position
        lane.stoppedAt = page
      } else if (record.offset >= lane.floor && (filter === undefined || matches(filter, record))) {
        lane.push(record)
      }
    }
    for (const lane of only === undefined ? this.lanes : [only]) {
      if (lane.stoppedAt === page || lane.readNext < from || lane.readNext >= next) continue
      lane.readNext = next
      if (isAtEnd) lane.scanned = watch.offsetEnd(stream, lane.partition) ?? lane.endAtStart
    }
  }
}

function matches(filter: string, record: LogRecord): boolean {
  return topicMatches(filter, record.topic)
}
