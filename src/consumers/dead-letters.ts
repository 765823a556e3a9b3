/**
 * Messages of a queue that were delivered too often go to another stream, with user properties that
 * say why, from where and when; and come back by `redrive`.
 *
 * Streams are separate files, so that no transaction spans a queue's progress and the dead letter.
 * It is effectively once all the same:
 *
 *   1. an intent is on disk, with the end of the dead-letter stream as it is now;
 *   2. the copy is appended and kept there;
 *   3. the progress, with the message in it, and the end of the intent are on disk in one write.
 *
 * A start that finds an intent looks for the copy from that end on: there, it does step 3; not
 * there, it takes the intent back, and the message is taken up where it was.
 */
import type { EventLog, LogRecord, Position } from '../log/log.ts'
import { asPosition } from '../log/log.ts'
import { appendTo } from './append-to.ts'
import type { QueueEntry } from './queue-entry.ts'
import type { Intent } from './queue-store.ts'
import { changedBlock, userPropertiesOf } from './user-properties.ts'

/** What a dead letter says of itself begins with this; so it is taken off on the way back. */
const PREFIX = 'dead-'
const PAGE_RECORDS = 256
const PAGE_BYTES = 1024 * 1024

/** What a redrive did. */
export interface Redriven {
  readonly records: number
  /** Why it ended before all were back; undefined when they are. */
  readonly stopped: string | undefined
}

export class DeadLetters {
  private readonly log: EventLog
  private readonly queue: string
  readonly stream: string

  constructor(log: EventLog, queue: string, stream: string) {
    this.log = log
    this.queue = queue
    this.stream = stream
  }

  /** The stream's end, for an intent. */
  end(): Promise<Position> {
    return this.log.locate(this.stream, { kind: 'latest' })
  }

  /** Resolves with those that are kept; the others are tried again by whoever asked. */
  async append(entries: readonly QueueEntry[]): Promise<readonly QueueEntry[]> {
    const appending = entries.map((entry) => {
      const { record } = entry
      const block = changedBlock(record.properties, PREFIX, this.said(entry))
      return appendTo(this.log, this.stream, record, block)
    })
    this.log.flush()
    const outcomes = await Promise.all(appending)
    return entries.filter((_, index) => outcomes[index] === 'kept')
  }

  /** The positions in the queue's stream of those intents whose copy is there. */
  async carriedOut(intents: readonly Intent[]): Promise<ReadonlySet<number>> {
    const wanted = new Set(intents.map(({ position }) => position))
    const found = new Set<number>()
    const from = Math.min(...intents.map(({ deadEnd }) => deadEnd))
    if (intents.length === 0) return found
    await this.scan(asPosition(from), await this.end(), async (record) => {
      const position = Number(this.ownProperties(record)?.get(`${PREFIX}position`) ?? Number.NaN)
      if (wanted.has(position)) found.add(position)
      return true
    })
    return found
  }

  /**
   * Puts this queue's dead letters of before now back at the end of its stream, as new messages:
   * those since the last time. A crash in between brings some of a page back twice.
   */
  async redrive(): Promise<Redriven> {
    const { cursors } = this.log.state
    const name = `redrive/${this.queue}`
    const cursor = await cursors.open(name, this.stream, 'stream', { kind: 'earliest' })
    const from = cursor.place.kind === 'stream' ? cursor.place.next : asPosition(0)
    let records = 0
    let stopped: string | undefined
    const append = async (record: LogRecord): Promise<boolean> => {
      if (this.ownProperties(record) === undefined) return true
      const block = changedBlock(record.properties, PREFIX, [])
      const appended = appendTo(this.log, this.queue, record, block)
      this.log.flush()
      const outcome = await appended
      if (outcome === 'kept') records++
      else stopped = `the stream "${this.queue}" takes no messages now (${outcome})`
      return outcome === 'kept'
    }
    await this.scan(from, await this.end(), append, (next) =>
      cursors.commitNow(name, { kind: 'stream', next }),
    )
    return { records, stopped }
  }

  /** Visits [from, end) until a visit says false; `passed` after each page, or where it ended. */
  private async scan(
    from: Position,
    end: Position,
    visit: (record: LogRecord) => Promise<boolean>,
    passed: (next: Position) => Promise<void> = async () => undefined,
  ): Promise<void> {
    let next = from
    while (next < end) {
      const page = await this.log.read({
        stream: this.stream,
        from: next,
        recordsMax: PAGE_RECORDS,
        bytesMax: PAGE_BYTES,
      })
      for (const record of page.records) {
        if (record.position >= end) break
        if (await visit(record)) continue
        await passed(record.position)
        return
      }
      next = page.next
      await passed(asPosition(Math.min(next, end)))
    }
  }

  /** What a dead letter of this queue says of itself; undefined for anything else. */
  private ownProperties(record: LogRecord): ReadonlyMap<string, string> | undefined {
    const properties = new Map(userPropertiesOf(record.properties))
    return properties.get(`${PREFIX}queue`) === this.queue ? properties : undefined
  }

  private said({ record, deliveries, state }: QueueEntry): readonly (readonly [string, string])[] {
    const reason = state.kind === 'dying' ? state.reason : 'ack-timeout'
    return [
      [`${PREFIX}reason`, reason],
      [`${PREFIX}queue`, this.queue],
      [`${PREFIX}stream`, record.stream],
      [`${PREFIX}partition`, String(record.partition)],
      [`${PREFIX}offset`, String(record.offset)],
      [`${PREFIX}position`, String(record.position)],
      [`${PREFIX}time`, String(Math.round(record.timeMs))],
      [`${PREFIX}first-delivered`, String(Math.round(deliveries.firstMs))],
      [`${PREFIX}last-delivered`, String(Math.round(deliveries.lastMs))],
      [`${PREFIX}deliveries`, String(deliveries.count)],
    ]
  }
}
