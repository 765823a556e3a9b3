import { assert } from '../base/assert.ts'
import { Deque } from '../base/deque.ts'
import type { SluiceError } from '../base/errors.ts'
import type { AppendWaiter, NewRecord, StreamSettings } from './log.ts'
import { Partitioner } from './partition.ts'
import { copyOut } from './reads.ts'
import { asOffset, type LogRecord, type Offset, type Partition } from './record.ts'
import { Tail } from './tail.ts'
import { TurnedAwayRecords } from './turned-away.ts'
import type { StreamEnd } from './writer/protocol.ts'

/**
 * One stream as the main thread sees it.
 *
 *   tail.first ──── committedEnd ──── keptEnd ──── tail.end = the next position
 *      in memory       on disk          told         appended
 *
 * Under 'fsync' and 'write' committedEnd and keptEnd are one; under 'receive' records are told
 * before they are on disk, and nothing behind committedEnd leaves the tail. While the stream is
 * suspended neither end moves: what is appended waits, under any rule.
 */
export class Lane {
  readonly settings: StreamSettings
  readonly index: number
  readonly tail: Tail
  readonly waiters = new Deque<AppendWaiter>()
  committedEnd: number
  keptEnd: number
  readonly nextOffsets: number[]
  /** The offset after the last kept record, by partition. */
  readonly keptOffsets: number[]
  /** Why it is out of service until the next start; undefined while it is served. */
  trouble: SluiceError | undefined
  /** It takes no records until space returns (L6). */
  isFull = false
  readonly turnedAway = new TurnedAwayRecords()
  /** Why the stream is suspended; undefined while it is written. */
  failure: string | undefined
  /** While suspended: records that were told are missing on disk. */
  lost = false
  /** What waited when its slab was taken back stands in memory of its own, up to here. */
  private movedEnd = 0
  private readonly partitioner: Partitioner

  constructor(settings: StreamSettings, index: number, found: StreamEnd) {
    this.settings = settings
    this.index = index
    this.partitioner = new Partitioner(settings.key, settings.partitions)
    this.tail = new Tail(found.end)
    this.committedEnd = found.end
    this.keptEnd = found.end
    this.nextOffsets = [...found.offsets]
    this.keptOffsets = [...found.offsets]
  }

  get pendingCount(): number {
    return this.tail.end - this.keptEnd
  }

  /** The partition of a record whose topic does not decide it. */
  partitionFor(record: NewRecord): Partition {
    return this.partitioner.pick(record.client.name, record.key)
  }

  takeOffset(partition: Partition): Offset {
    const offset = this.nextOffsets[partition]
    assert(offset !== undefined, 'the partition is one of the stream')
    this.nextOffsets[partition] = offset + 1
    return asOffset(offset)
  }

  push(record: LogRecord, waiter: AppendWaiter): void {
    this.tail.push(record)
    this.waiters.push(waiter)
  }

  /** Moves the kept end over the next `count` records and returns them. */
  keep(count: number): readonly LogRecord[] {
    assert(count <= this.pendingCount, `L2: ${count} records of "${this.settings.name}" wait`)
    const records = this.tail.slice(this.keptEnd, this.keptEnd + count)
    this.keptEnd += count
    for (const record of records) this.keptOffsets[record.partition] = record.offset + 1
    return records
  }

  /**
   * The memory of records before `end` is taken back. What is told and on disk leaves the tail;
   * what waits on a suspended stream moves, so that it does not pin the slabs of the others.
   */
  leaveMemory(end: number): void {
    const droppable = Math.min(this.keptEnd, this.committedEnd)
    this.tail.dropBefore(Math.min(Math.max(end, this.movedEnd), droppable))
    const from = Math.max(this.tail.first, this.movedEnd)
    if (from >= end) return
    for (const copy of copyOut(this.tail.slice(from, end))) this.tail.replace(copy)
    this.movedEnd = end
  }

  /** Takes back what waits, so that the stream ends with its last kept record again. */
  takeBack(): readonly LogRecord[] {
    const records = this.tail.slice(this.keptEnd, this.tail.end)
    this.tail.dropFrom(this.keptEnd)
    for (const [partition, offset] of this.keptOffsets.entries()) {
      this.nextOffsets[partition] = offset
    }
    return records
  }
}
