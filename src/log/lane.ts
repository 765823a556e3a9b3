import { assert } from '../base/assert.ts'
import { Deque } from '../base/deque.ts'
import type { AppendWaiter, NewRecord, StreamSettings } from './log.ts'
import { Partitioner } from './partition.ts'
import { asOffset, type LogRecord, type Offset, type Partition } from './record.ts'
import { Tail } from './tail.ts'
import type { StreamEnd } from './writer/protocol.ts'

/**
 * One stream as the main thread sees it.
 *
 *   tail.first ──── committedEnd ──── keptEnd ──── tail.end = the next position
 *      in memory       on disk          told         appended
 *
 * Under 'fsync' and 'write' committedEnd and keptEnd are one; under 'receive' records are told
 * before they are on disk, and nothing behind committedEnd leaves the tail.
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
  failure: string | undefined
  /** On a halted 'receive' stream: from here on records were told and never reached the disk. */
  lostFrom: number | undefined
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
