/**
 * One forward: a cursor of the log, and what of its stream goes to the upstream next.
 *
 * It knows the log and messages, not the link: the bridge asks `prepare` for the next message and
 * says `sent` when it went. B1 to B3 are in lane.ts; beside them:
 *
 * B4. `strict`: one lane, so records of the stream leave in position order, and again in that order
 *     from the first unacknowledged one on when the link was lost.
 * B5. `live-first`: the live lane begins near the end when the link is made, and what it leaves out
 *     is in `ranges` before the first record goes. A second lane works those off, marked
 *     `historical`. The cursor stands at the first record that is not settled in either.
 *
 * What a record becomes is composer.ts, how far the disk may be behind durable-place.ts.
 */
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { asPosition, type EventLog, type LogRecord, type Start } from '../log/log.ts'
import { Batcher } from './batcher.ts'
import { Composer } from './composer.ts'
import { BRIDGE_KIND } from './documents.ts'
import { DurablePlace, type Place, undurableRecordsMax } from './durable-place.ts'
import { GapNotes } from './gap-notes.ts'
import { GapNotices } from './gap-notices.ts'
import type { Flight, Lane, LaneSource } from './lane.ts'
import { MaxLag } from './max-lag.ts'
import { decodeOutstanding, nothingBefore, type Outstanding } from './outstanding.ts'
import type { ForwardSettings } from './settings.ts'
import { TwoLanes } from './two-lanes.ts'
import { OutboundMessage, type PublishWaiter, type UplinkConnection } from './uplink.ts'

export interface ForwardParts {
  readonly log: EventLog
  readonly clock: Clock
  readonly logger: Logger
  readonly gateway: string
  readonly settings: ForwardSettings
  /** Its name. */
  readonly cursor: string
  /** The client of records that came down from this very upstream: they do not go up again. */
  readonly ownClient: string
  /** There may be something to send. */
  readonly wake: () => void
  /** Something in flight is settled. */
  readonly progressed: () => void
  /** The upstream refused a message with this reason; a negative answer is final. */
  readonly refused: (cursor: string, reason: number) => 'skip' | 'again'
}

const PAGE_RECORDS = 1024
const PAGE_BYTES = 384 * 1024
/** Of every so many messages, one is of the backfill although the live lane has more to send. */
const BACKFILL_TURN = 8
/** Of so many records one is the newest that a forward with topics of its own wants, or more. */
const NARROWED = 16
/** An unreadable log is asked again after this: its repair goes on meanwhile. */
const UNREADABLE_MS = 5000

/** What `prepare` made ready. */
type Prepared =
  | { readonly kind: 'record'; readonly lane: Lane; readonly record: LogRecord }
  | { readonly kind: 'batch'; readonly lane: Lane; readonly flight: Flight }
  | { readonly kind: 'notice' }

const NOTICE: Prepared = { kind: 'notice' }

export class Forward implements LaneSource {
  readonly cursor: string
  readonly settings: ForwardSettings
  readonly message = new OutboundMessage()
  /** What `prepare` made ready: records in the message. */
  preparedRecords = 0
  sentMessages = 0
  sentBytes = 0
  /** Why nothing is read now; undefined while it works. */
  trouble: string | undefined
  readonly notes: GapNotes
  readonly maxLag: MaxLag
  private readonly parts: ForwardParts
  private readonly composer: Composer
  private readonly notices: GapNotices | undefined
  private readonly place: DurablePlace
  private readonly lanes: TwoLanes
  private readonly batchers = new Map<Lane, Batcher>()
  private end = 0
  private prepared: Prepared | undefined
  private liveStreak = 0
  private unreadableUntilMs = 0
  private unfollow: (() => void) | undefined
  private isAttached = false
  /** Its place is not its own to move. */
  private isSeeking = false

  constructor(parts: ForwardParts) {
    this.parts = parts
    this.cursor = parts.cursor
    this.settings = parts.settings
    const { log, gateway, settings, cursor, clock, logger, wake, refused } = parts
    const { stream } = settings
    const { epoch } = log.state
    const streamTopics = log.streams.find(({ name }) => name === stream)?.topics ?? []
    this.composer = new Composer({ settings, gateway, epoch, streamTopics, clock })
    this.notes = new GapNotes({ gaps: log.state.gaps, cursor, stream, logger })
    this.notices =
      settings.gaps === undefined
        ? undefined
        : new GapNotices({
            state: log.state,
            ...{ cursor, stream, gateway, wake },
            to: settings.gaps,
            refused: (reason) => refused(cursor, reason),
          })
    const mostRecords = undurableRecordsMax(settings)
    this.place = new DurablePlace({ state: log.state, cursor, mostRecords, wake })
    this.maxLag = new MaxLag({ log, clock, logger, cursor, settings, forward: this })
    this.lanes = new TwoLanes(this, (lane) => this.batchers.get(lane)?.reset())
  }

  /** Finds its place; nothing is sent before `attach`. */
  async open(): Promise<void> {
    const { log, settings, clock } = this.parts
    const { cursors, documents } = log.state
    const known = cursors.get(this.cursor)
    const from =
      known === undefined ? startOf(settings, clock.now()) : ({ kind: 'latest' } as const)
    const { place } = await cursors.open(this.cursor, settings.stream, 'stream', from)
    const next = place.kind === 'stream' ? place.next : asPosition(0)
    const [document] = await documents.get(BRIDGE_KIND, [this.cursor])
    const kept = this.outstandingIn(document, next)
    const isStrict = settings.order === 'strict'
    this.lanes.start(isStrict ? nothingBefore(kept.ranges.first?.first ?? kept.live) : kept)
    this.place.reset(next, 0)
    this.end = (await log.bounds(settings.stream)).end
    await this.notices?.open()
    cursors.onMoved((cursor, why) => {
      if (why === 'gap' && cursor.name === this.cursor && cursor.place.kind === 'stream') {
        this.passed(cursor.place.next)
      }
    })
    this.unfollow = log.follow((records) => {
      const last = records.at(-1)
      if (last?.stream !== settings.stream) return
      this.end = last.position + 1
      if (this.isAttached) this.parts.wake()
    })
  }

  close(): void {
    this.unfollow?.()
    this.detach()
    this.commit()
  }

  /** The link is up: from now on `prepare` is asked. */
  attach(): void {
    this.isAttached = true
    if (this.settings.order === 'live-first') this.leaveOutage()
  }

  /** The link is lost, and what was in flight with it (B2). */
  detach(): void {
    this.isAttached = false
    this.notes.forget()
    this.notices?.detach()
    this.lanes.detach()
    for (const batcher of this.batchers.values()) batcher.reset()
    this.prepared = undefined
  }

  /** Messages under way; a batch that is still being packed is none. */
  get inflight(): number {
    return this.inflightOf(this.lanes.live) + this.inflightOf(this.lanes.backfill)
  }

  get sentRecords(): number {
    return this.lanes.sentRecords
  }

  /** Records up to the end that are not settled, none left out by topic. */
  get lagRecords(): number {
    return Math.max(0, this.end - this.lanes.live.acked) + this.lanes.historicalRecords
  }

  /** Of these, the backfill's. */
  get historicalRecords(): number {
    return this.lanes.historicalRecords
  }

  /** When a batch must leave although it is not full, monotonic ms; undefined without one. */
  get dueMs(): number | undefined {
    let due: number | undefined
    for (const batcher of this.batchers.values()) {
      const { dueMs } = batcher
      if (dueMs !== undefined) due = Math.min(due ?? dueMs, dueMs)
    }
    return due
  }

  /** Fills `message` with what goes next; false: nothing is there, or the window is full. */
  prepare(connection: UplinkConnection): boolean {
    if (this.isSeeking || this.nowMs() < this.unreadableUntilMs) return false
    if (this.place.isBehind(this.lanes.doneRecords)) return false
    this.prepared = this.notices?.prepare(this.message, connection) === true ? NOTICE : undefined
    if (this.prepared !== undefined) {
      this.preparedRecords = 0
      return true
    }
    if (this.mustTellFirst) return false
    const [first, second] = this.lanes.inTurn(this.liveStreak >= BACKFILL_TURN - 1)
    const isReady =
      this.prepareOf(first, connection) ||
      (second !== undefined && this.prepareOf(second, connection))
    this.notes.write()
    return isReady
  }

  /** What `prepare` made goes now; who is returned is to be told how it went. */
  sent(sizeBytes: number): PublishWaiter {
    const prepared = this.prepared as Prepared
    this.prepared = undefined
    this.sentMessages++
    this.sentBytes += sizeBytes
    if (prepared.kind === 'notice') return (this.notices as GapNotices).sent()
    const { lane } = prepared
    this.liveStreak = lane === this.lanes.live ? this.liveStreak + 1 : 0
    if (prepared.kind === 'batch') {
      this.batchers.get(lane)?.take()
      return prepared.flight
    }
    const flight = lane.open(prepared.record)
    flight.add(prepared.record)
    lane.take(prepared.record)
    return flight
  }

  /** Brings the cursor to where everything before is settled. */
  commit(): void {
    if (this.isSeeking) return
    this.place.lazily(this.placeNow())
  }

  /** Goes on from somewhere else, also back; durable when it resolves. */
  async seek(to: Start): Promise<number> {
    const { cursors, documents } = this.parts.log.state
    // Acks come in meanwhile; what they settle must not move the place that is being set.
    this.isSeeking = true
    try {
      await documents.putNow([{ kind: BRIDGE_KIND, key: this.cursor, value: undefined }])
      const { place } = await cursors.seek(this.cursor, to)
      const next = place.kind === 'stream' ? place.next : 0
      this.place.reset(next, this.lanes.doneRecords)
      this.lanes.start(nothingBefore(next))
      for (const batcher of this.batchers.values()) batcher.reset()
      this.notes.forget()
      this.prepared = undefined
      return next
    } finally {
      this.isSeeking = false
      if (this.isAttached) this.attach()
      this.parts.wake()
    }
  }

  read(from: number) {
    const { stream, topics: filters } = this.settings
    const limits = { recordsMax: PAGE_RECORDS, bytesMax: PAGE_BYTES }
    const query = { stream, from: asPosition(from), ...limits }
    this.trouble = undefined
    return this.parts.log.read(filters === undefined ? query : { ...query, filters })
  }

  keptEnd(): number {
    return this.end
  }

  wake(): void {
    this.parts.wake()
  }

  progressed(): void {
    const { place } = this
    const { doneRecords } = this.lanes
    if (place.isDue(doneRecords) && !this.isSeeking) place.now(this.placeNow(), doneRecords)
    this.parts.progressed()
  }

  unreadable(thrown: unknown): void {
    this.trouble = `the log cannot be read: ${messageOf(thrown)}`
    this.unreadableUntilMs = this.nowMs() + UNREADABLE_MS
    const { logger } = this.parts
    logger.error({ cursor: this.cursor, reason: this.trouble }, 'a forward waits')
  }

  refused(flight: Flight, reason: number): void {
    if (this.parts.refused(this.cursor, reason) === 'again') return
    this.notes.refused(flight)
  }

  /** What is not handed out yet before `until`, as ranges. */
  before(until: number): { first: number; end: number }[] {
    return this.lanes.before(until)
  }

  /** Nothing before `until` is sent any more: a gap says so. */
  passed(until: number): void {
    this.lanes.passed(until)
    this.parts.wake()
  }

  private inflightOf(lane: Lane): number {
    return lane.inflight - (this.batchers.get(lane)?.unsent ?? 0)
  }

  private prepareOf(lane: Lane, connection: UplinkConnection): boolean {
    const { window, batch } = this.settings
    const isHistorical = lane === this.lanes.backfill
    // Half of the window stays free for what is live.
    const most = isHistorical ? Math.max(1, window >> 1) : window
    if (this.inflight >= window || this.inflightOf(lane) >= most) return false
    return batch === undefined ? this.single(lane, connection) : this.batch(lane)
  }

  private single(lane: Lane, connection: UplinkConnection): boolean {
    const { message, composer } = this
    for (;;) {
      const record = lane.peek()
      if (record === undefined) return false
      if (!this.passes(lane, record)) {
        composer.single(message, record, lane === this.lanes.backfill, connection.hasProperties)
        if (connection.sizeOf(message) <= connection.packetBytesMax) {
          this.prepared = { kind: 'record', lane, record }
          this.preparedRecords = 1
          return true
        }
        this.notes.pass(lane, record, 'policy')
      }
      if (this.mustTellFirst) return false
    }
  }

  private batch(lane: Lane): boolean {
    const unit = this.batcherOf(lane).peek(lane)
    if (unit?.payload === undefined) return false
    this.composer.batch(this.message, unit.payload, lane === this.lanes.backfill)
    this.prepared = { kind: 'batch', lane, flight: unit.flight }
    this.preparedRecords = unit.records
    return true
  }

  /** Takes out of the lane what does not go up: what came from there, and what is too old. */
  private passes(lane: Lane, record: LogRecord): boolean {
    if (record.client === this.parts.ownClient) {
      lane.take(record)
      return true
    }
    if (!this.composer.isExpired(record)) return false
    this.notes.pass(lane, record, 'expired')
    return true
  }

  /** A gap stands before what comes next, and the upstream is to hear of it in its place. */
  private get mustTellFirst(): boolean {
    return this.notices !== undefined && (this.notes.isPending || this.notices.isFull)
  }

  private batcherOf(lane: Lane): Batcher {
    const known = this.batchers.get(lane)
    if (known !== undefined) return known
    const { log, gateway, settings } = this.parts
    const made = new Batcher({
      settings: settings.batch as NonNullable<ForwardSettings['batch']>,
      head: { gateway, epoch: log.state.epoch, stream: settings.stream },
      nowMs: () => this.nowMs(),
      passes: (of, record) => this.passes(of, record),
      wake: this.parts.wake,
    })
    this.batchers.set(lane, made)
    return made
  }

  private placeNow(): Place {
    const { lanes, settings } = this
    const { acked } = lanes
    return { acked, outstanding: settings.order === 'strict' ? undefined : lanes.encode() }
  }

  /** B5: the live lane begins a window before the end, and the rest is an outage. */
  private leaveOutage(): void {
    const { window, topics } = this.settings
    this.lanes.leave(this.end - (topics === undefined ? window : window * NARROWED))
    this.commit()
  }

  /** One that cannot be read says less than the cursor, which stands before all that is left. */
  private outstandingIn(document: Uint8Array | undefined, next: number): Outstanding {
    if (document === undefined) return nothingBefore(next)
    try {
      return decodeOutstanding(document, next)
    } catch (thrown) {
      const fields = { cursor: this.cursor, reason: messageOf(thrown) }
      this.parts.logger.error(fields, 'a forward goes on at its cursor: some records go up twice')
      return nothingBefore(next)
    }
  }

  private nowMs(): number {
    return this.parts.clock.monotonicUs() / 1000
  }
}

function startOf({ start }: ForwardSettings, nowMs: number): Start {
  return start.kind === 'back' ? { kind: 'time', timeMs: nowMs - start.agoMs } : start
}
