/**
 * One read of the log for many sessions that lag. After an outage thousands of them come back at
 * once, each with a few messages among all those of the others: read one by one, each looks at the
 * whole backlog (3,000 sessions, 60,000 records: more than a minute; together: 11 s). Here the
 * backlog is read once, and each record goes to those that ride along and want it.
 *
 * A rider is never waited for (D4): one whose client has no room leaves with its place, and reads
 * on by itself or with a later scan.
 */
import type { EventLog, LogRecord, Position, RecordPage } from '../../log/log.ts'
import { asPosition } from '../../log/log.ts'

const PAGE_RECORDS = 512
const PAGE_BYTES = 512 * 1024

export interface Rider {
  /** Whether it still wants to read the stream from `from` on. */
  rides(stream: string, from: Position): boolean
  /** A record that may be for it. */
  scanned(record: LogRecord): void
  /** All before `next` was given to it: whether it goes on riding. */
  scannedTo(stream: string, next: Position): boolean
  scanFailed(stream: string, thrown: unknown): void
}

export interface SharedScansParts<R extends Rider> {
  readonly log: EventLog
  /** Who subscribes to a topic. */
  ridersOf(topic: string): Iterable<R>
  flush(): void
}

export class SharedScans<R extends Rider> {
  private readonly parts: SharedScansParts<R>
  private readonly byStream = new Map<string, SharedScan<R>>()

  constructor(parts: SharedScansParts<R>) {
    this.parts = parts
  }

  /** Reads the stream for `rider` from `from` on, soon. */
  ride(rider: R, stream: string, from: Position): void {
    let scan = this.byStream.get(stream)
    if (scan === undefined) {
      scan = new SharedScan(stream, this.parts)
      this.byStream.set(stream, scan)
    }
    scan.join(rider, from)
  }
}

class SharedScan<R extends Rider> {
  private readonly stream: string
  private readonly parts: SharedScansParts<R>
  /** With the position that each wants next. */
  private riders = new Map<R, Position>()
  /** For the next scan: what they want is behind this one. */
  private waiting = new Map<R, Position>()
  private isRunning = false

  constructor(stream: string, parts: SharedScansParts<R>) {
    this.stream = stream
    this.parts = parts
  }

  join(rider: R, from: Position): void {
    this.waiting.set(rider, from)
    if (this.isRunning) return
    this.isRunning = true
    // Those that come back in the same moment ride together.
    setImmediate(() => this.start())
  }

  private start(): void {
    this.riders = this.waiting
    this.waiting = new Map()
    let first = Number.POSITIVE_INFINITY
    for (const from of this.riders.values()) first = Math.min(first, from)
    if (this.riders.size === 0) this.isRunning = false
    else this.read(asPosition(first))
  }

  private read(from: Position): void {
    const { stream } = this
    const query = { stream, from, recordsMax: PAGE_RECORDS, bytesMax: PAGE_BYTES }
    this.parts.log.read(query).then(
      (page) => this.deliver(page),
      (thrown: unknown) => this.fail(thrown),
    )
  }

  private deliver(page: RecordPage): void {
    for (const [rider, from] of this.riders) {
      if (!rider.rides(this.stream, from)) this.riders.delete(rider)
    }
    for (const record of page.records) {
      for (const rider of this.parts.ridersOf(record.topic)) {
        const from = this.riders.get(rider)
        if (from !== undefined && record.position >= from) rider.scanned(record)
      }
    }
    for (const [rider, from] of this.riders) {
      if (from >= page.next) continue
      if (rider.scannedTo(this.stream, page.next)) this.riders.set(rider, page.next)
      else this.riders.delete(rider)
    }
    this.parts.flush()
    if (this.riders.size === 0) this.start()
    else this.read(page.next)
  }

  private fail(thrown: unknown): void {
    const { riders } = this
    this.riders = new Map()
    for (const rider of riders.keys()) rider.scanFailed(this.stream, thrown)
    this.start()
  }
}
