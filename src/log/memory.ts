/**
 * The event log as plain arrays: the model that the SQLite log is compared with, and the log under
 * tests of the front end. Nothing is durable, nothing is evicted, nothing waits for a disk; of the
 * contract in log.ts it keeps L1 and L3, and what is appended is kept with the next flush.
 */

import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { SluiceError } from '../base/errors.ts'
import { withFallback } from './fallback.ts'
import type {
  AppendWaiter,
  ClientName,
  CommitReport,
  EventLog,
  LogRecord,
  NewRecord,
  Position,
  ReadQuery,
  RecordPage,
  Route,
  Start,
  StreamBounds,
  StreamSettings,
} from './log.ts'
import { MemoryStream } from './memory-stream.ts'
import { Routes } from './routes.ts'
import { memoryState } from './state/memory-state.ts'
import type { StateStore } from './state/store.ts'

interface Unsettled {
  readonly stream: MemoryStream
  readonly record: LogRecord
  readonly waiter: AppendWaiter
  readonly isKept: boolean
}

export class MemoryLog implements EventLog {
  readonly streams: readonly StreamSettings[]
  readonly boot = 1
  readonly failures = new Map<string, string>()
  readonly full = new Map<string, string>()
  readonly state: StateStore
  private readonly byName: ReadonlyMap<string, MemoryStream>
  private readonly routes: Routes
  private readonly clock: Clock
  private readonly followers = new Set<(records: readonly LogRecord[]) => void>()
  private readonly commitListeners: ((report: CommitReport) => void)[] = []
  private readonly failureListeners: ((stream: string, reason: string) => void)[] = []
  private readonly fullListeners: ((stream: string, reason: string | undefined) => void)[] = []
  private unsettled: Unsettled[] = []
  private flushDue = false

  constructor(configured: readonly StreamSettings[], clock: Clock) {
    const streams = withFallback(configured)
    this.streams = streams
    this.clock = clock
    this.byName = new Map(streams.map((settings) => [settings.name, new MemoryStream(settings)]))
    this.routes = new Routes(streams)
    this.state = memoryState(this, clock)
  }

  get backlogBytes(): number {
    return this.unsettled.reduce(
      (sum, { record, isKept }) => (isKept ? sum + record.sizeBytes : sum),
      0,
    )
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

  append(added: NewRecord): LogRecord {
    const name = added.route.stream?.name
    assert(name !== undefined, `the topic ${added.route.topic} has a stream`)
    const stream = this.stream(name)
    const isKept = !this.full.has(name)
    const record = stream.append(added, this.boot, this.clock, isKept)
    if (!isKept) record.evict()
    this.unsettled.push({ stream, record, waiter: added.waiter, isKept })
    if (!this.flushDue) {
      this.flushDue = true
      setImmediate(() => this.flush())
    }
    return record
  }

  flush(): void {
    this.flushDue = false
    const settling = this.unsettled
    this.unsettled = []
    for (const stream of this.byName.values()) {
      const own = settling.filter((each) => each.stream === stream)
      if (own.length > 0) this.settle(stream.settings.name, own)
    }
  }

  follow(follower: (records: readonly LogRecord[]) => void): () => void {
    // A function of its own, so that one follower can follow twice.
    const entry = (records: readonly LogRecord[]): void => follower(records)
    this.followers.add(entry)
    return () => {
      this.followers.delete(entry)
    }
  }

  onCommit(listener: (report: CommitReport) => void): void {
    this.commitListeners.push(listener)
  }

  onFailure(listener: (stream: string, reason: string) => void): void {
    this.failureListeners.push(listener)
  }

  onResume(): void {
    // The model has no disk that comes back: what `fail` stopped stays so.
  }

  setFull(stream: string, reason: string | undefined): void {
    this.stream(stream)
    if (reason === undefined) this.full.delete(stream)
    else this.full.set(stream, reason)
    for (const listener of this.fullListeners) listener(stream, reason)
  }

  onFull(listener: (stream: string, reason: string | undefined) => void): void {
    this.fullListeners.push(listener)
  }

  /** For tests: from now on the stream refuses what is appended and what was not settled yet. */
  fail(stream: string, reason: string): void {
    this.stream(stream)
    this.failures.set(stream, reason)
    for (const listener of this.failureListeners) listener(stream, reason)
  }

  async read(query: ReadQuery): Promise<RecordPage> {
    return this.stream(query.stream).read(query)
  }

  async locate(stream: string, start: Start): Promise<Position> {
    return this.stream(stream).locate(start)
  }

  async bounds(stream: string): Promise<StreamBounds> {
    return this.stream(stream).bounds()
  }

  recent(stream: string, position: Position): LogRecord | undefined {
    return this.stream(stream).kept[position]
  }

  async close(): Promise<void> {
    this.flush()
    await this.state.close()
  }

  /** L3: waiters in append order, then followers. */
  private settle(stream: string, settling: readonly Unsettled[]): void {
    if (this.failures.has(stream)) {
      for (const { waiter, record, isKept } of settling) {
        waiter.settled(isKept ? 'refused' : 'full', record)
      }
      return
    }
    const records = settling.flatMap(({ record, isKept }) => (isKept ? [record] : []))
    this.stream(stream).kept.push(...records)
    for (const { waiter, record, isKept } of settling) {
      waiter.settled(isKept ? 'kept' : 'full', record)
    }
    if (records.length === 0) return
    for (const follower of [...this.followers]) follower(records)
    const sizeBytes = records.reduce((sum, record) => sum + record.sizeBytes, 0)
    const report = { stream, records: records.length, sizeBytes, durationMs: 0 }
    for (const listener of this.commitListeners) listener(report)
  }

  private stream(name: string): MemoryStream {
    const stream = this.byName.get(name)
    if (stream === undefined) {
      throw new SluiceError('stream-unknown', `the log has no stream "${name}"`)
    }
    return stream
  }
}
