/** Finding places in the log: where a start is for a cursor, and how far behind a cursor is. */
import type { Clock } from '../../base/clock.ts'
import type {
  EventLog,
  Offset,
  Partition,
  PartitionBounds,
  Position,
  ReadQuery,
  Start,
  StreamBounds,
} from '../log.ts'
import { asOffset } from '../record.ts'
import type { CursorLag, CursorPlace } from '../state.ts'
import { byPartition, lagRecords, unreadIn } from './cursor-place.ts'

/** What cursors ask of the log. */
export type LogSource = Pick<EventLog, 'read' | 'locate' | 'bounds'>

/**
 * Where a reader that begins at `start` stands. By partition, a time or the offset of another
 * partition means the first record of each at or after that record in the order of the stream.
 */
export async function placeAt(
  source: LogSource,
  stream: string,
  kind: CursorPlace['kind'],
  start: Start,
): Promise<CursorPlace> {
  if (kind === 'stream') return { kind, next: await source.locate(stream, start) }
  const { partitions } = await source.bounds(stream)
  if (start.kind === 'earliest') return byPartition(partitions.map((p) => [p.partition, p.first]))
  if (start.kind === 'latest') return byPartition(partitions.map((p) => [p.partition, p.end]))
  const position = await source.locate(stream, start)
  const next: [Partition, Offset][] = []
  for (const bounds of partitions) {
    next.push([bounds.partition, await offsetFrom(source, stream, bounds, position)])
  }
  return byPartition(next)
}

/**
 * The first offset of a partition at or after a position. By halving, some 25 small questions: a
 * scan would read all that other partitions wrote since this one was last written.
 */
async function offsetFrom(
  source: LogSource,
  stream: string,
  { partition, first, end }: PartitionBounds,
  position: Position,
): Promise<Offset> {
  let low: number = first
  let high: number = end
  while (low < high) {
    const offset = asOffset(Math.floor((low + high) / 2))
    const at = await source.locate(stream, { kind: 'offset', partition, offset })
    if (at >= position) high = offset
    else low = offset + 1
  }
  return asOffset(low)
}

/**
 * Lag as of now. Bytes are an estimate: the records times the stream's average on disk, indexes and
 * names included, because the exact sum would take a read of everything that waits.
 */
export async function lagOf(
  source: LogSource,
  stream: string,
  place: CursorPlace,
  clock: Clock,
): Promise<CursorLag> {
  const bounds = await source.bounds(stream)
  const records = lagRecords(place, bounds)
  if (records === 0) return { records: 0, sizeBytes: 0, ageMs: 0 }
  const averageBytes = bounds.sizeBytes / Math.max(1, bounds.end - bounds.first)
  return {
    records,
    sizeBytes: Math.round(records * averageBytes),
    ageMs: await ageMs(source, place, bounds, clock),
  }
}

async function ageMs(
  source: LogSource,
  place: CursorPlace,
  bounds: StreamBounds,
  clock: Clock,
): Promise<number> {
  const { stream } = bounds
  const from = place.kind === 'stream' ? place.next : await oldestUnread(source, place, bounds)
  if (from === undefined) return 0
  const query: ReadQuery = { stream, from, recordsMax: 1, bytesMax: 1 }
  const [oldest] = (await source.read(query)).records
  return oldest === undefined ? 0 : Math.max(0, clock.now() - oldest.timeMs)
}

async function oldestUnread(
  source: LogSource,
  place: CursorPlace & { kind: 'partitions' },
  bounds: StreamBounds,
): Promise<Position | undefined> {
  let oldest: Position | undefined
  for (const { partition, from } of unreadIn(place, bounds)) {
    const start: Start = { kind: 'offset', partition, offset: from }
    const position = await source.locate(bounds.stream, start)
    if (oldest === undefined || position < oldest) oldest = position
  }
  return oldest
}
