/**
 * One client reads a stream: from a place in its history to the newest record and on with the live
 * ones. QoS 1 and 2 are paced by the client's window; what it has not taken stays in the log.
 *
 * P1. Records come in offset order, each once, without a hole between history and live (F1).
 * P2. The cursor of a durable replay stands at the first record that is not settled: a client that
 *     comes back gets that one first.
 * P3. Whatever the client does, a replay holds two pages and its window.
 */
import type { Clock } from '../base/clock.ts'
import {
  asPosition,
  type Cursor,
  type EventLog,
  type LogRecord,
  type Partition,
  type Position,
  type QoS,
  type Start,
} from '../log/log.ts'
import { Feed, type FeedOwner } from './feed.ts'
import { GapTeller } from './gap-teller.ts'
import { InOrder, type InOrderOwner } from './in-order.ts'
import type { Member, Settled } from './member.ts'
import type { MissedRange } from './missed.ts'
import { RecordProperties } from './record-properties.ts'
import type { StreamWatch } from './stream-watch.ts'
import type { Task, Turns } from './turns.ts'

/** Further behind than this it works in slices; nearer it keeps up like any subscriber. */
const LAG_OF_HISTORY = 8192
/** Sent between two looks at the time. */
const SENT_BETWEEN_LOOKS = 32
/** Sent in a slice at most, whatever the clock says. */
const SENT_IN_SLICE_MAX = 4096

const NO_PROPERTIES: readonly (readonly [string, string])[] = []
const nobodyAsks: Settled = () => undefined

export interface ReplayOptions {
  readonly member: Member
  readonly stream: string
  /** Undefined: all topics. */
  readonly filter?: string | undefined
  /** Undefined: all partitions. */
  readonly partition?: Partition | undefined
  /** As granted, also for what was published at 0: the ack is what paces a replay. */
  readonly qos: QoS
  readonly retainAsPublished?: boolean
  readonly subscriptionIds?: readonly number[]
  /** False for MQTT 3.1.1, which has no user properties. */
  readonly withProperties: boolean
  readonly start: Start
  /** The cursor of a persistent session; its place comes before `start`. */
  readonly cursor?: string | undefined
  readonly onGap: (range: MissedRange) => void
  /** The log cannot be read now; it is tried again with the next tick. */
  readonly onFailure: (reason: string) => void
}

export interface ReplayParts {
  readonly log: EventLog
  readonly watch: StreamWatch
  readonly turns: Turns
  readonly clock: Clock
}

export class Replay implements Task, FeedOwner, InOrderOwner {
  readonly member: Member
  private readonly parts: ReplayParts
  private readonly options: ReplayOptions
  private readonly feed: Feed
  private readonly properties: RecordProperties
  private readonly ids: readonly number[]
  private readonly gapTeller: GapTeller | undefined
  private readonly unseek: (() => void) | undefined
  private open: InOrder | undefined
  private settledEnd = 0
  /** Until there is room; and first until whoever began it knows it, to say so. */
  private blocked = true
  private failing = false
  private stopped = false

  /**
   * Begins where the cursor or else the start says. Rejects with `stream-unknown`, `start-invalid`
   * or `storage`.
   */
  static async begin(parts: ReplayParts, options: ReplayOptions): Promise<Replay> {
    const { log } = parts
    const { stream, start, cursor } = options
    if (cursor === undefined) {
      const from = await log.locate(stream, start)
      const missed = await missedBefore(log, stream, start)
      return new Replay(parts, options, from, missed).beginSoon()
    }
    const known = await log.state.cursors.open(cursor, stream, 'stream', start)
    const replay = new Replay(parts, options, placeOf(known), undefined)
    await replay.gapTeller?.start()
    return replay.beginSoon()
  }

  private constructor(
    parts: ReplayParts,
    options: ReplayOptions,
    from: Position,
    missed: MissedRange | undefined,
  ) {
    this.parts = parts
    this.options = options
    this.member = options.member
    this.ids = options.subscriptionIds ?? []
    this.properties = new RecordProperties(options.stream)
    const { stream, filter, partition, cursor } = options
    if (missed !== undefined) options.onGap(missed)
    if (cursor !== undefined) {
      this.open = new InOrder(this)
      this.gapTeller = new GapTeller(
        parts,
        { cursor, stream },
        options.onGap,
        () => this.feed.place,
      )
      this.unseek = parts.watch.onSeek(cursor, (moved) => this.sought(moved))
    }
    const { log, watch } = parts
    this.feed = new Feed({ log, watch, stream, filter, partition }, from, this)
  }

  private beginSoon(): this {
    setImmediate(() => this.roomy())
    return this
  }

  /** Records that it has not sent, those that its filter leaves out included. */
  get lag(): number {
    return this.feed.lag
  }

  /** The member's window or socket has room again. */
  roomy(): void {
    if (!this.blocked || this.stopped) return
    this.blocked = false
    this.ready()
  }

  /** The client is gone or has unsubscribed; a cursor stays where the acks ended. */
  left(): void {
    if (this.stopped) return
    this.commit()
    this.stopped = true
    this.parts.turns.remove(this)
    this.open?.abandon(() => undefined)
    this.gapTeller?.stop()
    this.unseek?.()
    this.feed.stop()
  }

  /** Called now and then: the cursor is committed, and what failed is tried again. */
  tick(): void {
    this.commit()
    if (!this.failing) return
    this.failing = false
    this.feed.retry()
  }

  work(untilUs: number): boolean {
    if (this.stopped || this.blocked) return false
    for (let sent = 1; ; sent++) {
      const record = this.feed.peek()
      if (record === undefined) return false
      if (!this.send(record)) return false
      this.feed.shift()
      if (sent % SENT_BETWEEN_LOOKS !== 0) continue
      if (sent >= SENT_IN_SLICE_MAX || this.parts.clock.monotonicUs() >= untilUs) return true
    }
  }

  ready(): void {
    if (this.stopped || this.blocked) return
    if (this.feed.lag > LAG_OF_HISTORY || this.work(Number.POSITIVE_INFINITY)) {
      this.parts.turns.add(this)
    }
  }

  live(record: LogRecord): boolean {
    return !this.blocked && this.send(record)
  }

  missed(range: MissedRange): void {
    // Retention moved the cursor past what it took, and the ledger says so: it is told once.
    if (this.gapTeller?.tells(range) !== true) this.options.onGap(range)
  }

  failed(reason: string): void {
    this.failing = true
    this.options.onFailure(reason)
  }

  settledUpTo(next: number): void {
    this.settledEnd = next
  }

  refused(position: Position): void {
    this.gapTeller?.refused(position)
  }

  private send(record: LogRecord): boolean {
    const { member, open } = this
    const { qos, retainAsPublished = false, withProperties } = this.options
    const how = {
      qos,
      dup: false,
      retain: retainAsPublished && record.retain,
      userProperties: withProperties ? this.properties.of(record) : NO_PROPERTIES,
      subscriptionIds: this.ids,
    }
    const slot = open?.open(record.position, record.position)
    if (member.send(record, how, slot?.settled ?? nobodyAsks)) return true
    if (slot !== undefined) open?.takeBack(slot)
    this.blocked = true
    return false
  }

  /** P2. With nothing open the cursor goes past what the filter leaves out as well. */
  private commit(): void {
    const { cursor } = this.options
    if (cursor === undefined || this.stopped) return
    const { cursors } = this.parts.log.state
    const next = this.open?.length === 0 ? this.feed.place : this.settledEnd
    if (next <= 0 || cursors.get(cursor) === undefined) return
    cursors.commit(cursor, { kind: 'stream', next: asPosition(next) })
  }

  private sought(cursor: Cursor): void {
    this.open?.abandon(() => undefined)
    this.open = new InOrder(this)
    this.settledEnd = 0
    this.blocked = false
    this.feed.moveTo(placeOf(cursor))
  }
}

function placeOf({ place }: Cursor): Position {
  return place.kind === 'stream' ? place.next : asPosition(0)
}

/** What retention took of the partition that the start names. */
async function missedBefore(
  log: EventLog,
  stream: string,
  start: Start,
): Promise<MissedRange | undefined> {
  if (start.kind !== 'offset') return undefined
  const { partitions } = await log.bounds(stream)
  const bounds = partitions.find(({ partition }) => partition === start.partition)
  if (bounds === undefined || bounds.first <= start.offset) return undefined
  const { partition, first: end } = bounds
  const records = end - start.offset
  return { stream, reason: 'retention', partition, first: start.offset, end, records }
}
