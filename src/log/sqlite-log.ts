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
import { entryBytes, type Placing, pack } from './pack.ts'
import { LogReads } from './reads.ts'
import { asPosition, HEAD_BYTES, LogRecord } from './record.ts'
import { Routes } from './routes.ts'
import { type Slab, type SlabOwner, Slabs } from './slab.ts'
import type { WriterReport, WriterThread } from './threads.ts'
import type { Batch, StreamEnd } from './writer/protocol.ts'

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
  readonly boot: number
  readonly slabBytes: number
  readonly tailBytes: number
  readonly clock: Clock
  readonly writer: WriterThread
  readonly lock: DataDirLock
}

type Follower = (records: readonly LogRecord[]) => void

export class SqliteLog implements EventLog, SlabOwner {
  readonly streams: readonly StreamSettings[]
  readonly boot: number
  readonly failures = new Map<string, string>()
  backlogBytes = 0

  private readonly clock: Clock
  private readonly writer: WriterThread
  private readonly lock: DataDirLock
  private readonly lanes: readonly Lane[]
  private readonly routes: Routes
  private readonly slabs: Slabs
  private readonly reads: LogReads
  private readonly placing: Placing
  private followers: readonly Follower[] = []
  private commitListeners: readonly ((report: CommitReport) => void)[] = []
  private failureListeners: readonly ((stream: string, reason: string) => void)[] = []
  private sequence = 0
  /** The last batch that the writer has read. */
  private sequenceRead = 0
  private flushScheduled = false
  private settling = false
  private closed = false

  constructor(parts: SqliteLogParts) {
    this.streams = parts.streams
    this.boot = parts.boot
    this.clock = parts.clock
    this.writer = parts.writer
    this.lock = parts.lock
    this.lanes = parts.streams.map(
      (settings, index) => new Lane(settings, index, present(parts.found[index], 'its end')),
    )
    this.routes = new Routes(parts.streams)
    this.slabs = new Slabs(parts.slabBytes, parts.tailBytes, this)
    this.reads = new LogReads(parts.dataDir, (name) => this.laneOf(name))
    this.placing = {
      streamIndex: 0,
      position: 0,
      partition: 0,
      offset: 0,
      timeMs: 0,
      monotonicUs: 0,
      boot: parts.boot,
    }
    this.writer.onReport = (report) => this.onReport(report)
  }

  route(topic: string): Route {
    return this.routes.route(topic)
  }

  client(name: string): ClientName {
    return this.routes.client(name)
  }

  append(record: NewRecord): LogRecord {
    const { route } = record
    const lane = this.lanes[route.streamIndex]
    assert(lane !== undefined, 'the route of an appended record has a stream')
    assert(!this.closed, 'nothing is appended to a closed log')
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

  read(query: ReadQuery): Promise<RecordPage> {
    return this.reads.read(query)
  }

  locate(stream: string, start: Start): Promise<Position> {
    return this.reads.locate(stream, start)
  }

  bounds(stream: string): Promise<StreamBounds> {
    return this.reads.bounds(stream)
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
    await this.reads.close()
    this.lock.release()
  }

  /** A slab may go when the writer has read it and all it holds is on disk (or refused). */
  isReleasable(slab: Slab): boolean {
    if (slab.lastBatch > this.sequenceRead) return false
    return this.lanes.every(
      (lane) => lane.failure !== undefined || lane.committedEnd >= (slab.ends[lane.index] ?? 0),
    )
  }

  released(slab: Slab): void {
    for (const lane of this.lanes) {
      const end = slab.ends[lane.index]
      if (end !== undefined) lane.tail.dropBefore(Math.min(end, lane.keptEnd))
    }
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
    )
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
    for (const { stream, records } of report.committed) this.committed(this.laneAt(stream), records)
    for (const { stream, reason } of report.halted) this.halt(this.laneAt(stream), reason)
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
      present(lane.waiters.shift(), 'its waiter').settled('kept', record)
    }
    for (const follower of this.followers) follower(records)
  }

  private halt(lane: Lane, reason: string): void {
    lane.failure = reason
    this.failures.set(lane.settings.name, reason)
    for (let at = lane.committedEnd; at < lane.keptEnd; at++) {
      this.backlogBytes -= lane.tail.at(at)?.sizeBytes ?? 0
    }
    if (lane.committedEnd < lane.keptEnd) lane.lostFrom = lane.committedEnd
    lane.committedEnd = lane.keptEnd
    this.refuse(lane)
    for (const listener of this.failureListeners) listener(lane.settings.name, reason)
  }

  private refuse(lane: Lane): void {
    for (const record of lane.takeBack()) {
      this.backlogBytes -= record.sizeBytes
      present(lane.waiters.shift(), 'its waiter').settled('refused', record)
      record.evict()
    }
  }

  /**
   * Settles what needs no commit: records of 'receive' streams, and of halted ones. Never nested:
   * a waiter that appends and flushes would otherwise be told before the ones in front of it.
   */
  private settleDue(): void {
    if (this.settling) return
    this.settling = true
    for (const lane of this.lanes) {
      while (lane.pendingCount > 0) {
        if (lane.failure !== undefined) this.refuse(lane)
        else if (lane.settings.ackAfter === 'receive') this.keep(lane, lane.pendingCount)
        else break
      }
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
