import { present } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { SluiceError } from '../base/errors.ts'
import { type EntryParts, entryBytes, readEntries, writeEntry } from './entry.ts'
import { FilterSet } from './filter-set.ts'
import {
  asOffset,
  asPartition,
  asPosition,
  type LogRecord,
  type NewRecord,
  type Partition,
  type PartitionBounds,
  type Position,
  type ReadQuery,
  type RecordPage,
  type Start,
  type StreamBounds,
  type StreamSettings,
} from './log.ts'
import { Partitioner } from './partition.ts'

/** One stream of the in-memory model: the position is the index. */
export class MemoryStream {
  readonly settings: StreamSettings
  /** Every kept record. */
  readonly kept: LogRecord[] = []
  private readonly partitioner: Partitioner
  private readonly nextOffsets: number[]
  private nextPosition = 0

  constructor(settings: StreamSettings) {
    this.settings = settings
    this.partitioner = new Partitioner(settings.key, settings.partitions)
    this.nextOffsets = new Array<number>(settings.partitions).fill(0)
  }

  /** A record that is not kept gets the numbers that the next one gets too. */
  append(added: NewRecord, boot: number, clock: Clock, isKept: boolean): LogRecord {
    const { route, client, bytes } = added
    const partition = route.partition ?? this.partitioner.pick(client.name, added.key)
    const offset = present(this.nextOffsets[partition], `partition ${partition}`)
    const position = this.nextPosition
    if (isKept) {
      this.nextOffsets[partition] = offset + 1
      this.nextPosition++
    }
    const parts: EntryParts = {
      position,
      partition,
      offset,
      topic: { text: route.topic, bytes: route.topicBytes },
      client: { text: client.name, bytes: client.bytes },
      flags: flagsOf(added),
      boot,
      monotonicUs: clock.monotonicUs(),
      timeMs: clock.now(),
      properties: bytes.subarray(added.propertiesAt, added.propertiesEnd),
      payload: bytes.subarray(added.payloadAt, added.payloadEnd),
    }
    const entry = new Uint8Array(entryBytes(parts))
    writeEntry(entry, 0, parts, route.ref, client.ref)
    return present(readEntries(this.settings.name, entry)[0], 'the record just written')
  }

  read(query: ReadQuery): RecordPage {
    const { partition } = query
    const filters = query.filters && new FilterSet(query.filters)
    const end = asPosition(this.kept.length)
    const records: LogRecord[] = []
    let next = Math.min(query.from, end)
    let sizeBytes = 0
    while (next < end && records.length < query.recordsMax && sizeBytes <= query.bytesMax) {
      const record = present(this.kept[next], `record ${next}`)
      next++
      if (partition !== undefined && record.partition !== partition) continue
      if (filters?.matches(record.topic) === false) continue
      records.push(record)
      sizeBytes += record.sizeBytes
    }
    return { records, next: asPosition(next), end }
  }

  locate(start: Start): Position {
    const end = asPosition(this.kept.length)
    switch (start.kind) {
      case 'earliest':
        return asPosition(0)
      case 'latest':
        return end
      case 'time':
        return this.kept.find((record) => record.timeMs >= start.timeMs)?.position ?? end
      case 'offset': {
        const found = this.ofPartition(start.partition).find((r) => r.offset >= start.offset)
        const partitionEnd = this.ofPartition(start.partition).length
        if (found !== undefined || start.offset === partitionEnd) return found?.position ?? end
        throw new SluiceError(
          'start-invalid',
          `partition ${start.partition} of "${this.settings.name}" has the offsets [0, ${partitionEnd}), not ${start.offset}`,
        )
      }
      default:
        return start satisfies never
    }
  }

  bounds(): StreamBounds {
    return {
      stream: this.settings.name,
      first: asPosition(0),
      end: asPosition(this.kept.length),
      partitions: this.nextOffsets.map((_, index) => this.partitionBounds(asPartition(index))),
      segments: this.kept.length === 0 ? 0 : 1,
      sizeBytes: this.kept.reduce((sum, record) => sum + record.sizeBytes, 0),
      firstTimeMs: this.kept[0]?.timeMs,
      lastTimeMs: this.kept.at(-1)?.timeMs,
    }
  }

  private partitionBounds(partition: Partition): PartitionBounds {
    return { partition, first: asOffset(0), end: asOffset(this.ofPartition(partition).length) }
  }

  private ofPartition(partition: Partition): LogRecord[] {
    return this.kept.filter((record) => record.partition === partition)
  }
}

/** As the packed layout of entry.ts has them. */
function flagsOf({ qos, retain, will = false, packetId = 0 }: NewRecord): number {
  return qos | (retain ? 4 : 0) | (will ? 8 : 0) | (packetId << 8)
}
