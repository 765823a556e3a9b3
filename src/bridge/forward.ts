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
 */
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { Documents, EventLog, LogRecord, Start } from '../log/log.ts'
import { asPosition } from '../log/log.ts'
import { Batcher } from './batcher.ts'
import { BRIDGE_KIND } from './documents.ts'
import { envelope } from './envelope.ts'
import { GapNotes } from './gap-notes.ts'
import { type Flight, Lane, type LaneSource } from './lane.ts'
import { expiryAt, OriginProperties } from './origin.ts'
import { decodeOutstanding, encodeOutstanding, nothingBefore } from './outstanding.ts'
import type { ForwardSettings } from './settings.ts'
import { UpstreamTopics } from './topics.ts'
import { OutboundMessage, type UplinkConnection } from './uplink.ts'

export interface ForwardParts {
  readonly log: EventLog
  readonly documents: Documents
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
  readonly refused: (forward: Forward, reason: number) => 'skip' | 'again'
}

const PAGE_RECORDS = 1024
const PAGE_BYTES = 384 * 1024
/** Of every so many messages, one is of the backfill although the live lane has more to send. */
const BACKFILL_TURN = 8
/** Of so many records one is the newest that a forward with topics of its own wants, or more. */
const NARROWED = 16
/** An unreadable log is asked again after this: its repair goes on meanwhile. */
const UNREADABLE_MS = 5000

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
  private readonly parts: ForwardParts
  private readonly origin: OriginProperties
  private readonly topics: UpstreamTopics
  private readonly live: Lane
  private readonly backfill: Lane
  private outstanding = nothingBefore(0)
  private readonly batchers = new Map<Lane, Batcher>()
  private end = 0
  private committed = 0
  private preparedLane: Lane | undefined
  private preparedRecord: LogRecord | undefined
  private preparedFlight: Flight | undefined
  private liveStreak = 0
  private unreadableUntilMs = 0
  private unfollow: (() => void) | undefined
  private isAttached = false
  /** The stream is full by our word. */
  private hasFilled = false

  constructor(parts: ForwardParts) {
    this.parts = parts
    this.cursor = parts.cursor
    this.settings = parts.settings
    const { log, gateway, settings, cursor, logger } = parts
    const { stream } = settings
    this.origin = new OriginProperties(gateway, log.state.epoch, stream)
    const own = log.streams.find(({ name }) => name === stream)?.topics ?? []
    this.topics = new UpstreamTopics(settings.to, gateway, stream, settings.topics ?? own)
    this.notes = new GapNotes({ gaps: log.state.gaps, cursor, stream, logger })
    this.live = new Lane(this, 0, Number.POSITIVE_INFINITY)
    this.backfill = new Lane(this, 0, 0)
  }

  /** Finds its place; nothing is sent before `attach`. */
  async open(): Promise<void> {
    const { log, documents, settings, clock } = this.parts
    const { cursors } = log.state
    const known = cursors.get(this.cursor)
    const from =
      known === undefined ? startOf(settings, clock.now()) : ({ kind: 'latest' } as const)
    const { place } = await cursors.open(this.cursor, settings.stream, 'stream', from)
    const next = place.kind === 'stream' ? place.next : asPosition(0)
    const [document] = await documents.get(BRIDGE_KIND, [this.cursor])
    this.outstanding =
      document === undefined || settings.order === 'strict'
        ? nothingBefore(document === undefined ? next : lowest(document, next))
        : decodeOutstanding(document, next)
    this.committed = next
    this.end = (await log.bounds(settings.stream)).end
    this.live.reset(this.outstanding.live)
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
    this.notes.write()
    this.live.reset(this.live.acked)
    this.backfill.reset(this.backfill.acked)
    for (const batcher of this.batchers.values()) batcher.reset()
    this.preparedLane = undefined
  }

  /** Messages under way; a batch that is still being packed is none. */
  get inflight(): number {
    return this.inflightOf(this.live) + this.inflightOf(this.backfill)
  }

  get sentRecords(): number {
    return this.live.sentRecords + this.backfill.sentRecords
  }

  /** The first record that is not settled. */
  get acked(): number {
    this.settleRanges()
    return this.outstanding.ranges.first?.first ?? this.live.acked
  }

  /** Records between `acked` and the end that are not settled, none left out by topic. */
  get lagRecords(): number {
    this.settleRanges()
    return Math.max(0, this.end - this.live.acked) + this.outstanding.ranges.size
  }

  /** Of these, the backfill's. */
  get historicalRecords(): number {
    this.settleRanges()
    return this.outstanding.ranges.size
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
    if (this.nowMs() < this.unreadableUntilMs) return false
    const [first, second] = this.lanes()
    const isReady =
      this.prepareOf(first, connection) ||
      (second !== undefined && this.prepareOf(second, connection))
    this.notes.write()
    return isReady
  }

  /** What `prepare` made goes now; the flight is to be told how it went. */
  sent(sizeBytes: number): Flight {
    const lane = this.preparedLane as Lane
    let flight = this.preparedFlight
    if (flight === undefined) {
      const record = this.preparedRecord as LogRecord
      flight = lane.open(record)
      flight.add(record)
      lane.take(record)
    } else {
      this.batchers.get(lane)?.take()
    }
    this.preparedLane = undefined
    this.preparedFlight = undefined
    this.preparedRecord = undefined
    this.liveStreak = lane === this.live ? this.liveStreak + 1 : 0
    this.sentMessages++
    this.sentBytes += sizeBytes
    flight.sentMs = this.nowMs()
    return flight
  }

  /** Brings the cursor to where everything before is settled. */
  commit(): void {
    const { acked } = this
    const { log, documents } = this.parts
    if (this.settings.order === 'live-first') {
      const value = encodeOutstanding({ ...this.outstanding, live: this.live.acked })
      documents.put([{ kind: BRIDGE_KIND, key: this.cursor, value }])
    }
    if (acked <= this.committed) return
    this.committed = acked
    log.state.cursors.commit(this.cursor, { kind: 'stream', next: asPosition(acked) })
  }

  /** Goes on from somewhere else, also back; durable when it resolves. */
  async seek(to: Start): Promise<number> {
    const { log, documents } = this.parts
    await documents.putNow([{ kind: BRIDGE_KIND, key: this.cursor, value: undefined }])
    const { place } = await log.state.cursors.seek(this.cursor, to)
    const next = place.kind === 'stream' ? place.next : 0
    this.committed = next
    this.outstanding = nothingBefore(next)
    this.live.reset(next)
    this.backfill.reset(0, 0)
    for (const batcher of this.batchers.values()) batcher.reset()
    this.preparedLane = undefined
    if (this.isAttached) this.attach()
    this.parts.wake()
    return next
  }

  /** Does what is asked for when the oldest record that is not settled is older than max_lag. */
  async keepMaxLag(): Promise<void> {
    const { ageMs, onLag } = this.settings.maxLag
    if (ageMs === undefined) return
    if (onLag === 'gap') await this.leaveOut(ageMs)
    else await this.refuseNew(ageMs)
  }

  /** The stream takes no more until the forward has come back to its bound. */
  private async refuseNew(ageMs: number): Promise<void> {
    const { log, logger } = this.parts
    const { stream } = this.settings
    const lag = await log.state.cursors.lag(this.cursor)
    const isOver = this.lagRecords > 0 && lag.ageMs > ageMs
    if (isOver && !log.full.has(stream)) {
      this.hasFilled = true
      log.setFull(stream, `the forward ${this.cursor} lags more than its max_lag`)
      logger.warn({ cursor: this.cursor, stream }, 'a forward lags too much: its stream is full')
    } else if (!isOver && this.hasFilled) {
      this.hasFilled = false
      log.setFull(stream, undefined)
      logger.info({ cursor: this.cursor, stream }, 'the stream takes new messages again')
    }
  }

  /** What is in flight stays: it may be there already. The rest is left out, with a gap. */
  private async leaveOut(ageMs: number): Promise<void> {
    if (this.lagRecords === 0) return
    const { log, clock, logger } = this.parts
    const { stream } = this.settings
    const oldest: Start = { kind: 'time', timeMs: clock.now() - ageMs }
    const until = await log.locate(stream, oldest)
    const pieces = this.before(until)
    const records = pieces.reduce((sum, { first, end }) => sum + end - first, 0)
    if (records === 0) return
    const lag = await log.state.cursors.lag(this.cursor)
    const shareBytes = lag.records === 0 ? 0 : lag.sizeBytes / lag.records
    await log.state.gaps.add(
      pieces.map(({ first, end }) => ({
        stream,
        cursor: this.cursor,
        first: asPosition(first),
        end: asPosition(end),
        records: end - first,
        sizeBytes: Math.round(shareBytes * (end - first)),
        reason: 'policy' as const,
      })),
    )
    this.passed(until)
    logger.warn(
      { cursor: this.cursor, records, until },
      'a forward lagged more than max_lag: its oldest records are not sent, which is a gap',
    )
    this.parts.wake()
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
    this.parts.progressed()
  }

  unreadable(thrown: unknown): void {
    this.trouble = `the log cannot be read: ${thrown instanceof Error ? thrown.message : thrown}`
    this.unreadableUntilMs = this.nowMs() + UNREADABLE_MS
    const { logger } = this.parts
    logger.error({ cursor: this.cursor, reason: this.trouble }, 'a forward waits')
  }

  refused(flight: Flight, reason: number): void {
    if (this.parts.refused(this, reason) === 'again') return
    this.notes.refused(flight)
  }

  /** The lane that is asked first, and the other one. */
  private lanes(): readonly [Lane, Lane | undefined] {
    this.settleRanges()
    if (this.outstanding.ranges.size === 0) return [this.live, undefined]
    this.nextRange()
    const turn = this.liveStreak >= BACKFILL_TURN - 1
    return turn ? [this.backfill, this.live] : [this.live, this.backfill]
  }

  private inflightOf(lane: Lane): number {
    return lane.inflight - (this.batchers.get(lane)?.unsent ?? 0)
  }

  private prepareOf(lane: Lane, connection: UplinkConnection): boolean {
    const { window, batch } = this.settings
    const isHistorical = lane === this.backfill
    // Half of the window stays free for what is live.
    const most = isHistorical ? Math.max(1, window >> 1) : window
    if (this.inflight >= window || this.inflightOf(lane) >= most) return false
    const isReady = batch === undefined ? this.single(lane, connection) : this.batch(lane)
    if (isReady) this.preparedLane = lane
    return isReady
  }

  private single(lane: Lane, connection: UplinkConnection): boolean {
    for (;;) {
      const record = lane.peek()
      if (record === undefined) return false
      if (this.passes(lane, record)) continue
      const { message } = this
      message.topic = this.topics.of(record)
      message.qos = this.settings.qos
      message.retain = record.retain
      message.payload = this.payloadOf(record)
      message.properties = this.propertiesOf(record)
      message.extraEnd = 0
      if (connection.hasProperties) this.origin.single(message, record, lane === this.backfill)
      if (connection.sizeOf(message) > connection.packetBytesMax) {
        this.notes.pass(lane, record, 'policy')
        continue
      }
      this.preparedRecord = record
      this.preparedFlight = undefined
      this.preparedRecords = 1
      return true
    }
  }

  private payloadOf(record: LogRecord): Uint8Array {
    const { settings, gateway, log } = this.parts
    const { envelope: kind } = settings
    return kind === 'none' ? record.payload : envelope(kind, record, gateway, log.state.epoch)
  }

  private batch(lane: Lane): boolean {
    const unit = this.batcherOf(lane).peek(lane)
    if (unit?.payload === undefined) return false
    const { message } = this
    message.topic = this.topics.ofBatch()
    message.qos = this.settings.qos
    message.retain = false
    message.payload = unit.payload
    message.properties = NONE
    this.origin.batch(message, lane === this.backfill)
    this.preparedFlight = unit.flight
    this.preparedRecords = unit.records
    return true
  }

  /** Takes out of the lane what does not go up: what came from there, and what is too old. */
  private passes(lane: Lane, record: LogRecord): boolean {
    if (record.client === this.parts.ownClient) {
      lane.take(record)
      return true
    }
    if (record.payloadAt === record.propertiesAt) return false
    const at = expiryAt(record.properties)
    if (at < 0 || this.remainingS(record, at) > 0) return false
    this.notes.pass(lane, record, 'expired')
    return true
  }

  /** The publisher's properties, with what is left of the message's lifetime [MQTT-3.3.2-6]. */
  private propertiesOf(record: LogRecord): Uint8Array {
    if (record.payloadAt === record.propertiesAt) return NONE
    const { properties } = record
    const at = expiryAt(properties)
    if (at < 0) return properties
    const copy = Buffer.from(properties)
    copy.writeUInt32BE(Math.ceil(this.remainingS(record, at)), at)
    return copy
  }

  private remainingS(record: LogRecord, at: number): number {
    const { properties } = record
    const view = new DataView(properties.buffer, properties.byteOffset, properties.byteLength)
    const waitedMs = Math.max(0, this.parts.clock.now() - record.timeMs)
    return view.getUint32(at) - waitedMs / 1000
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

  /** B5: the live lane begins a window before the end, and the rest is an outage. */
  private leaveOutage(): void {
    const from = this.live.acked
    const { window, topics } = this.settings
    const begin = this.end - (topics === undefined ? window : window * NARROWED)
    if (begin > from) {
      this.outstanding.ranges.add(asPosition(from), asPosition(begin))
      this.live.reset(begin)
    }
    this.commit()
  }

  private nextRange(): void {
    const range = this.outstanding.ranges.first
    if (range === undefined) return
    const { backfill } = this
    const isIn = backfill.acked >= range.first && backfill.end === range.end
    if (!isIn) backfill.reset(range.first, range.end)
  }

  /** What the backfill has settled is no longer outstanding. */
  private settleRanges(): void {
    const { ranges } = this.outstanding
    const range = ranges.first
    if (range === undefined || this.backfill.end !== range.end) return
    const { acked } = this.backfill
    if (acked > range.first) ranges.remove(range.first, asPosition(Math.min(acked, range.end)))
  }

  /** What is not handed out yet before `until`, as ranges. */
  private before(until: number): { first: number; end: number }[] {
    this.settleRanges()
    const pieces: { first: number; end: number }[] = []
    for (const range of this.outstanding.ranges) {
      const isCurrent = this.backfill.end === range.end
      const first = isCurrent ? Math.max(range.first, this.backfill.next) : range.first
      pieces.push({ first, end: Math.min(range.end, until) })
    }
    pieces.push({ first: this.live.next, end: until })
    return pieces.filter(({ first, end }) => first < end)
  }

  /** Nothing before `until` is sent any more: a gap says so. */
  private passed(until: number): void {
    if (this.live.next < until) this.live.skipTo(until)
    this.outstanding.ranges.remove(asPosition(0), asPosition(until))
    this.backfill.reset(0, 0)
  }

  private nowMs(): number {
    return this.parts.clock.monotonicUs() / 1000
  }
}

const NONE = new Uint8Array(0)

function startOf({ start }: ForwardSettings, nowMs: number): Start {
  return start.kind === 'back' ? { kind: 'time', timeMs: nowMs - start.agoMs } : start
}

/** A forward that was live-first and is strict now goes on at the first record that is left. */
function lowest(document: Uint8Array, cursor: number): number {
  const { ranges, live } = decodeOutstanding(document, cursor)
  return ranges.first?.first ?? live
}
