/**
 * Brings the index to disk: which topics changed since the last write, and up to where each stream
 * is in the documents (R2). One write is under way at a time, of what changed before it began.
 *
 * Lazily, because the log has everything: a crash costs the reading of what came since. A topic
 * that changes ten times a second is written once an interval.
 */
import { SluiceError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import type { DocumentWrite, EventLog, LogRecord, Position } from '../../log/log.ts'
import { APPLIED_KIND, encodeApplied, encodeRetained, RETAINED_KIND } from './document.ts'
import type { RetainedEntry } from './entry.ts'
import type { Payloads } from './payloads.ts'
import type { TopicIndex } from './topic-index.ts'

/** How long a change may wait for its write. */
export const WRITE_INTERVAL_MS = 5000
/** Waiting changes that begin a write at once, so that their bytes still are in the log's tail. */
const CHANGED_TOPICS_MAX = 10_000
const CHANGED_BYTES_MAX = 4 * 1024 * 1024
/** One transaction of the state. */
const BATCH_TOPICS_MAX = 1000
const BATCH_BYTES_MAX = 1024 * 1024
/**
 * Without any change the place in a stream is written only after so many records: reading them at a
 * start takes a fraction of a second, and a site that retains nothing shall not write for it.
 */
const APPLIED_RECORDS_MAX = 50_000

export class DocumentWriter {
  private readonly log: EventLog
  private readonly logger: Logger
  private readonly index: TopicIndex<RetainedEntry>
  private readonly payloads: Payloads
  private changes = new Set<string>()
  private changedBytes = 0
  /** Behind the last kept record of each stream, and where the documents say that is. */
  private readonly ends = new Map<string, Position>()
  private readonly applied = new Map<string, Position>()
  private writing: Promise<void> | undefined
  private timer: NodeJS.Timeout | undefined
  private closed = false
  /** At a start the streams are not read to their ends yet: nobody may say that they are. */
  private restoring = true

  constructor(log: EventLog, logger: Logger, index: TopicIndex<RetainedEntry>, payloads: Payloads) {
    this.log = log
    this.logger = logger
    this.index = index
    this.payloads = payloads
  }

  /** A change of this topic waits, so the documents may have it. */
  knows(topic: string): boolean {
    return this.changes.has(topic)
  }

  changed(entry: RetainedEntry): void {
    this.changes.add(entry.topic)
    this.changedBytes += entry.sizeBytes
    this.wake()
  }

  removed(entry: RetainedEntry): void {
    // What was never written need not be removed: set and cleared in turn costs no memory.
    if (!entry.documented && this.writing === undefined) this.changes.delete(entry.topic)
    else this.changes.add(entry.topic)
    this.wake()
  }

  /** All of the stream's records before `end` are in the index. */
  keptTo(stream: string, end: Position): void {
    this.ends.set(stream, end)
    if (!this.restoring && end - (this.applied.get(stream) ?? 0) >= APPLIED_RECORDS_MAX) {
      this.wake()
    }
  }

  /** A document that cannot be read: the next write removes it. */
  forget(topic: string): void {
    this.changes.add(topic)
  }

  /** What the documents say of a stream. */
  appliedTo(stream: string, position: Position): void {
    this.applied.set(stream, position)
  }

  /** The index has everything of the log, up to `ends` or what is kept since. */
  restored(ends: ReadonlyMap<string, Position>): Promise<void> {
    for (const [stream, end] of ends) {
      this.ends.set(stream, Math.max(end, this.ends.get(stream) ?? 0) as Position)
    }
    this.restoring = false
    return this.write()
  }

  /** Writes everything that waits; never rejects: what cannot be written is in the log. */
  async write(): Promise<void> {
    while (this.writing !== undefined) await this.writing
    this.writing = this.writeAll()
    await this.writing
    this.writing = undefined
    if (this.changes.size > 0 && !this.closed) this.wake()
  }

  async close(): Promise<void> {
    clearTimeout(this.timer)
    this.closed = true
    await this.write()
  }

  private wake(): void {
    if (this.closed || this.restoring) return
    const isMuch = this.changes.size >= CHANGED_TOPICS_MAX || this.changedBytes >= CHANGED_BYTES_MAX
    if (isMuch && this.writing === undefined) {
      clearTimeout(this.timer)
      this.timer = undefined
      void this.write()
      return
    }
    this.timer ??= setTimeout(() => {
      this.timer = undefined
      void this.write()
    }, WRITE_INTERVAL_MS).unref()
  }

  private async writeAll(): Promise<void> {
    const topics = [...this.changes]
    const ends = this.movedEnds()
    this.changes = new Set()
    this.changedBytes = 0
    let written = 0
    try {
      while (written < topics.length) written += await this.writeSome(topics, written)
      // Behind the last of them, so that a crash in between has the log read once more.
      await this.writeApplied(ends)
    } catch (thrown) {
      if (!(thrown instanceof SluiceError)) throw thrown
      // The state has told the operator; the next interval tries again.
      for (const topic of topics.slice(written)) this.changes.add(topic)
    }
  }

  /** One transaction; how many topics it took. */
  private async writeSome(topics: readonly string[], from: number): Promise<number> {
    const writes: DocumentWrite[] = []
    const entries: RetainedEntry[] = []
    let bytes = 0
    while (from + writes.length < topics.length && bytes < BATCH_BYTES_MAX) {
      if (writes.length >= BATCH_TOPICS_MAX) break
      const topic = topics[from + writes.length] ?? ''
      const entry = this.index.get(topic)
      const record = entry === undefined ? undefined : await this.recordOf(entry)
      const value = record === undefined ? undefined : encodeRetained(record)
      writes.push({ kind: RETAINED_KIND, key: topic, value })
      bytes += value?.length ?? 0
      if (entry !== undefined && value !== undefined) {
        entry.documented = true
        entries.push(entry)
      }
    }
    await this.log.state.documents.putNow(writes)
    for (const entry of entries) entry.stored = true
    return writes.length
  }

  private async recordOf(entry: RetainedEntry): Promise<LogRecord | undefined> {
    const fetched = this.payloads.fetch([entry])
    const [record] = fetched instanceof Promise ? await fetched : fetched
    if (record === undefined && this.index.get(entry.topic) === entry) {
      const { topic, stream, position } = entry
      this.logger.warn(
        { topic, stream, position },
        'a retained message left the log before it was written: it does not outlive this run',
      )
    }
    return record
  }

  private movedEnds(): readonly (readonly [string, Position])[] {
    if (this.restoring) return []
    return [...this.ends].filter(([stream, end]) => this.applied.get(stream) !== end)
  }

  private async writeApplied(ends: readonly (readonly [string, Position])[]): Promise<void> {
    if (ends.length === 0) return
    const writes = ends.map(
      ([stream, end]): DocumentWrite => ({
        kind: APPLIED_KIND,
        key: stream,
        value: encodeApplied(end),
      }),
    )
    await this.log.state.documents.putNow(writes)
    for (const [stream, end] of ends) this.applied.set(stream, end)
  }
}
