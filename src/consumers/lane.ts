/**
 * One partition within a group: who reads it, what waits for that member, what is out with it, and
 * up to where all is settled.
 *
 *    floor          first not sent          readNext (a position)
 *      │ out, some settled │ waiting in memory │ in the log
 */
import { Deque } from '../base/deque.ts'
import type { LogRecord, Partition, Position } from '../log/log.ts'
import { InOrder, type InOrderOwner } from './in-order.ts'

/** Waiting for one partition: enough for a member's window between two reads. */
const WAITING_RECORDS_MAX = 1024

export class Lane<M> {
  readonly partition: Partition
  owner: M | undefined
  /** Who gets it once what is out is settled. */
  heir: M | undefined
  /** The next position to load. */
  readNext: Position
  /** The next offset that is not settled. */
  floor: number
  /** All wanted offsets below it are settled, out or waiting: so it counts what is left out. */
  scanned = 0
  /** The partition's end when the group began. */
  readonly endAtStart: number
  /** Offsets below it were sent before, to whomever. */
  sentEnd = 0
  /** When the owner last settled something, or was sent something with nothing out. */
  progressUs = 0
  /** The last page that did not fit: the rest of it is not for this lane. */
  stoppedAt = 0
  readonly waiting = new Deque<LogRecord>()
  waitingBytes = 0
  out: InOrder
  /** Settled by a former owner behind something that was not; at most a window. */
  private readonly settledAhead = new Set<number>()
  private readonly bytesMax: number
  private readonly inOrderOwner: InOrderOwner

  constructor(
    partition: Partition,
    floor: number,
    readNext: Position,
    endAtStart: number,
    bytesMax: number,
    inOrderOwner: (lane: Lane<M>) => InOrderOwner,
  ) {
    this.partition = partition
    this.floor = floor
    this.sentEnd = floor
    this.readNext = readNext
    this.endAtStart = endAtStart
    this.bytesMax = bytesMax
    this.inOrderOwner = inOrderOwner(this)
    this.out = new InOrder(this.inOrderOwner)
  }

  get takesMore(): boolean {
    if (this.owner === undefined) return false
    return this.waiting.length < WAITING_RECORDS_MAX && this.waitingBytes < this.bytesMax
  }

  /** Whether more is to be loaded: half empty, so that pages are not read for a record each. */
  get wantsMore(): boolean {
    if (this.owner === undefined) return false
    return this.waiting.length < WAITING_RECORDS_MAX / 2 && this.waitingBytes < this.bytesMax / 2
  }

  push(record: LogRecord): void {
    this.waiting.push(record)
    this.waitingBytes += record.sizeBytes
  }

  shift(): void {
    const record = this.waiting.shift()
    if (record !== undefined) this.waitingBytes -= record.sizeBytes
  }

  /** All before `next` is settled, and what former owners settled from there on. */
  settledUpTo(next: number): void {
    this.floor = next
    while (this.settledAhead.size > 0 && this.settledAhead.delete(this.floor)) this.floor++
  }

  /** True when a former owner has settled this one: it is not sent again. */
  wasSettled(offset: number): boolean {
    return this.settledAhead.size > 0 && this.settledAhead.delete(offset)
  }

  /** Gives up what waits: it is read again from the first of it on. */
  unload(): void {
    const first = this.waiting.peek()
    if (first === undefined) return
    this.readNext = first.position
    this.scanned = 0
    this.waiting.clear()
    this.waitingBytes = 0
  }

  /**
   * The owner is gone: what it did not settle is read again. `told` hears of what it settles later
   * all the same.
   */
  takeBack(told: () => void): void {
    this.unload()
    const { first, ahead } = this.out.outstanding()
    for (const offset of ahead) this.settledAhead.add(offset)
    if (first !== undefined) {
      this.readNext = first
      this.scanned = 0
    }
    this.owner = undefined
    this.heir = undefined
    this.renew(told)
  }

  /** Goes on elsewhere, as if nothing had been sent. */
  moveTo(floor: number, readNext: Position): void {
    this.waiting.clear()
    this.waitingBytes = 0
    this.settledAhead.clear()
    this.renew(() => undefined)
    this.floor = floor
    this.sentEnd = floor
    this.scanned = 0
    this.readNext = readNext
  }

  private renew(told: () => void): void {
    this.out.abandon(told)
    this.out = new InOrder(this.inOrderOwner)
  }
}
