/**
 * The log on SQLite: the main thread's side.
 *
 * It owns positions and offsets (it knows the next ones, so that a record is whole when append
 * returns), the slabs, the tail, and the order in which waiters and followers are told. The writer
 * thread owns the files. See log.ts for L1-L5.
 *
 *   append ──▶ slab ──batch──▶ writer thread ──report──▶ waiters (in order), followers, listeners
 *
 * On the way of a record nothing is allocated but its LogRecord: no promise, no closure, no view.
 */
import { assert, present } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { SluiceError } from '../base/errors.ts'
import type { ClockWatch } from './clock/watch.ts'
import type { DataDirLock } from './data-dir.ts'
import { Lane } from './lane.ts'
import type {
  ClientName,
  CommitReport,
  EventLog,
  NewRecord,
  Position,
  ReadQuery,
  RecordPage,
  Route,
  Start,
  StreamBounds,
  StreamSettings,
} from './log.ts'
import type { OutOfService } from './out-of-service.ts'
import { entryBytes, type Placing, pack } from './pack.ts'
import { LogReads, onDiskEnd } from './reads.ts'
import { asOffset, asPosition, HEAD_BYTES, LogRecord } from './record.ts'
import type { Repairs } from './repair/repairs.ts'
import { LogSegments } from './retention/log-segments.ts'
import type { Segments } from './retention/segments.ts'
import { Routes } from './routes.ts'
import { type Slab, type SlabOwner, Slabs } from './slab.ts'
import { StallWatch } from './stall-watch.ts'
import type { StateStore } from './state/store.ts'
import type { WriterReport, WriterThread } from './threads.ts'
import type { Batch, StreamEnd, Suspended } from './writer/protocol.ts'

/**
 * A batch goes to the writer when it has this much, even within a turn. With one huge batch a turn
 * the two threads wait for each other and both cores idle half the time; a post costs a few
 * microseconds, so 64 records make it a small part of each.
 */
const BATCH_RECORDS_MAX = 64
const BATCH_BYTES_MAX = 64 * 1024

export interface SqliteLogParts {
  readonly dataDir: string
  readonly streams: readonly StreamSettings[]
  readonly found: readonly StreamEnd[]
  readonly outOfService: OutOfService
  readonly state: StateStore
  readonly slabBytes: number
  readonly tailBytes: number
  readonly clock: Clock
  readonly writer: WriterThread
  readonly lock: DataDirLock
  readonly repairs: Repairs
  readonly time: ClockWatch
  /** How long a disk may take, and how often that is looked at. */
  readonly stall?: { readonly stallMs: number; readonly intervalMs: number }
}

type Follower = (records: readonly LogRecord[]) => void

export class SqliteLog implements EventLog, SlabOwner {
  readonly streams: readonly StreamSettings[]
  readonly boot: number
  readonly state: StateStore
  readonly failures = new Map<string, string>()
  readonly full = new Map<string, string>()
  readonly segments: Segments
  readonly time: ClockWatch
  backlogBytes = 0

  private readonly clock: Clock
  private readonly writer: WriterThread
  private readonly lock: DataDirLock
  private readonly lanes: readonly Lane[]
  private readonly routes: Routes
  private readonly slabs: Slabs
  private readonly reads: LogReads
  private readonly placing: Placing
  private readonly stallWatch: StallWatch<Lane>
  private followers: readonly Follower[] = []
  private commitListeners: readonly ((report: CommitReport) => void)[] = []
  private failureListeners: readonly ((stream: string, reason: string) => void)[] = []
  private resumeListeners: readonly ((stream: string, waited: number) => void)[] = []
  private fullListeners: readonly ((stream: string, reason: string | undefined) => void)[] = []
  private sequence = 0
  /** The last batch that the writer has read. */
  private sequenceRead = 0
  private flushScheduled = false
  private settling = false
  private closed = false
  /** Reads that are not answered yet: one that heals writes to the state. */
  private readonly reading = new Set<Promise<unknown>>()

  constructor(parts: SqliteLogParts) {
    this.streams = parts.streams
    this.boot = parts.state.boot
    this.state = parts.state
    this.state.attach(this)
    this.clock = parts.clock
    this.time = parts.time
    this.writer = parts.writer
    this.lock = parts.lock
    this.lanes = parts.streams.map(
      (settings, index) => new Lane(settings, index, present(parts.found[index], 'its end')),
    )
    for (const [stream, trouble] of parts.outOfService) this.takeOut(this.laneOf(stream), trouble)
    this.routes = new Routes(parts.streams)
    this.slabs = new Slabs(parts.slabBytes, parts.tailBytes, this)
    this.reads = new LogReads(
      parts.dataDir,
      (name) => this.laneOf(name),
      parts.repairs,
      parts.state,
    )
    this.placing = {
      streamIndex: 0,
      position: 0,
      partition: 0,
      offset: 0,
      timeMs: 0,
      monotonicUs: 0,
      boot: parts.state.boot,
    }
    this.segments = new LogSegments({
      dataDir: parts.dataDir,
      streams: parts.streams.map(({ name }) => name),
      keeper: parts.writer,
      onDiskEnd: (stream) => onDiskEnd(this.laneAt(stream)),
      removed: () => this.reads.forgetRemoved(),
    })
    this.stallWatch = new StallWatch({
      lanes: this.lanes,
      clock: parts.clock,
      stalled: (lane, reason) => this.fail(lane, reason),
      resumed: (lane) => this.goOn(lane),
      ...parts.stall,
    })
    this.writer.onReport = (report) => this.onReport(report)
  }

  route(topic: string): Route {
    return this.routes.route(topic)
  }

  fallbackRoute(topic: string): Route {
    return this.routes.fallbackRoute(topic)
  }

  client(name: string): ClientName {
    return this.routes.client(name)
  }

  append(record: NewRecord): LogRecord {
    const { route } = record
    const lane = this.lanes[route.streamIndex]
    assert(lane !== undefined, 'the route of an appended record has a stream')
    if (this.closed) throw closedError()
    if (lane.isFull) return this.turnAway(lane, record)
    const sizeBytes = entryBytes(record)
    const slab = this.room(sizeBytes)
    if (slab.unposted === 0) this.readClock()
    const at = slab.used
    const made = this.place(lane, slab, at, record)
    pack(slab, at, sizeBytes, record, this.placing)
    slab.used = at + sizeBytes
    slab.unposted++
    slab.records++
    slab.ends[lane.index] = made.position + 1
    this.backlogBytes += made.sizeBytes
    lane.push(made, record.waiter)
    this.scheduleFlush()
    if (slab.unposted >= BATCH_RECORDS_MAX || slab.used - slab.posted >= BATCH_BYTES_MAX) {
      this.handOver(slab)
    }
    return made
  }

  flush(): void {
    this.handOver(this.slabs.current)
    this.settleDue()
  }

  follow(follower: Follower): () => void {
    // A function of its own, so that one follower can follow twice.
    const entry: Follower = (records) => follower(records)
    this.followers = [...this.followers, entry]
    return () => {
      this.followers = this.followers.filter((other) => other !== entry)
    }
  }

  onCommit(listener: (report: CommitReport) => void): void {
    this.commitListeners = [...this.commitListeners, listener]
  }

  onFailure(listener: (stream: string, reason: string) => void): void {
    this.failureListeners = [...this.failureListeners, listener]
  }

  onResume(listener: (stream: string, waited: number) => void): void {
    this.resumeListeners = [...this.resumeListeners, listener]
  }

  setFull(stream: string, reason: string | undefined): void {
    const lane = this.laneOf(stream)
    if (lane.trouble !== undefined) return
    lane.isFull = reason !== undefined
    if (reason === undefined) this.full.delete(stream)
    else this.full.set(stream, reason)
    for (const listener of this.fullListeners) listener(stream, reason)
  }

  onFull(listener: (stream: string, reason: string | undefined) => void): void {
    this.fullListeners = [...this.fullListeners, listener]
  }

  read(query: ReadQuery): Promise<RecordPage> {
    return this.noted(() => this.reads.read(query))
  }

  locate(stream: string, start: Start): Promise<Position> {
    return this.noted(() => this.reads.locate(stream, start))
  }

  bounds(stream: string): Promise<StreamBounds> {
    return this.noted(() => this.reads.bounds(stream))
  }

  recent(stream: string, position: Position): LogRecord | undefined {
    const lane = this.laneOf(stream)
    return position < lane.keptEnd ? lane.tail.at(position) : undefined
  }

  async close(): Promise<void> {
    if (this.closed) return
    this.flush()
    this.closed = true
    await this.writer.close()
    this.stallWatch.close()
    for (const lane of this.lanes) this.refuse(lane)
    // The keeper has ended: no repair begins any more, and what it did is noted before the state
    // goes.
    await Promise.allSettled(this.reading)
    await this.reads.close()
    await this.time.close()
    await this.state.close()
    this.lock.release()
  }

  private noted<T>(question: () => Promise<T>): Promise<T> {
    if (this.closed) return Promise.reject(closedError())
    const read = question()
    const done = () => this.reading.delete(read)
    this.reading.add(read)
    read.then(done, done)
    return read
  }

  /**
   * A slab may go when the writer has read it and all it holds is on disk. What waits on a
   * suspended stream has copies: the writer's own, and the tail's when the slab goes.
   */
  isReleasable(slab: Slab): boolean {
    if (slab.lastBatch > this.sequenceRead) return false
    return this.lanes.every(
      (lane) => lane.failure !== undefined || lane.committedEnd >= (slab.ends[lane.index] ?? 0),
    )
  }

  released(slab: Slab): void {
    for (const lane of this.lanes) lane.leaveMemory(slab.ends[lane.index] ?? 0)
  }

  /** The slab that the next entry goes to. */
  private room(sizeBytes: number): Slab {
    const slab = this.slabs.current
    if (slab.used + sizeBytes <= slab.bytes.length) return slab
    this.handOver(slab)
    return this.slabs.advance(sizeBytes)
  }

  /** One reading for a batch: its records arrived within a turn of the loop. */
  private readClock(): void {
    this.placing.timeMs = Math.round(this.clock.now())
    this.placing.monotonicUs = this.clock.monotonicUs()
  }

  /** Gives a record its place in the stream and in memory. */
  private place(lane: Lane, slab: Slab, at: number, record: NewRecord): LogRecord {
    const { route, client } = record
    const { placing } = this
    const partition = route.partition ?? lane.partitionFor(record)
    const position = asPosition(lane.tail.end)
    const offset = lane.takeOffset(partition)
    placing.streamIndex = lane.index
    placing.position = position
    placing.partition = partition
    placing.offset = offset
    const topicAt = at + HEAD_BYTES
    const propertiesAt = topicAt + route.topicBytes.length + client.bytes.length
    const payloadAt = propertiesAt + record.propertiesEnd - record.propertiesAt
    return new LogRecord(
      lane.settings.name,
      position,
      partition,
      offset,
      route.topic,
      client.name,
      record.qos,
      record.retain,
      placing.timeMs,
      placing.boot,
      placing.monotonicUs,
      slab.bytes,
      topicAt,
      propertiesAt,
      payloadAt,
      payloadAt + record.payloadEnd - record.payloadAt,
      record.packetId,
      record.will,
    )
  }

  /** L6: takes no place in the stream or in memory, and is told with the next settling. */
  private turnAway(lane: Lane, record: NewRecord): LogRecord {
    const partition = record.route.partition ?? lane.partitionFor(record)
    this.scheduleFlush()
    return lane.turnedAway.add(record, {
      position: lane.tail.end,
      partition,
      offset: asOffset(lane.nextOffsets[partition] ?? 0),
      timeMs: Math.round(this.clock.now()),
      boot: this.boot,
      monotonicUs: this.clock.monotonicUs(),
    })
  }

  /** Takes no records, and answers no question, for as long as the log is open. */
  private takeOut(lane: Lane, trouble: SluiceError): void {
    lane.trouble = trouble
    lane.isFull = true
    this.failures.set(lane.settings.name, trouble.message)
  }

  private scheduleFlush(): void {
    if (this.flushScheduled) return
    this.flushScheduled = true
    setImmediate(() => {
      this.flushScheduled = false
      if (!this.closed) this.flush()
    })
  }

  /** Posts what the writer has not got yet of this slab. */
  private handOver(slab: Slab): void {
    if (slab.unposted === 0) return
    const forget = this.slabs.takeForgotten()
    const batch: Batch = {
      kind: 'batch',
      sequence: ++this.sequence,
      slab: slab.id,
      from: slab.posted,
      to: slab.used,
      count: slab.unposted,
      ...(slab.shown ? undefined : { memory: slab.shared }),
      ...(forget && { forget }),
    }
    slab.shown = true
    slab.posted = slab.used
    slab.unposted = 0
    slab.lastBatch = this.sequence
    this.writer.post(batch)
  }

  private onReport(report: WriterReport): void {
    this.sequenceRead = report.sequence
    this.settling = true
    for (const stream of report.resumed) this.resume(this.laneAt(stream))
    for (const { stream, records } of report.committed) this.committed(this.laneAt(stream), records)
    for (const suspended of report.suspended) this.suspend(suspended)
    for (const done of report.committed) {
      const { records, sizeBytes, durationMs } = done
      const { name } = this.laneAt(done.stream).settings
      for (const listener of this.commitListeners) {
        listener({ stream: name, records, sizeBytes, durationMs })
      }
    }
    this.settling = false
    this.settleDue()
  }

  private committed(lane: Lane, count: number): void {
    for (let i = 0; i < count; i++) {
      const record = present(lane.tail.at(lane.committedEnd + i), 'a record that waits')
      this.backlogBytes -= record.sizeBytes
    }
    lane.committedEnd += count
    if (lane.settings.ackAfter !== 'receive') this.keep(lane, count)
  }

  /** L3: the waiters in order, then the followers. */
  private keep(lane: Lane, count: number): void {
    const records = lane.keep(count)
    for (const record of records) {
      if (lane.turnedAway.count > 0) lane.turnedAway.tellBefore(record.position)
      present(lane.waiters.shift(), 'its waiter').settled('kept', record)
    }
    lane.turnedAway.tellBefore(lane.keptEnd)
    for (const follower of this.followers) follower(records)
  }

  /** What waits goes on waiting; listeners hear of the change, not of every new wording. */
  private suspend({ stream, reason, lost }: Suspended): void {
    const lane = this.laneAt(stream)
    const isChange = lane.failure === undefined || (lost && !lane.lost)
    lane.failure = reason
    lane.lost = lost
    if (isChange) this.fail(lane, reason)
    else this.failures.set(lane.settings.name, reason)
  }

  private fail({ settings: { name } }: Lane, reason: string): void {
    this.failures.set(name, reason)
    for (const listener of this.failureListeners) listener(name, reason)
  }

  private resume(lane: Lane): void {
    lane.failure = undefined
    lane.lost = false
    this.goOn(lane)
  }

  private goOn(lane: Lane): void {
    const { name } = lane.settings
    this.failures.delete(name)
    const waited = lane.tail.end - lane.committedEnd
    for (const listener of this.resumeListeners) listener(name, waited)
  }

  /** Closed while suspended: what waits was not written. */
  private refuse(lane: Lane): void {
    for (const record of lane.takeBack()) {
      lane.turnedAway.tellBefore(record.position)
      this.backlogBytes -= record.sizeBytes
      present(lane.waiters.shift(), 'its waiter').settled('refused', record)
      record.evict()
    }
    lane.turnedAway.tellBefore(Number.POSITIVE_INFINITY)
  }

  /**
   * Settles what needs no commit: records of 'receive' streams, unless they are suspended. Never
   * nested: a waiter that appends and flushes would be told before the ones in front of it.
   */
  private settleDue(): void {
    if (this.settling) return
    this.settling = true
    for (const lane of this.lanes) {
      while (lane.pendingCount > 0) {
        if (lane.failure !== undefined || lane.settings.ackAfter !== 'receive') break
        this.keep(lane, lane.pendingCount)
      }
      if (lane.turnedAway.count > 0) lane.turnedAway.tellBefore(lane.keptEnd)
    }
    this.settling = false
  }

  private laneAt(index: number): Lane {
    return present(this.lanes[index], `stream ${index}`)
  }

  private laneOf(stream: string): Lane {
    const lane = this.lanes.find((other) => other.settings.name === stream)
    if (lane === undefined) {
      throw new SluiceError('stream-unknown', `this gateway has no stream "${stream}"`)
    }
    return lane
  }
}

function closedError(): SluiceError {
  return new SluiceError('log-closed', 'the log is closed: the gateway stops, or has stopped')
}
