/**
 * A work queue: single messages to whoever has room, in turn, until each is settled.
 *
 * W1. A message is with one consumer at a time. It goes to another when its consumer leaves,
 *     refuses it or lets the ack timeout pass; a message that was acknowledged meanwhile does not.
 * W2. None is lost: it is settled when it is acknowledged, when its dead letter is kept, or when
 *     the ledger says that it is gone. A crash means messages delivered again.
 * W3. After `maxDeliveries` deliveries it goes to the dead letters, once (dead-letters.ts).
 * W4. What is loaded is bounded, by count and by the memory of its pages; priorities order what is
 *     loaded (waiting-line.ts says how), not what is behind it in the log.
 */
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { asPosition, type Cursor, type EventLog, type LogRecord } from '../log/log.ts'
import { DeadLetters, type Redriven } from './dead-letters.ts'
import { Feed, type FeedOwner } from './feed.ts'
import { GapTeller } from './gap-teller.ts'
import { HeldPages } from './held-pages.ts'
import type { Member } from './member.ts'
import type { MissedRange } from './missed.ts'
import { Progress, type Range, within } from './progress.ts'
import { type Deliveries, QueueEntry, type ReturnReason } from './queue-entry.ts'
import { type QueueJoining, QueueMember } from './queue-member.ts'
import type { QueueSettings } from './queue-settings.ts'
import { type Intent, QueueStore } from './queue-store.ts'
import { RecordProperties } from './record-properties.ts'
import type { StreamWatch } from './stream-watch.ts'
import { findUserProperty } from './user-properties.ts'
import { PRIORITY_DEFAULT, WaitingLine } from './waiting-line.ts'

const LOADED_RECORDS_MAX = 10_000
const LOADED_BYTES_MAX = 16 * 1024 * 1024
/** How often progress is written: it regresses by this much in a crash. */
const SAVE_US = 5_000_000
/** Dead letters that are made at a time. */
const DYING_BATCH = 64

const NEVER_DELIVERED: Deliveries = { count: 0, firstMs: 0, lastMs: 0 }
const NO_PROPERTIES: readonly (readonly [string, string])[] = []

export interface QueueParts {
  readonly log: EventLog
  readonly watch: StreamWatch
  readonly clock: Clock
  readonly logger?: Logger | undefined
}

export interface QueueInfo {
  readonly queue: string
  /** Messages that are not settled. */
  readonly depth: number
  /** Age of the oldest of them; 0 without one. */
  readonly oldestAgeMs: number
  /** With consumers now. */
  readonly inflight: number
  /** Since the start of the gateway. */
  readonly redeliveries: number
  readonly deadLetters: number
  readonly consumers: readonly { readonly clientId: string; readonly inflight: number }[]
}

export const queueCursor = (queue: string): string => `queue/${queue}`

export class Queue implements FeedOwner {
  readonly settings: QueueSettings
  private readonly parts: QueueParts
  private readonly cursor: string
  private readonly store: QueueStore
  private readonly dead: DeadLetters | undefined
  private readonly gapTeller: GapTeller
  private readonly properties: RecordProperties
  private readonly feed: Feed
  private readonly line = new WaitingLine<QueueEntry>()
  private readonly pages = new HeldPages()
  private readonly unseek: () => void
  private progress: Progress
  private counts: Map<number, Deliveries>
  private wasSettled: (position: number) => boolean
  /** All that is loaded, oldest first. */
  private entries = new Map<number, QueueEntry>()
  private members: QueueMember[] = []
  private turn = 0
  private dying: QueueEntry[] = []
  private burying: Promise<void> | undefined
  private end: number
  private redeliveries = 0
  private deadLetters = 0
  private savedUs = 0
  private dirty = false
  private failing = false
  private closed = false

  /** Goes on where it stood. Rejects with `stream-unknown` or `storage`. */
  static async open(parts: QueueParts, settings: QueueSettings): Promise<Queue> {
    const { log, clock } = parts
    const { name, deadLetter } = settings
    const earliest = { kind: 'earliest' } as const
    const cursor = await log.state.cursors.open(queueCursor(name), name, 'stream', earliest)
    const store = new QueueStore(log, name, clock)
    const { progress, counts } = await store.restore(cursor)
    const intents = await store.intents()
    const dead = deadLetter === undefined ? undefined : new DeadLetters(log, name, deadLetter)
    const carriedOut = (await dead?.carriedOut(intents)) ?? new Set<number>()
    const open = intents.filter(({ position }) => isOpen(progress, position))
    for (const { position, deliveries } of open) {
      if (carriedOut.has(position)) progress.settle(position)
      else counts.set(position, { ...(counts.get(position) ?? NEVER_DELIVERED), count: deliveries })
    }
    const end = await log.locate(name, { kind: 'latest' })
    const queue = new Queue(parts, settings, { progress, counts, end, store, dead })
    await queue.forget(intents)
    await queue.gapTeller.start()
    return queue
  }

  private constructor(parts: QueueParts, settings: QueueSettings, from: Opened) {
    const { log, watch, clock } = parts
    const { name: stream } = settings
    this.parts = parts
    this.settings = settings
    this.cursor = queueCursor(stream)
    this.store = from.store
    this.dead = from.dead
    this.progress = from.progress
    this.counts = from.counts
    this.end = from.end
    this.wasSettled = within(from.progress.ahead)
    this.savedUs = clock.monotonicUs()
    this.properties = new RecordProperties(stream)
    this.gapTeller = new GapTeller(
      parts,
      { cursor: this.cursor, stream },
      (range) => this.tellMissed(range),
      () => this.progress.floor,
    )
    this.unseek = watch.onSeek(this.cursor, (cursor) => this.sought(cursor))
    const feedParts = { log, watch, stream, filter: undefined, partition: undefined }
    this.feed = new Feed(feedParts, asPosition(from.progress.floor), this)
  }

  /** A consumer that joins again has changed how it subscribes. */
  join(joining: QueueJoining): void {
    const known = this.members.find((one) => one.joining.member === joining.member)
    if (known !== undefined) known.joining = joining
    else this.members.push(new QueueMember(joining))
    this.load()
    // Not at once: by then more is loaded, among which priorities can choose.
    setImmediate(() => this.pump())
  }

  /** What it had and did not settle is given to others at once. */
  left(member: Member): void {
    const index = this.members.findIndex(({ joining }) => joining.member === member)
    const [gone] = index < 0 ? [] : this.members.splice(index, 1)
    if (gone === undefined) return
    for (const entry of gone.out) this.giveBack(entry, 'consumer-left')
    this.pump()
  }

  roomy(): void {
    this.pump()
  }

  /** Called now and then: ack timeouts, progress, dead letters that did not get through. */
  tick(): void {
    const { clock } = this.parts
    const limitUs = clock.monotonicUs() - this.settings.ackTimeoutMs * 1000
    for (const { out } of this.members) {
      for (const entry of out) {
        // In the order in which they were sent: the rest is younger.
        if (entry.state.kind !== 'out' || entry.state.sentUs > limitUs) break
        this.giveBack(entry, 'ack-timeout')
      }
    }
    this.bury()
    if (this.failing) {
      this.failing = false
      this.feed.retry()
    }
    if (this.dirty && clock.monotonicUs() - this.savedUs >= SAVE_US) this.save()
    this.pump()
  }

  /** Puts dead letters back; rejects with `storage`. Undefined: the queue has no dead letters. */
  async redrive(): Promise<Redriven | undefined> {
    return this.dead?.redrive()
  }

  info(): QueueInfo {
    const { name: queue } = this.settings
    const end = Math.max(this.end, this.parts.watch.end(queue))
    const [oldest = this.feed.peek()] = [...this.entries.values()].slice(0, 1).map((e) => e.record)
    const ageMs = oldest === undefined ? 0 : this.parts.clock.now() - oldest.timeMs
    const consumers = this.members.map(({ joining, out }) => ({
      clientId: joining.member.clientId,
      inflight: out.size,
    }))
    return {
      queue,
      depth: Math.max(0, end - this.progress.floor - this.progress.aheadCount),
      oldestAgeMs: Math.max(0, ageMs),
      inflight: consumers.reduce((sum, { inflight }) => sum + inflight, 0),
      redeliveries: this.redeliveries,
      deadLetters: this.deadLetters,
      consumers,
    }
  }

  /** Progress is written; nothing is sent any more. */
  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    this.feed.stop()
    this.gapTeller.stop()
    this.unseek()
    await this.burying
    this.save()
  }

  ready(): void {
    this.load()
    this.pump()
  }

  /** What waits in a queue may wait for long: it is read into memory of its own. */
  live(_record: LogRecord): boolean {
    return false
  }

  missed(range: MissedRange): void {
    this.progress.settle(range.first, range.end)
    this.dirty = true
    if (!this.gapTeller.tells(range)) this.tellMissed(range)
  }

  failed(reason: string): void {
    this.failing = true
    this.parts.logger?.error({ queue: this.settings.name, reason }, 'a queue cannot read its log')
  }

  /** Loads as much as may be; nothing while nobody is there to take it. */
  private load(): void {
    if (this.members.length === 0 || this.closed) return
    while (this.entries.size < LOADED_RECORDS_MAX && this.pages.sizeBytes < LOADED_BYTES_MAX) {
      const record = this.feed.peek()
      if (record === undefined) return
      this.feed.shift()
      this.take(record)
    }
  }

  private take(record: LogRecord): void {
    const { position } = record
    if (position < this.progress.floor || this.wasSettled(position)) return
    const deliveries = this.counts.get(position) ?? NEVER_DELIVERED
    this.counts.delete(position)
    const sinceUs = this.parts.clock.monotonicUs()
    const entry = new QueueEntry(record, this.priorityOf(record), sinceUs, deliveries)
    this.entries.set(position, entry)
    this.pages.hold(record)
    if (deliveries.count < this.settings.maxDeliveries) this.line.push(entry)
    else this.die(entry, 'ack-timeout')
  }

  private priorityOf({ properties }: LogRecord): number {
    const { priority } = this.settings
    if (priority === undefined || properties.length === 0) return PRIORITY_DEFAULT
    const value = findUserProperty(properties, priority.name)
    return value !== undefined && /^\d$/.test(value) ? Number(value) : PRIORITY_DEFAULT
  }

  /** Gives messages to consumers with room, in turn, as long as there are both. */
  private pump(): void {
    // Half empty, so that what is given back does not read a page for each message.
    if (this.entries.size < LOADED_RECORDS_MAX / 2) this.load()
    let without = 0
    while (without < this.members.length && !this.closed) {
      if (this.line.peek() === undefined) this.load()
      this.turn = (this.turn + 1) % this.members.length
      const member = this.members[this.turn]
      const entry = this.line.peek()
      if (entry === undefined || member === undefined) return
      if (this.deliver(entry, member)) without = 0
      else without++
    }
  }

  private deliver(entry: QueueEntry, to: QueueMember): boolean {
    const { member, qos } = to.joining
    if (qos > 0 && !member.hasRoom) return false
    const { clock } = this.parts
    const nowMs = clock.now()
    const before = entry.deliveries
    const firstMs = before.count === 0 ? nowMs : before.firstMs
    entry.deliveries = { count: before.count + 1, firstMs, lastMs: nowMs }
    const state = { kind: 'out', to, sentUs: clock.monotonicUs() } as const
    entry.state = state
    this.line.shift(entry)
    to.out.add(entry)
    const isSent = member.send(entry.record, this.sending(entry, to.joining), (outcome) => {
      if (outcome === 'acked') this.acked(entry)
      else if (entry.state === state) this.giveBack(entry, 'refused')
    })
    if (isSent) {
      this.dirty = true
      if (before.count > 0) this.redeliveries++
      return true
    }
    if (entry.state !== state) return false
    to.out.delete(entry)
    entry.deliveries = before
    entry.state = { kind: 'waiting' }
    this.line.giveBack(entry)
    return false
  }

  private sending({ record, deliveries }: QueueEntry, joining: QueueJoining) {
    const { qos, withProperties, subscriptionIds } = joining
    const count = ['delivery-count', String(deliveries.count)] as const
    return {
      qos,
      dup: qos > 0 && deliveries.count > 1,
      retain: false,
      userProperties: withProperties ? [...this.properties.of(record), count] : NO_PROPERTIES,
      subscriptionIds,
    }
  }

  /** W1: also late, when it waits again or is with somebody else. */
  private acked(entry: QueueEntry): void {
    const { state } = entry
    if (state.kind === 'out') state.to.out.delete(entry)
    if (state.kind === 'out' || state.kind === 'waiting') this.finish(entry)
  }

  private finish(entry: QueueEntry): void {
    const { record } = entry
    entry.state = { kind: 'settled' }
    if (this.entries.get(record.position) !== entry) return
    this.entries.delete(record.position)
    this.pages.release(record)
    this.progress.settle(record.position)
    this.dirty = true
  }

  private giveBack(entry: QueueEntry, reason: ReturnReason): void {
    if (entry.state.kind === 'out') entry.state.to.out.delete(entry)
    if (this.entries.get(entry.record.position) !== entry) return
    if (entry.deliveries.count >= this.settings.maxDeliveries) {
      this.die(entry, reason)
      return
    }
    entry.state = { kind: 'waiting' }
    this.line.giveBack(entry)
  }

  private die(entry: QueueEntry, reason: ReturnReason): void {
    entry.state = { kind: 'dying', reason }
    this.dying.push(entry)
    // After this turn: those that die together are one write.
    setImmediate(() => this.bury())
  }

  private bury(): void {
    if (this.burying !== undefined || this.dying.length === 0 || this.closed) return
    const batch = this.dying.splice(0, DYING_BATCH)
    this.burying = this.buryAll(batch)
      .catch((thrown: unknown) => {
        const { name: queue } = this.settings
        this.parts.logger?.warn(
          { queue, reason: messageOf(thrown) },
          'messages that were delivered too often cannot be put away now; it is tried again',
        )
        return false
      })
      .then((isDone) => {
        this.burying = undefined
        this.dying.push(...batch.filter((entry) => entry.state.kind === 'dying'))
        if (isDone) this.bury()
        this.pump()
      })
  }

  /** True when all of them are put away. */
  private async buryAll(batch: readonly QueueEntry[]): Promise<boolean> {
    const { dead, store } = this
    const { documents } = this.parts.log.state
    if (dead === undefined) {
      await this.noteGone(batch)
      return true
    }
    const deadEnd = await dead.end()
    await documents.putNow(
      batch.map(({ record, deliveries }) =>
        store.intent({ position: record.position, deliveries: deliveries.count, deadEnd }),
      ),
    )
    const kept = await dead.append(batch)
    this.deadLetters += kept.length
    for (const entry of kept) this.finish(entry)
    const settled = kept.map(({ record }) => store.settled(record.position))
    await documents.putNow([this.stored(), ...settled])
    return kept.length === batch.length
  }

  /** Without dead letters the ledger says what nobody will get (G3). */
  private async noteGone(batch: readonly QueueEntry[]): Promise<void> {
    const { name: stream } = this.settings
    await this.parts.log.state.gaps.add(
      batch.map(({ record: { position: first, sizeBytes } }) => {
        const end = asPosition(first + 1)
        return { stream, cursor: this.cursor, first, end, records: 1, sizeBytes, reason: 'policy' }
      }),
    )
    for (const entry of batch) this.finish(entry)
  }

  private stored() {
    return this.store.progress(this.progress, this.entries.values(), this.counts)
  }

  private save(): void {
    this.dirty = false
    this.savedUs = this.parts.clock.monotonicUs()
    const { cursors, documents } = this.parts.log.state
    if (cursors.get(this.cursor) !== undefined) {
      cursors.commit(this.cursor, { kind: 'stream', next: asPosition(this.progress.floor) })
    }
    documents.put([this.stored()])
  }

  private async forget(intents: readonly Intent[]): Promise<void> {
    if (intents.length === 0) return
    const settled = intents.map(({ position }) => this.store.settled(position))
    await this.parts.log.state.documents.putNow([this.stored(), ...settled])
  }

  private sought({ place }: Cursor): void {
    if (place.kind !== 'stream') return
    for (const member of this.members) member.out.clear()
    this.line.clear()
    this.pages.clear()
    this.entries = new Map()
    this.counts = new Map()
    this.dying = []
    this.progress = new Progress(place.next)
    this.wasSettled = () => false
    this.parts.log.state.documents.put([this.stored()])
    this.feed.moveTo(place.next)
  }

  private tellMissed(range: MissedRange): void {
    for (const { joining } of this.members) joining.onGap(range)
  }
}

interface Opened {
  readonly progress: Progress
  readonly counts: Map<number, Deliveries>
  readonly end: number
  readonly store: QueueStore
  readonly dead: DeadLetters | undefined
}

function isOpen(progress: Progress, position: number): boolean {
  const ranges: readonly Range[] = progress.ahead
  return position >= progress.floor && !within(ranges)(position)
}
