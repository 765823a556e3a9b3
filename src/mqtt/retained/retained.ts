/**
 * Retained messages [MQTT-3.3.1-5]: the last one of each topic, for subscribers to come. They
 * derive from the log: what is kept with the retain flag takes the place of what its topic had, an
 * empty one clears it. Copies of them are documents of the state, which outlive their segments.
 *
 * R1. A message is retained once the log has kept it, never before.
 * R2. Documents are written lazily, and behind them up to where each stream is in them. After a
 *     crash the log is read from there on, which ends in the same state however often it is done.
 * R3. A subscription gets each topic's message at most once, in the form that it had when the
 *     subscription began; a change after that reaches it as a live message.
 * R4. Bytes in memory are bounded (payloads.ts), entries by `countMax`.
 */
import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/logger.ts'
import type { EventLog, LogRecord, Position } from '../../log/log.ts'
import { DocumentWriter } from './document-writer.ts'
import { entryOf, isExpired, type RetainedEntry } from './entry.ts'
import { copyOf } from './memory-record.ts'
import { Payloads } from './payloads.ts'
import { restore } from './restore.ts'
import { TopicIndex } from './topic-index.ts'
import { RetainedWalk } from './walk.ts'

export interface RetainedParts {
  readonly log: EventLog
  readonly clock: Clock
  readonly logger: Logger
  /** Topics that may have a retained message. */
  readonly countMax: number
  /** Is told how many there are. */
  readonly stats: { retained: number }
  /** In memory; CACHED_BYTES_MAX without it. */
  readonly cachedBytesMax?: number
}

/** A full index is looked through for expired messages this often at most. */
const SWEEP_INTERVAL_MS = 60_000

export class Retained {
  readonly index = new TopicIndex<RetainedEntry>()
  readonly payloads: Payloads
  private readonly parts: RetainedParts
  private readonly documents: DocumentWriter
  private readonly unfollow: () => void
  private changes = 0
  /** Topics that changed while the log is still being read at a start: what is read is older. */
  private overtaken: Set<string> | undefined = new Set()
  private lastSweepMs = -SWEEP_INTERVAL_MS

  constructor(parts: RetainedParts) {
    this.parts = parts
    this.payloads = new Payloads(parts.log, parts.cachedBytesMax)
    this.documents = new DocumentWriter(parts.log, parts.logger, this.index, this.payloads)
    this.unfollow = parts.log.follow((records) => this.kept(records))
  }

  get count(): number {
    return this.index.size
  }

  /**
   * Loads the documents and reads the log from where they end (R2). Resolves when both are done,
   * or, when much of the log is to be read, with the rest going on by itself.
   */
  async start(): Promise<void> {
    const restored = await restore(this.parts, this.documents, this)
    const done = restored.rest.then(() => {
      this.overtaken = undefined
    })
    if (!restored.goesOn) await done
  }

  /**
   * Whether a message of this topic would be retained. When not, it is the caller's to refuse it or
   * to take it without its flag, so that the log never says otherwise than what happened.
   */
  admits(topic: string): boolean {
    if (this.index.size < this.parts.countMax || this.index.get(topic) !== undefined) return true
    this.sweep()
    return false
  }

  /** What a new subscription gets: as of now, page by page (R3). */
  walk(filter: string): RetainedWalk {
    return new RetainedWalk(this, filter, this.changes)
  }

  /** At a start: a message of the documents, or one of the log that they may not have yet. */
  restored(record: LogRecord, from: 'documents' | 'log'): void {
    if (this.overtaken?.has(record.topic) === true) return
    this.apply(record, from === 'documents')
    const entry = from === 'log' ? this.index.get(record.topic) : undefined
    // It is in no tail, and written soon: read again for that, it would take a fetch of its own.
    if (entry !== undefined) this.payloads.hold(entry, copyOf(record))
  }

  isCurrent(entry: RetainedEntry): boolean {
    return this.index.get(entry.topic) === entry
  }

  isExpired(entry: RetainedEntry): boolean {
    return isExpired(entry, this.parts.clock)
  }

  /** Takes an entry out that has expired or whose message is gone. */
  drop(entry: RetainedEntry): void {
    if (this.isCurrent(entry)) this.clear(entry.topic, entry)
  }

  lost(entry: RetainedEntry): void {
    if (!this.isCurrent(entry)) return
    const { topic, stream, position } = entry
    this.parts.logger.warn(
      { topic, stream, position },
      'a retained message is in the documents no more, nor in the log: it is forgotten',
    )
    this.drop(entry)
  }

  /** Writes what the documents do not have yet. */
  async close(): Promise<void> {
    this.unfollow()
    await this.documents.close()
  }

  private kept(records: readonly LogRecord[]): void {
    for (const record of records) {
      if (!record.retain) continue
      this.overtaken?.add(record.topic)
      this.apply(record, false)
    }
    const last = records.at(-1)
    if (last !== undefined) this.documents.keptTo(last.stream, (last.position + 1) as Position)
  }

  private apply(record: LogRecord, isDocument: boolean): void {
    const { topic } = record
    const before = this.index.get(topic)
    if (record.payloadAt === record.payloadEnd) {
      // Zero bytes clear what is there and are not retained themselves [MQTT-3.3.1-10, -11].
      if (before !== undefined) this.clear(topic, before)
      return
    }
    const entry = entryOf(record, ++this.changes, this.parts.log.boot)
    entry.stored = isDocument
    entry.documented = isDocument || before?.documented === true || this.documents.knows(topic)
    if (before !== undefined) this.payloads.release(before)
    this.index.set(topic, entry)
    this.parts.stats.retained = this.index.size
    if (isDocument) this.payloads.offer(entry, record)
    else this.documents.changed(entry)
  }

  private clear(topic: string, before: RetainedEntry): void {
    this.changes++
    this.payloads.release(before)
    this.index.delete(topic)
    this.parts.stats.retained = this.index.size
    this.documents.removed(before)
  }

  /** Makes room by what has expired; walks have their own pace. */
  private sweep(): void {
    const nowMs = this.parts.clock.monotonicUs() / 1000
    if (nowMs - this.lastSweepMs < SWEEP_INTERVAL_MS) return
    this.lastSweepMs = nowMs
    this.walk('#').dropExpired()
  }
}
