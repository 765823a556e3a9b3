/**
 * Everybody who follows a stream. The log is what they wait in: a reader reads a page, writes it as
 * events once, and gives the same bytes to all who stand at the same place with the same query.
 *
 * F1. Each follower gets the records of its query in position order, each once, from where it
 *     began; or an event that says which were removed.
 * F2. What waits for one follower's socket is bounded: past that it is left out until it has read,
 *     and goes on from its own place in the log. Nobody waits for it.
 * F3. Work is cut into rounds of one page, each followed by a rest: while publishers are at work,
 *     of forty times its length.
 *
 * Readers of one query meet again: none reads past the place of the next one (`limitOf`), and when
 * two stand at the same place they become one.
 */
import type { ServerResponse } from 'node:http'
import type { Clock } from '../../base/clock.ts'
import { messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import {
  asPosition,
  type EventLog,
  type LogRecord,
  type Position,
  type RecordPage,
} from '../../log/log.ts'
import { Lane, type Reader } from './follow-lane.ts'
import { recordJson } from './record-json.ts'
import type { Narrowed } from './stream-query.ts'

const PAGE_RECORDS = 256
const PAGE_BYTES = 128 * 1024
/** What a round may write over all its followers: some milliseconds of the main thread. */
const ROUND_BYTES = 2 * 1024 * 1024
/** Unsent bytes of one follower beyond which it is left out, and one page more. */
const UNSENT_BYTES_MAX = 256 * 1024
const HEARTBEAT_MS = 15_000
const HEARTBEAT = Buffer.from(':\n\n')
/**
 * A rest is this many times as long as its round: while publishers are at work, and otherwise. A
 * round is a fortieth and not a tenth: the far ends of the sockets often share the processor.
 */
const REST_BUSY = 40
const REST_IDLE = 1
const REST_US_MAX = 500_000
/** Between two commits nothing waits for the disk, and yet publishers are at work. */
const BUSY_US = 50_000

export interface FollowersParts {
  readonly log: EventLog
  readonly clock: Clock
  readonly logger: Logger
}

export class Followers {
  private readonly parts: FollowersParts
  private readonly lanes = new Map<string, Lane>()
  private readonly all = new Set<ServerResponse>()
  private unfollow: (() => void) | undefined
  private heartbeat: NodeJS.Timeout | undefined
  private keptAtUs = Number.NEGATIVE_INFINITY
  private running = false
  private closed = false

  constructor(parts: FollowersParts) {
    this.parts = parts
  }

  get size(): number {
    return this.all.size
  }

  /** Sends from `from` on until the client leaves. */
  add(query: Narrowed, from: Position, client: ServerResponse): void {
    if (this.closed || client.destroyed) {
      client.end()
      return
    }
    this.all.add(client)
    this.begin()
    const lane = this.laneOf(query)
    client.once('close', () => this.remove(lane, client))
    lane.join(client, from, false)
    this.wake()
  }

  close(): void {
    this.closed = true
    for (const client of this.all) client.end()
  }

  private begin(): void {
    this.unfollow ??= this.parts.log.follow((records) => this.kept(records))
    this.heartbeat ??= setInterval(() => this.beat(), HEARTBEAT_MS)
  }

  private remove(lane: Lane, client: ServerResponse): void {
    this.all.delete(client)
    lane.leave(client)
    if (lane.isEmpty) this.lanes.delete(lane.key)
    if (this.all.size > 0) return
    this.unfollow?.()
    clearInterval(this.heartbeat)
    this.unfollow = undefined
    this.heartbeat = undefined
  }

  private laneOf(query: Narrowed): Lane {
    const key = JSON.stringify([query.stream, query.partition, query.filters])
    const known = this.lanes.get(key)
    if (known !== undefined) return known
    const lane = new Lane(key, query)
    this.lanes.set(key, lane)
    return lane
  }

  private kept(records: readonly LogRecord[]): void {
    this.keptAtUs = this.parts.clock.monotonicUs()
    const stream = records[0]?.stream
    for (const lane of this.lanes.values()) if (lane.query.stream === stream) lane.grown()
    this.wake()
  }

  /** Those with something unsent need no sign of life. */
  private beat(): void {
    for (const client of this.all) if (client.writableLength === 0) client.write(HEARTBEAT)
  }

  private wake(): void {
    if (this.running) return
    this.running = true
    this.rest(0)
  }

  private rest(us: number): void {
    const round = (): void => void this.round()
    if (us < 1000) setImmediate(round)
    else setTimeout(round, Math.min(us, REST_US_MAX) / 1000)
  }

  private isBusy(): boolean {
    const { log, clock } = this.parts
    return log.backlogBytes > 0 || clock.monotonicUs() - this.keptAtUs < BUSY_US
  }

  /** One page of one reader; then the next lane has its turn. */
  private async round(): Promise<void> {
    const [lane, reader] = this.nextReader()
    if (lane === undefined || reader === undefined) {
      this.running = false
      return
    }
    const { clock } = this.parts
    const begunUs = clock.monotonicUs()
    const reading = this.read(lane, reader)
    let usedUs = clock.monotonicUs() - begunUs
    try {
      const read = await reading
      const readUs = clock.monotonicUs()
      this.send(lane, reader, read)
      usedUs += clock.monotonicUs() - readUs
    } catch (thrown) {
      this.failed(lane, reader, thrown)
    }
    this.rest(usedUs * (this.isBusy() ? REST_BUSY : REST_IDLE))
  }

  private nextReader(): readonly [Lane, Reader] | readonly [undefined, undefined] {
    for (const lane of this.lanes.values()) {
      const reader = lane.next()
      if (reader === undefined) continue
      // To the end of the line: a Map keeps the order in which keys came.
      this.lanes.delete(lane.key)
      this.lanes.set(lane.key, lane)
      return [lane, reader]
    }
    return [undefined, undefined]
  }

  private async read(lane: Lane, reader: Reader): Promise<PageRead> {
    const { log } = this.parts
    const from = reader.next
    const recordsMax = Math.min(PAGE_RECORDS, lane.limitOf(reader) - from)
    const growth = lane.growth
    const bytesMax = Math.min(PAGE_BYTES, Math.ceil(ROUND_BYTES / reader.clients.size))
    const page = await log.read({ ...lane.query, from, recordsMax, bytesMax })
    if (page.records[0]?.position === from || page.next === from) {
      return { page, first: from, growth }
    }
    // Either the filter left some out, or they are gone.
    const { first } = await log.bounds(lane.query.stream)
    return { page, first: first > from ? first : from, growth }
  }

  private send(lane: Lane, reader: Reader, { page, first, growth }: PageRead): void {
    const limit = lane.limitOf(reader)
    const from = reader.next
    if (first > from) this.write(lane, reader, gapEvent(lane.query.stream, from, first), first)
    const records = page.records.filter(({ position }) => position < limit)
    const next = page.next < limit ? page.next : asPosition(limit)
    if (records.length > 0) {
      this.write(lane, reader, Buffer.from(records.map(event).join('')), next)
    }
    lane.advance(
      reader,
      next > first ? next : first,
      page.next >= page.end && growth === lane.growth,
    )
  }

  /** A client that has too much unsent leaves the reader, and comes back when it has read (F2). */
  private write(lane: Lane, reader: Reader, chunk: Uint8Array, next: Position): void {
    for (const client of reader.clients) {
      client.write(chunk)
      if (client.writableLength <= UNSENT_BYTES_MAX) continue
      reader.clients.delete(client)
      client.once('drain', () => {
        if (client.destroyed) return
        lane.join(client, next, true)
        this.wake()
      })
    }
  }

  /** They come back by themselves, with the id of their last event, and are told why not. */
  private failed(lane: Lane, reader: Reader, thrown: unknown): void {
    const { stream } = lane.query
    const fields = { stream, followers: reader.clients.size, reason: messageOf(thrown) }
    this.parts.logger.warn(fields, 'a stream cannot be read: its HTTP followers are disconnected')
    for (const client of reader.clients) client.end()
    lane.drop(reader)
  }
}

interface PageRead {
  readonly page: RecordPage
  /** The first position that was still there. */
  readonly first: Position
  /** How often the lane had grown when the reading began. */
  readonly growth: number
}

function event(record: LogRecord): string {
  return `id: ${record.position}\ndata: ${recordJson(record)}\n\n`
}

function gapEvent(stream: string, first: Position, end: Position): Buffer {
  const data = JSON.stringify({ stream, first, end })
  return Buffer.from(`id: ${end - 1}\nevent: gap\ndata: ${data}\n\n`)
}
