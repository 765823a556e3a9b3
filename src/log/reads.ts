/**
 * Reads of the running log: from the tail where it reaches, otherwise by the reader thread, which
 * starts with the first read that needs it.
 *
 * The reader sees files, and files can be ahead of what was told (a commit that is not reported
 * yet) or behind it (records of a 'receive' stream). So its pages are cut at the committed end, and
 * what is told but not on disk comes from the tail, which never drops it.
 */
import { SluiceError } from '../base/errors.ts'
import { type Boots, timeOf } from './clock/time-of.ts'
import { FilterSet } from './filter-set.ts'
import type { Lane } from './lane.ts'
import type {
  PartitionBounds,
  Position,
  ReadQuery,
  RecordPage,
  Start,
  StreamBounds,
} from './log.ts'
import { ReaderThread } from './reader/thread.ts'
import { asOffset, asPartition, asPosition, HEAD_BYTES, LogRecord } from './record.ts'
import type { Repairs } from './repair/repairs.ts'
import type { StateStore } from './state/store.ts'

type OffsetStart = Extract<Start, { kind: 'offset' }>

/** Looked at for one page from the tail, so that a filter without a match blocks nobody. */
const LOOKED_AT_MAX = 4096

/** This boot, and what is known of the time of all of them. */
type KnownTimes = Pick<StateStore, 'boot' | 'boots'>

export class LogReads {
  private readonly laneOf: (stream: string) => Lane
  private readonly reader: ReaderThread
  private readonly repairs: Repairs
  private readonly state: KnownTimes

  /** `laneOf` throws `stream-unknown`. */
  constructor(
    dataDir: string,
    laneOf: (stream: string) => Lane,
    repairs: Repairs,
    state: KnownTimes,
  ) {
    this.laneOf = laneOf
    this.repairs = repairs
    this.state = state
    this.reader = new ReaderThread(dataDir, () => state.boots(), state.boot)
  }

  async read(query: ReadQuery): Promise<RecordPage> {
    const lane = this.servedLane(query.stream)
    if (query.from >= lane.tail.first) return readTail(lane, query, query.from, this.state.boots())
    const page = await this.repairs.healed(query.stream, () =>
      this.reader.read(query, onDiskEnd(lane)),
    )
    return { ...page, end: asPosition(lane.keptEnd) }
  }

  async locate(stream: string, start: Start): Promise<Position> {
    const lane = this.servedLane(stream)
    if (start.kind === 'latest') return asPosition(lane.keptEnd)
    const onDisk = onDiskEnd(lane)
    if (start.kind === 'offset') {
      const found = locateOffset(lane, start, onDisk, this.state.boots())
      if (found !== undefined) return found
    }
    const found = await this.repairs.healed(stream, () => this.reader.locate(stream, start))
    return found < onDisk ? found : firstInTail(lane, onDisk, start, this.state.boots())
  }

  async bounds(stream: string): Promise<StreamBounds> {
    const lane = this.servedLane(stream)
    const onDisk = await this.repairs.healed(stream, () => this.reader.bounds(stream))
    const first = Math.min(onDisk.first, lane.keptEnd)
    const oldest = lane.tail.at(first)
    const newest = lane.tail.at(lane.keptEnd - 1)
    const boots = this.state.boots()
    return {
      ...onDisk,
      first: asPosition(first),
      end: asPosition(lane.keptEnd),
      partitions: partitionBounds(lane, onDisk.partitions),
      firstTimeMs:
        first === lane.keptEnd ? undefined : shownTime(oldest, boots, onDisk.firstTimeMs),
      lastTimeMs: first === lane.keptEnd ? undefined : shownTime(newest, boots, onDisk.lastTimeMs),
    }
  }

  /** Throws `stream-unknown` or `stream-out-of-service`. */
  private servedLane(stream: string): Lane {
    const lane = this.laneOf(stream)
    const { trouble } = lane
    if (trouble === undefined) return lane
    const sentence = `stream "${stream}" is out of service: ${trouble.message}`
    throw new SluiceError('stream-out-of-service', sentence, { cause: trouble })
  }

  /** Lets go of segments that are deleted: their space is freed only then. */
  forgetRemoved(): void {
    this.reader.forgetRemoved()
  }

  async close(): Promise<void> {
    await this.reader.close()
  }
}

function shownTime(
  inTail: LogRecord | undefined,
  boots: Boots,
  onDiskMs: number | undefined,
): number | undefined {
  return inTail === undefined ? onDiskMs : timeOf(inTail, boots)
}

/** Where the files end for readers: told and on disk. */
export function onDiskEnd(lane: Lane): Position {
  return asPosition(Math.min(lane.committedEnd, lane.keptEnd))
}

function readTail(lane: Lane, query: ReadQuery, begin: number, boots: Boots): RecordPage {
  const end = lane.keptEnd
  const from = Math.min(begin, end)
  const lookEnd = Math.min(end, from + LOOKED_AT_MAX)
  const filters = query.filters && new FilterSet(query.filters)
  const found: LogRecord[] = []
  let sizeBytes = 0
  let next = from
  while (next < lookEnd && found.length < query.recordsMax && sizeBytes < query.bytesMax) {
    const record = lane.tail.at(next++)
    if (record === undefined || !isWanted(record, query.partition, filters)) continue
    found.push(record)
    sizeBytes += record.sizeBytes
  }
  return { records: copyOut(found, boots), next: asPosition(next), end: asPosition(end) }
}

function isWanted(record: LogRecord, partition: number | undefined, filters?: FilterSet): boolean {
  if (partition !== undefined && record.partition !== partition) return false
  return filters === undefined || filters.matches(record.topic)
}

/**
 * Copies in memory of their own: the tail takes its memory back, and a page is its reader's for
 * good. Heads hold lengths: they come along. Times are what `boots` know of them; without it as
 * written.
 */
export function copyOut(found: readonly LogRecord[], boots: Boots = new Map()): LogRecord[] {
  let sizeBytes = 0
  for (const record of found) sizeBytes += HEAD_BYTES + record.sizeBytes
  const bytes = new Uint8Array(sizeBytes)
  let at = 0
  return found.map((record) => {
    const headAt = record.topicAt - HEAD_BYTES
    const shift = at - headAt
    bytes.set(record.bytes.subarray(headAt, record.payloadEnd), at)
    at += HEAD_BYTES + record.sizeBytes
    return new LogRecord(
      record.stream,
      record.position,
      record.partition,
      record.offset,
      record.topic,
      record.client,
      record.qos,
      record.retain,
      timeOf(record, boots),
      record.boot,
      record.monotonicUs,
      bytes,
      record.topicAt + shift,
      record.propertiesAt + shift,
      record.payloadAt + shift,
      record.payloadEnd + shift,
      record.packetId,
      record.will,
    )
  })
}

/** An offset that is not on disk; undefined when the files have the answer. */
function locateOffset(
  lane: Lane,
  start: OffsetStart,
  onDisk: number,
  boots: Boots,
): Position | undefined {
  const { partition, offset } = start
  const end = lane.keptOffsets[partition] ?? 0
  if (offset === end) return asPosition(lane.keptEnd)
  if (offset > end) {
    throw new SluiceError(
      'start-invalid',
      `partition ${partition} of "${lane.settings.name}" ends at offset ${end}, before ${offset}`,
    )
  }
  const position = firstInTail(lane, onDisk, start, boots)
  return lane.tail.at(position)?.offset === offset ? position : undefined
}

/** The first record in memory from `from` on that is at or after the start; without one the end. */
function firstInTail(lane: Lane, from: number, start: Start, boots: Boots): Position {
  for (let at = Math.max(from, lane.tail.first); at < lane.keptEnd; at++) {
    const record = lane.tail.at(at)
    if (record !== undefined && begins(record, start, boots)) return asPosition(at)
  }
  return asPosition(lane.keptEnd)
}

function begins(record: LogRecord, start: Start, boots: Boots): boolean {
  switch (start.kind) {
    case 'time':
      return timeOf(record, boots) >= start.timeMs
    case 'offset':
      return record.partition === start.partition && record.offset >= start.offset
    case 'earliest':
      return true
    case 'latest':
      return false
    default:
      return start satisfies never
  }
}

function partitionBounds(lane: Lane, onDisk: readonly PartitionBounds[]): PartitionBounds[] {
  const firsts = new Map(onDisk.map(({ partition, first }) => [Number(partition), first]))
  return lane.keptOffsets.map((end, partition) => ({
    partition: asPartition(partition),
    first: firsts.get(partition) ?? asOffset(0),
    end: asOffset(end),
  }))
}
