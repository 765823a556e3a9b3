/**
 * Questions to one segment. Synchronous; each question runs its statements to their end, so that
 * no read transaction outlives it and checkpoints are never held up.
 */
import type { Moment } from '../clock/time-of.ts'
import { contentBytes, type EntryParts, type Name } from '../entry.ts'
import { type Hole, holeEndAt } from '../repair/holes.ts'
import type { StoredRecord } from './page.ts'
import { type SegmentConnection, SegmentDamaged, SegmentHandle } from './segment-file.ts'
import { FilterWindows, SegmentNames } from './segment-names.ts'
import type { SegmentFile } from './segments.ts'

/** What to look for in [from, end). */
export interface Scan {
  readonly from: number
  readonly end: number
  readonly partition: number | undefined
  readonly filters: readonly string[] | undefined
  readonly recordsMax: number
  readonly bytesMax: number
}

export interface Scanned {
  readonly records: readonly StoredRecord[]
  readonly sizeBytes: number
  /** Everything before was looked at. */
  readonly next: number
}

type Row = [
  position: number,
  partition: number,
  offset: number,
  topic: number,
  client: number,
  flags: number,
  boot: number,
  monotonic: number,
  time: number,
  checksum: number,
  properties: Buffer | null,
  payload: Buffer,
]

const COLUMNS =
  'position, partition, offset, topic, client, flags, boot, monotonic, time, checksum, properties, payload'
const NONE = new Uint8Array(0)
const NO_NAME: Name = { text: '', bytes: NONE }

export class SegmentReader {
  readonly file: string
  readonly first: number
  private readonly handle: SegmentHandle
  private readonly topics = new SegmentNames('topic')
  private readonly clients = new SegmentNames('client')
  private readonly windows = new FilterWindows()
  private readonly lastOffsets = new Map<number, number>()
  private lastOffsetsEnd: number
  private holes: readonly Hole[] | undefined

  constructor(segment: SegmentFile) {
    this.file = segment.file
    this.first = segment.first
    this.handle = new SegmentHandle(segment.file)
    this.lastOffsetsEnd = segment.first
  }

  /** The position after the last record, or after the last hole of a salvaged segment. */
  end(): number {
    return this.handle.use((connection) => {
      const sealed = connection.rows('SELECT end_position FROM segment').get()
      const [sealedEnd] = (sealed as [number | null] | undefined) ?? [null]
      if (sealedEnd !== null) return sealedEnd
      const [last] = connection.rows('SELECT max(position) FROM record').get() as [number | null]
      return last === null ? this.first : last + 1
    })
  }

  /**
   * Records from `scan.from` on. `scan.end` must not pass the segment's end; `next` may pass it, to
   * the end of a hole that is noted.
   */
  scan(scan: Scan): Scanned {
    return this.handle.use((connection) => {
      const { from, partition, filters, recordsMax } = scan
      const beyond = holeEndAt(this.holesOf(connection), from)
      if (beyond !== undefined) return { records: [], sizeBytes: 0, next: beyond }
      const window =
        filters === undefined ? undefined : this.windows.at(connection, filters, from, scan.end)
      const end = Math.min(scan.end, window?.end ?? scan.end)
      const values: (number | string)[] = [from, end]
      let where = 'position >= ? AND position < ?'
      if (partition !== undefined) {
        where += ' AND partition = ?'
        values.push(partition)
      }
      if (window !== undefined) {
        where += ' AND topic IN (SELECT value FROM json_each(?))'
        values.push(window.ids)
      }
      const rows = connection
        .rows(`SELECT ${COLUMNS} FROM record WHERE ${where} ORDER BY position LIMIT ?`)
        .iterate(...values, recordsMax) as IterableIterator<Row>
      const dense = partition === undefined && filters === undefined
      return this.collect(connection, rows, { ...scan, end }, dense)
    })
  }

  /** The next record of a partition from an offset on; undefined when the segment has none. */
  positionOf(partition: number, offset: number): number | undefined {
    return this.handle.use((connection) => {
      const row = connection
        .rows(
          'SELECT position FROM record WHERE partition = ? AND offset >= ? ORDER BY position LIMIT 1',
        )
        .get(partition, offset) as [number] | undefined
      return row?.[0]
    })
  }

  /** When the first record at or after a position was written; undefined when there is none. */
  momentAt(position: number): (Moment & { readonly position: number }) | undefined {
    return this.handle.use((connection) => {
      const row = connection
        .rows(
          `SELECT position, boot, monotonic, time FROM record
           WHERE position >= ? ORDER BY position LIMIT 1`,
        )
        .get(position) as [number, number, number, number] | undefined
      return row && { position: row[0], boot: row[1], monotonicUs: row[2], timeMs: row[3] }
    })
  }

  /** The first offset that each known partition has, or would have, in this segment. */
  firstOffsets(): Map<number, number> {
    return this.handle.use(
      (connection) =>
        new Map(
          connection.rows('SELECT partition, first_offset FROM partition').all() as [
            number,
            number,
          ][],
        ),
    )
  }

  /**
   * The offset after the last of each known partition. A sealed segment says it: behind damage the
   * next offset is higher than that of the last record that is left. Of another one it takes a pass
   * over the segment at the first call (tens of ms at 64 MiB), then only over what came since.
   */
  endOffsets(): Map<number, number> {
    const sealed = this.sealedOffsets()
    if (sealed !== undefined) return sealed
    const ends = this.firstOffsets()
    const end = this.end()
    this.handle.use((connection) => {
      const rows = connection
        .rows(
          `SELECT partition, max(offset) FROM record
           WHERE position >= ? AND position < ? GROUP BY partition`,
        )
        .all(this.lastOffsetsEnd, end) as [number, number][]
      for (const [partition, offset] of rows) this.lastOffsets.set(partition, offset)
      this.lastOffsetsEnd = end
    })
    for (const [partition, offset] of this.lastOffsets) ends.set(partition, offset + 1)
    return ends
  }

  /** Undefined while the segment is not sealed. */
  private sealedOffsets(): Map<number, number> | undefined {
    return this.handle.use((connection) => {
      const [row] = connection.rows('SELECT end_position FROM segment').all() as [number | null][]
      if (row === undefined || row[0] === null) return undefined
      const ends = connection
        .rows('SELECT partition, coalesce(end_offset, first_offset) FROM partition')
        .all() as [number, number][]
      return new Map(ends)
    })
  }

  /** Lets go of a file that is still to be sealed. */
  release(): void {
    this.handle.release()
  }

  close(): void {
    this.handle.close()
  }

  private collect(
    connection: SegmentConnection,
    rows: Iterable<Row>,
    scan: Scan,
    dense: boolean,
  ): Scanned {
    const records: StoredRecord[] = []
    const holes = this.holesOf(connection)
    let sizeBytes = 0
    let next = scan.from
    try {
      for (const row of rows) {
        if (dense && row[0] !== next && row[0] !== holeEndAt(holes, next)) break
        const parts = this.partsOf(connection, row)
        records.push({ parts, checksum: row[9], file: this.file })
        sizeBytes += contentBytes(parts)
        next = row[0] + 1
        if (sizeBytes > scan.bytesMax) return { records, sizeBytes, next }
      }
    } catch (thrown) {
      // What could be read is given first: the next scan begins here and fails with the same.
      if (records.length === 0) throw thrown
      return { records, sizeBytes, next }
    }
    if (records.length === scan.recordsMax) return { records, sizeBytes, next }
    if (!dense) return { records, sizeBytes, next: scan.end }
    // L1: what is not there was there. The records before the hole are given first.
    if (next < scan.end && records.length === 0) {
      throw new SegmentDamaged(this.file, `${this.file} has no record at position ${next}`)
    }
    return { records, sizeBytes, next }
  }

  /** What a repair noted as gone; nothing in a segment that was never damaged. */
  private holesOf(connection: SegmentConnection): readonly Hole[] {
    this.holes ??=
      connection.rows("SELECT 1 FROM sqlite_schema WHERE name = 'hole'").get() === undefined
        ? []
        : (
            connection.rows('SELECT first_position, end_position FROM hole').all() as [
              number,
              number,
            ][]
          ).map(([first, end]) => ({ first, end }))
    return this.holes
  }

  private partsOf(connection: SegmentConnection, row: Row): EntryParts {
    const [position, partition, offset, topicId, clientId, flags, boot, monotonicUs, timeMs] = row
    // A name that is not there shows in the checksum.
    const topic = this.topics.get(connection, topicId) ?? NO_NAME
    const client = this.clients.get(connection, clientId) ?? NO_NAME
    const properties = row[10] ?? NONE
    const payload = row[11]
    return {
      position,
      partition,
      offset,
      topic,
      client,
      flags,
      boot,
      monotonicUs,
      timeMs,
      properties,
      payload,
    }
  }
}
