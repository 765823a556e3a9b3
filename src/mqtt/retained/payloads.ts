/**
 * The bytes of retained messages: some in memory, the rest fetched when they are wanted.
 *
 * A message that was just published is still in the log's tail; one that was written to the
 * documents is fetched from there, a page at a time; one that is neither is read from the log. So
 * a retained publication costs no copy on its way in, and memory has one small bound (8 MiB: all of
 * what most sites retain). What came first stays: a walk over more than fits would otherwise push
 * out everything, for nothing.
 */
import { SluiceError } from '../../base/errors.ts'
import type { EventLog, LogRecord } from '../../log/log.ts'
import { decodeRetained, RETAINED_KIND } from './document.ts'
import type { RetainedEntry } from './entry.ts'
import { copyOf } from './memory-record.ts'

export const CACHED_BYTES_MAX = 8 * 1024 * 1024
/** Of a cached record beside its bytes. */
const RECORD_COST_BYTES = 300

export type Fetched = readonly (LogRecord | undefined)[]

export class Payloads {
  private readonly log: EventLog
  private readonly bytesMax: number
  private bytes = 0
  private held: RetainedEntry[] = []
  /** What `hold` took since the last `trim`. */
  heldBytes = 0

  constructor(log: EventLog, bytesMax = CACHED_BYTES_MAX) {
    this.log = log
    this.bytesMax = bytesMax
  }

  /** Keeps the bytes in memory if there is room. */
  offer(entry: RetainedEntry, record: LogRecord): void {
    const cost = entry.sizeBytes + RECORD_COST_BYTES
    if (entry.cached !== undefined || this.bytes + cost > this.bytesMax) return
    entry.cached = record
    this.bytes += cost
  }

  /** Keeps the bytes in memory, also beyond the bound, until `trim`. */
  hold(entry: RetainedEntry, record: LogRecord): void {
    if (entry.cached !== undefined) return
    entry.cached = record
    this.bytes += entry.sizeBytes + RECORD_COST_BYTES
    this.held.push(entry)
    this.heldBytes += entry.sizeBytes + RECORD_COST_BYTES
  }

  /** Lets go of what is held beyond the bound. */
  trim(): void {
    for (const entry of this.held) if (this.bytes > this.bytesMax) this.release(entry)
    this.held = []
    this.heldBytes = 0
  }

  /** The entry is no longer in the index. */
  release(entry: RetainedEntry): void {
    if (entry.cached === undefined) return
    entry.cached = undefined
    this.bytes -= entry.sizeBytes + RECORD_COST_BYTES
  }

  /**
   * The records of `entries`, in memory of their own; undefined where there is none any more. Given
   * at once when all are at hand. Rejects with `storage`.
   */
  fetch(entries: readonly RetainedEntry[]): Fetched | Promise<Fetched> {
    const found = entries.map((entry) => this.atHand(entry))
    return found.includes(undefined) ? this.fetchRest(entries, found) : found
  }

  private atHand(entry: RetainedEntry): LogRecord | undefined {
    if (entry.cached !== undefined) return entry.cached
    if (entry.stored) return undefined
    const recent = this.log.recent(entry.stream, entry.position)
    if (recent === undefined || !recent.inMemory) return undefined
    return copyOf(recent)
  }

  private async fetchRest(
    entries: readonly RetainedEntry[],
    found: readonly (LogRecord | undefined)[],
  ): Promise<Fetched> {
    const stored = entries.filter((entry, i) => found[i] === undefined && entry.stored)
    const keys = stored.map(({ topic }) => topic)
    const values = await this.log.state.documents.get(RETAINED_KIND, keys)
    const byTopic = new Map(keys.map((key, i) => [key, values[i]]))
    const all = [...found]
    for (const [i, entry] of entries.entries()) {
      if (all[i] !== undefined) continue
      const value = byTopic.get(entry.topic)
      all[i] = value === undefined ? undefined : decodeRetained(entry.topic, value)
      all[i] ??= await this.readFromLog(entry)
    }
    return all
  }

  /** Undefined when retention, damage or a changed configuration took the record away. */
  private async readFromLog({ stream, position }: RetainedEntry): Promise<LogRecord | undefined> {
    try {
      const query = { stream, from: position, recordsMax: 1, bytesMax: 1 }
      const record = (await this.log.read(query)).records[0]
      return record?.position === position && record.retain ? copyOf(record) : undefined
    } catch (thrown) {
      if (thrown instanceof SluiceError && thrown.code === 'stream-unknown') return undefined
      throw thrown
    }
  }
}
