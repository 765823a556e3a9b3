/**
 * The retained messages that match one filter, a page at a time. The loop turn is never held for
 * long, however many there are: a page looks at 2,000 nodes of the index at most, which takes about
 * 0.3 ms, and goes on in a later turn.
 */
import type { LogRecord } from '../../log/log.ts'
import type { RetainedEntry } from './entry.ts'
import type { Fetched } from './payloads.ts'

const STEPS_MAX = 2000
const PAGE_RECORDS_MAX = 256
const PAGE_BYTES_MAX = 256 * 1024

/** What a walk asks of the store. */
export interface Walked {
  readonly index: {
    match(filter: string): Iterator<RetainedEntry | undefined>
  }
  readonly payloads: {
    fetch(entries: readonly RetainedEntry[]): Fetched | Promise<Fetched>
    /** These bytes were wanted: they may be kept in memory. */
    offer(entry: RetainedEntry, record: LogRecord): void
  }
  isCurrent(entry: RetainedEntry): boolean
  isExpired(entry: RetainedEntry): boolean
  drop(entry: RetainedEntry): void
  lost(entry: RetainedEntry): void
}

export class RetainedWalk {
  /** No page comes any more. */
  isDone = false
  private readonly store: Walked
  private readonly entries: Iterator<RetainedEntry | undefined>
  private readonly lastChange: number

  /** Of what was there up to `lastChange`. */
  constructor(store: Walked, filter: string, lastChange: number) {
    this.store = store
    this.entries = store.index.match(filter)
    this.lastChange = lastChange
  }

  /**
   * The next messages, in memory of their own; at once when they are at hand. A page may be empty
   * before the walk is done. Rejects with `storage`.
   */
  page(): readonly LogRecord[] | Promise<readonly LogRecord[]> {
    const entries = this.step()
    if (entries.length === 0) return []
    const fetched = this.store.payloads.fetch(entries)
    if (!(fetched instanceof Promise)) return this.usable(entries, fetched)
    return fetched.then((records) => this.usable(entries, records))
  }

  /** Walks to the end by itself and takes out what has expired. */
  dropExpired(): void {
    this.step()
    if (!this.isDone) setImmediate(() => this.dropExpired())
  }

  private step(): RetainedEntry[] {
    const page: RetainedEntry[] = []
    let bytes = 0
    for (let steps = 0; steps < STEPS_MAX; steps++) {
      const { done, value: entry } = this.entries.next()
      if (done === true) {
        this.isDone = true
        break
      }
      if (entry === undefined || entry.change > this.lastChange) continue
      if (this.store.isExpired(entry)) {
        this.store.drop(entry)
        continue
      }
      page.push(entry)
      bytes += entry.sizeBytes
      if (page.length >= PAGE_RECORDS_MAX || bytes >= PAGE_BYTES_MAX) break
    }
    return page
  }

  /** Without what changed while it was fetched: that came as a live message (R3). */
  private usable(entries: readonly RetainedEntry[], fetched: Fetched): readonly LogRecord[] {
    const page: LogRecord[] = []
    for (const [i, entry] of entries.entries()) {
      if (!this.store.isCurrent(entry)) continue
      const record = fetched[i]
      if (record === undefined) {
        this.store.lost(entry)
        continue
      }
      this.store.payloads.offer(entry, record)
      page.push(record)
    }
    return page
  }
}
