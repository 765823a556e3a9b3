/**
 * A stream's records one after the other from a place on: pages of history, the next one read while
 * the last is being used, then the live records as they are kept.
 *
 * F1. Each record that is wanted is given once and in order: the seam between history and live is
 *     where a page ends at the newest kept record in the same loop turn.
 * F2. At most two pages are in memory, and one read is under way: a thousand feeds cost the reader
 *     thread no more than a thousand turns.
 * F3. What the log no longer has is told before the record behind it.
 */
import { messageOf } from '../base/errors.ts'
import {
  asPosition,
  type EventLog,
  type GapReason,
  type LogRecord,
  type Partition,
  type Position,
  type RecordPage,
} from '../log/log.ts'
import { topicMatches } from '../log/topics.ts'
import type { MissedRange } from './missed.ts'
import type { StreamWatch } from './stream-watch.ts'

/** Some 5 ms of sending; with the page read ahead a feed holds 1 MiB at most. */
const PAGE_RECORDS = 2048
const PAGE_BYTES = 512 * 1024

export interface FeedParts {
  readonly log: EventLog
  readonly watch: StreamWatch
  readonly stream: string
  /** Undefined: all topics. */
  readonly filter: string | undefined
  /** Undefined: all partitions. */
  readonly partition: Partition | undefined
}

export interface FeedOwner {
  /** There is something to take. */
  ready(): void
  /** A live record, when nothing is before it. False: no room, it will be read again. */
  live(record: LogRecord): boolean
  missed(range: MissedRange): void
  /** The log cannot be read; `retry` reads on. */
  failed(reason: string): void
}

export class Feed {
  private readonly parts: FeedParts
  private readonly owner: FeedOwner
  private page: readonly LogRecord[] = []
  private index = 0
  private ahead: RecordPage | undefined
  /** Where the next read begins; while live, the next record that is not given yet. */
  private next: Position
  private reading = false
  private stopped = false
  /** Rises when the feed is put elsewhere: an answer from before is not for this place. */
  private generation = 0
  private readonly unwatch: () => void

  constructor(parts: FeedParts, from: Position, owner: FeedOwner) {
    this.parts = parts
    this.owner = owner
    this.next = from
    this.unwatch = parts.watch.watch(parts.stream, (records) => this.kept(records))
    this.read()
  }

  /** Records between the place and the newest one, those not wanted included. */
  get lag(): number {
    const first = this.page[this.index] ?? this.ahead?.records[0]
    return Math.max(0, this.parts.watch.end(this.parts.stream) - (first?.position ?? this.next))
  }

  /** The next record of history; undefined when none is in memory. */
  peek(): LogRecord | undefined {
    return this.page[this.index] ?? this.turnPage()
  }

  /** What `peek` gave is done with. */
  shift(): void {
    this.index++
  }

  /** The next position that was not given: where a cursor without anything open stands. */
  get place(): Position {
    return this.page[this.index]?.position ?? this.ahead?.records[0]?.position ?? this.next
  }

  /** Goes on elsewhere. */
  moveTo(position: Position): void {
    this.generation++
    this.next = position
    this.page = []
    this.index = 0
    this.ahead = undefined
    this.reading = false
    this.read()
  }

  /** Reads on after `failed`. */
  retry(): void {
    if (!this.stopped) this.read()
  }

  stop(): void {
    this.stopped = true
    this.generation++
    this.page = []
    this.ahead = undefined
    this.unwatch()
  }

  private turnPage(): LogRecord | undefined {
    const { ahead } = this
    if (ahead === undefined) return undefined
    this.ahead = undefined
    this.page = ahead.records
    this.index = 0
    this.read()
    return this.page[0]
  }

  private read(): void {
    if (this.reading || this.stopped || this.ahead !== undefined) return
    // At the end nothing is asked: the next kept record wakes the feed.
    if (this.next > 0 && this.next === this.parts.watch.end(this.parts.stream)) return
    this.reading = true
    const { generation, next: from } = this
    this.readPage(from).then(
      ({ page, first }) => {
        if (generation === this.generation) this.arrived(from, page, first)
      },
      (thrown: unknown) => {
        if (generation !== this.generation) return
        this.reading = false
        this.owner.failed(messageOf(thrown))
      },
    )
  }

  /** A page, and where the stream begins when the page could have told only with all records. */
  private async readPage(from: Position): Promise<{ page: RecordPage; first: number }> {
    const { log, stream, filter, partition } = this.parts
    const page = await log.read({
      stream,
      from,
      recordsMax: PAGE_RECORDS,
      bytesMax: PAGE_BYTES,
      ...(filter !== undefined && { filters: [filter] }),
      ...(partition !== undefined && { partition }),
    })
    const isPlain = !this.isNarrow || page.records[0]?.position === from || page.next === from
    return { page, first: isPlain ? from : await log.locate(stream, { kind: 'earliest' }) }
  }

  private get isNarrow(): boolean {
    return this.parts.filter !== undefined || this.parts.partition !== undefined
  }

  private arrived(from: Position, page: RecordPage, first: number): void {
    this.reading = false
    this.tellMissed(from, page, first)
    this.next = page.next
    if (page.records.length > 0) {
      this.ahead = page
      this.owner.ready()
    } else if (page.next < Math.max(page.end, this.parts.watch.end(this.parts.stream))) {
      this.read()
    }
  }

  /** Live records; taken only when nothing is before them (F1). */
  private kept(records: readonly LogRecord[]): void {
    const first = records[0]
    if (first === undefined || this.stopped) return
    const isBehind = this.reading || this.ahead !== undefined || this.index < this.page.length
    if (isBehind || first.position !== this.next) {
      this.read()
      return
    }
    const { generation } = this
    for (const record of records) {
      const isTaken = !this.isWanted(record) || this.owner.live(record)
      // Whoever took it may have stopped the feed or put it elsewhere.
      if (generation !== this.generation) return
      if (!isTaken) {
        this.read()
        return
      }
      this.next = asPosition(record.position + 1)
    }
  }

  private isWanted(record: LogRecord): boolean {
    const { filter, partition } = this.parts
    if (partition !== undefined && record.partition !== partition) return false
    return filter === undefined || topicMatches(filter, record.topic)
  }

  /** F3. Without a filter a jump in the positions says it; with one, the ledger and the start. */
  private tellMissed(from: Position, page: RecordPage, first: number): void {
    if (this.isNarrow) {
      if (first > from) this.tell(from, first, undefined)
      for (const gap of this.parts.log.state.gaps.list({ stream: this.parts.stream })) {
        if (gap.cursor !== undefined || gap.end <= Math.max(from, first)) continue
        if (gap.first < page.next) this.tell(gap.first, gap.end, gap.reason)
      }
      return
    }
    if (page.next - from === page.records.length) return
    let expected: number = from
    for (const { position } of page.records) {
      if (position > expected) this.tell(expected, position, undefined)
      expected = position + 1
    }
    if (page.next > expected) this.tell(expected, page.next, undefined)
  }

  private tell(first: number, end: number, known: GapReason | undefined): void {
    const { stream, log } = this.parts
    const reason = known ?? reasonOf(log, stream, first, end)
    this.owner.missed({ stream, reason, partition: undefined, first, end, records: end - first })
  }
}

/** The ledger knows what damage took; what it does not know left by retention. */
function reasonOf(log: EventLog, stream: string, first: number, end: number): GapReason {
  const gaps = log.state.gaps.list({ stream })
  return gaps.find((gap) => gap.first < end && gap.end > first)?.reason ?? 'retention'
}
