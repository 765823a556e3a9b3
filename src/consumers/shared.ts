/**
 * MQTT 5's shared subscription [MQTT5 4.8.2]: each message of a topic filter goes to one of its
 * members, in turn among those with room; MQTT 3.1.1 clients may take part.
 *
 * D1. A QoS 1 or 2 message that a member did not settle before it left goes to another.
 * D2. What waits is bounded. A stream whose messages no longer fit, or whose memory the tail took
 *     back, is read from the log instead; its live messages are ignored until that has caught up.
 *     QoS 0 and unlogged messages that no longer fit are dropped and counted.
 * D3. With a cursor for each stream (`durable`) it outlives its members and the gateway: each
 *     stands at the first message that is not settled.
 */
import { assert } from '../base/assert.ts'
import { Deque } from '../base/deque.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { asPosition, type EventLog, type LogRecord, type Position, type QoS } from '../log/log.ts'
import type { Member } from './member.ts'
import type { StreamWatch } from './stream-watch.ts'

/** References into the tail: the bytes are there once, whoever waits for them. */
const WAITING_RECORDS_MAX = 4096
/** Unlogged messages own their memory, which no tail bounds. */
const UNLOGGED_BYTES_MAX = 1024 * 1024
const PAGE_RECORDS = 512
const PAGE_BYTES = 256 * 1024

const NO_PROPERTIES: readonly (readonly [string, string])[] = []

export interface SharedOptions {
  readonly group: string
  readonly filter: string
  /** Its place is kept in cursors: members have persistent sessions. */
  readonly durable: boolean
  /** A QoS 0 or unlogged message found no room. */
  readonly onDropped: () => void
}

export interface SharedJoining {
  readonly member: Member
  readonly qos: QoS
  readonly retainAsPublished: boolean
  readonly subscriptionIds: readonly number[]
  /** What it may not have goes to another, and to nobody when none of them may. */
  readonly mayReceive?: (topic: string) => boolean
}

export interface SharedParts {
  readonly log: EventLog
  readonly watch: StreamWatch
  readonly logger?: Logger | undefined
}

interface Taking {
  joining: SharedJoining
  /** What it has and did not settle. */
  readonly out: Set<LogRecord>
}

export class Shared {
  readonly options: SharedOptions
  private readonly parts: SharedParts
  private members: Taking[] = []
  private turn = 0
  /** Given back by those who left: before all that is new. */
  private readonly again = new Deque<LogRecord>()
  private readonly waiting = new Deque<LogRecord>()
  private unloggedBytes = 0
  /** Where streams that fell behind are read next. */
  private readonly places = new Map<string, Position>()
  /** By stream, the positions that are taken up and not settled, in order; with cursors only. */
  private readonly unsettled = new Map<string, Set<number>>()
  /** Sent before; so told to whoever gets it next. */
  private readonly sentBefore = new WeakSet<LogRecord>()
  private reading = false
  private failing = false
  private closed = false
  private durable: boolean

  /** Goes on where its cursors stand. Rejects with `storage`. */
  static async open(parts: SharedParts, options: SharedOptions): Promise<Shared> {
    const shared = new Shared(parts, options)
    if (!options.durable) return shared
    for (const { name } of parts.log.streams) {
      // The place before the cursor is there: what is kept meanwhile is read, not offered twice.
      shared.unsettled.set(name, new Set())
      shared.places.set(name, asPosition(0))
    }
    for (const { name } of parts.log.streams) {
      const cursor = shared.cursorOf(name)
      const opened = await parts.log.state.cursors.open(cursor, name, 'stream', { kind: 'latest' })
      if (opened.place.kind === 'stream') shared.places.set(name, opened.place.next)
    }
    return shared
  }

  private constructor(parts: SharedParts, options: SharedOptions) {
    this.parts = parts
    this.options = options
    this.durable = options.durable
  }

  get isEmpty(): boolean {
    return this.members.length === 0
  }

  /** D3 from now on: a member has a persistent session. Rejects with `storage`. */
  async makeDurable(): Promise<void> {
    if (this.durable) return
    const { streams, state } = this.parts.log
    for (const { name } of streams) {
      await state.cursors.open(this.cursorOf(name), name, 'stream', { kind: 'latest' })
    }
    this.durable = true
    for (const { name } of streams) this.unsettled.set(name, new Set())
    const open = this.members.flatMap(({ out }) => [...out])
    for (const deque of [this.again, this.waiting]) {
      for (let i = 0; i < deque.length; i++) open.push(deque.at(i) as LogRecord)
    }
    open.sort((a, b) => a.position - b.position)
    for (const { stream, position } of open) this.unsettled.get(stream)?.add(position)
  }

  /** A member that joins again has changed how it subscribes. */
  join(joining: SharedJoining): void {
    const known = this.members.find((one) => one.joining.member === joining.member)
    if (known !== undefined) known.joining = joining
    else this.members.push({ joining, out: new Set() })
    this.pump()
  }

  /** D1. */
  left(member: Member): void {
    const index = this.members.findIndex(({ joining }) => joining.member === member)
    const [gone] = index < 0 ? [] : this.members.splice(index, 1)
    if (gone === undefined) return
    for (const record of gone.out) this.again.push(record)
    this.pump()
  }

  roomy(): void {
    this.pump()
  }

  /** A message that was just kept, or that no stream takes, and that the filter matches. */
  offer(record: LogRecord): void {
    if (this.closed || this.places.has(record.stream)) return
    if (this.again.length === 0 && this.waiting.length === 0 && this.send(record)) {
      this.takeUp(record)
      return
    }
    const isUnlogged = record.stream === ''
    const fits =
      this.waiting.length < WAITING_RECORDS_MAX &&
      (!isUnlogged || this.unloggedBytes + record.sizeBytes <= UNLOGGED_BYTES_MAX)
    if (fits) {
      this.enqueue(record)
    } else if (isUnlogged || record.qos === 0) {
      this.options.onDropped()
    } else {
      this.places.set(record.stream, record.position)
    }
  }

  /** Called now and then: cursors are committed, and what failed is tried again. */
  tick(): void {
    this.commit()
    if (!this.failing) return
    this.failing = false
    this.pump()
  }

  /** Cursors are committed; nothing is sent any more. */
  close(): void {
    this.commit()
    this.closed = true
    this.waiting.clear()
    this.again.clear()
  }

  private pump(): void {
    for (let next = this.again.peek(); next !== undefined; next = this.again.peek()) {
      if (!next.inMemory) {
        this.readAgain(next)
        return
      }
      if (!this.send(next)) return
      this.again.shift()
    }
    for (let next = this.waiting.peek(); next !== undefined; next = this.waiting.peek()) {
      if (!next.inMemory) this.fallBehind(next)
      else if (!this.send(next)) return
      else this.dequeue()
    }
    this.catchUp()
  }

  /** To the next member with room; false when nobody has any. */
  private send(record: LogRecord): boolean {
    let isWanted = this.members.length === 0
    for (let i = 0; i < this.members.length; i++) {
      this.turn = (this.turn + 1) % this.members.length
      const taking = this.members[this.turn]
      if (taking?.joining.mayReceive?.(record.topic) === false) continue
      isWanted = true
      if (taking !== undefined && this.sendTo(record, taking)) return true
    }
    if (!isWanted) this.unsettled.get(record.stream)?.delete(record.position)
    return !isWanted
  }

  private sendTo(record: LogRecord, { joining, out }: Taking): boolean {
    const { member, retainAsPublished, subscriptionIds } = joining
    // [MQTT-3.8.4-8]: at the lower of the two.
    const qos = Math.min(joining.qos, record.qos) as QoS
    if (qos > 0 && !member.hasRoom) return false
    const how = {
      qos,
      dup: qos > 0 && this.sentBefore.has(record),
      retain: retainAsPublished && record.retain,
      userProperties: NO_PROPERTIES,
      subscriptionIds,
    }
    if (qos > 0) out.add(record)
    const isSent = member.send(record, how, () => {
      out.delete(record)
      this.unsettled.get(record.stream)?.delete(record.position)
    })
    if (!isSent) out.delete(record)
    else if (qos > 0) this.sentBefore.add(record)
    return isSent
  }

  private takeUp(record: LogRecord): void {
    if (!this.durable || record.stream === '') return
    const isOpen = this.members.some(({ out }) => out.has(record))
    if (isOpen) this.unsettled.get(record.stream)?.add(record.position)
  }

  private enqueue(record: LogRecord): void {
    if (record.stream === '') this.unloggedBytes += record.sizeBytes
    this.unsettled.get(record.stream)?.add(record.position)
    this.waiting.push(record)
  }

  private dequeue(): LogRecord | undefined {
    const record = this.waiting.shift()
    if (record?.stream === '') this.unloggedBytes -= record.sizeBytes
    return record
  }

  /** D2: the record's stream is read from it on; what else waits goes on waiting. */
  private fallBehind({ stream, position }: LogRecord): void {
    for (let count = this.waiting.length; count > 0; count--) {
      const record = this.dequeue()
      if (record === undefined) break
      if (record.stream !== stream) this.enqueue(record)
      else this.unsettled.get(stream)?.delete(record.position)
    }
    const known = this.places.get(stream)
    if (known === undefined || known > position) this.places.set(stream, position)
  }

  /** Reads on once nothing waits: one page of one stream at a time, streams in turn. */
  private catchUp(): void {
    const [place] = this.places
    if (place === undefined || this.reading || this.failing || this.closed) return
    if (this.members.length === 0) return
    const [stream, from] = place
    const filters = [this.options.filter]
    this.read({ stream, from, filters, recordsMax: PAGE_RECORDS, bytesMax: PAGE_BYTES }, (page) => {
      for (const record of page.records) this.enqueue(record)
      this.places.delete(stream)
      // Behind the others, so that they take turns; at the end live messages are taken again.
      const end = Math.max(page.end, this.parts.watch.end(stream))
      if (page.next < end) this.places.set(stream, page.next)
    })
  }

  /** A message whose memory the tail took back while a member had it. */
  private readAgain({ stream, position: from }: LogRecord): void {
    if (this.reading || this.failing || this.closed) return
    this.read({ stream, from, recordsMax: 1, bytesMax: 1 }, (page) => {
      const old = this.again.shift()
      assert(old?.position === from, 'what is read again is the first that was given back')
      const [found] = page.records
      if (found?.position === from) {
        this.sentBefore.add(found)
        this.again.push(found)
      } else {
        // Retention has it: the ledger says so for the cursor, if there is one.
        this.unsettled.get(stream)?.delete(from)
      }
    })
  }

  private read(
    query: Parameters<EventLog['read']>[0],
    arrived: (page: Awaited<ReturnType<EventLog['read']>>) => void,
  ): void {
    this.reading = true
    this.parts.log.read(query).then(
      (page) => {
        this.reading = false
        if (this.closed) return
        arrived(page)
        this.pump()
      },
      (thrown: unknown) => {
        this.reading = false
        this.failing = true
        const { group, filter } = this.options
        this.parts.logger?.error(
          { group, filter, reason: messageOf(thrown) },
          'the log cannot be read for a shared subscription: it is tried again',
        )
      },
    )
  }

  /** D3. */
  private commit(): void {
    if (this.closed || !this.durable) return
    const { watch, log } = this.parts
    for (const [stream, positions] of this.unsettled) {
      const [first] = positions
      const next = first ?? this.places.get(stream) ?? watch.end(stream)
      const name = this.cursorOf(stream)
      const known = log.state.cursors.get(name)
      if (known?.place.kind !== 'stream' || known.place.next >= next) continue
      log.state.cursors.commit(name, { kind: 'stream', next: asPosition(next) })
    }
  }

  cursorOf(stream: string): string {
    return `share/${this.options.group}/${this.options.filter}/${stream}`
  }
}
