/**
 * Questions to one stream, across its segments. The folder is listed anew for each question, since
 * the writer adds segments and retention deletes them at any time; a segment that goes away in
 * between makes the question start over, and the stream then begins later.
 */
import { AssertionFailure, assert } from '../../base/assert.ts'
import { SluiceError } from '../../base/errors.ts'
import { firstIndex, locateTime } from '../clock/locate-time.ts'
import { type Boots, type Moment, timeOf } from '../clock/time-of.ts'
import {
  asOffset,
  asPartition,
  asPosition,
  type PartitionBounds,
  type Position,
  type ReadQuery,
  type Start,
  type StreamBounds,
} from '../log.ts'
import { type PackedPage, packPage, type StoredRecord } from './page.ts'
import type { SegmentCache } from './segment-cache.ts'
import { SegmentDamaged, SegmentGone } from './segment-file.ts'
import type { SegmentReader } from './segment-reader.ts'
import { listSegments, type SegmentFile, segmentIndexAt, segmentsSizeBytes } from './segments.ts'

/**
 * Records looked at for one page: a filter that matches nothing then costs about 10 ms a page
 * instead of holding the thread for the whole stream.
 */
export const LOOKED_AT_MAX = 20_000
/** Segments deleted under one question. Retention deletes a few at a time, not this many. */
const RETRIES_MAX = 100

export class StreamReader {
  private readonly stream: string
  private readonly folder: string
  private readonly cache: SegmentCache

  constructor(stream: string, folder: string, cache: SegmentCache) {
    this.stream = stream
    this.folder = folder
    this.cache = cache
  }

  /** A page; `end` hides what is on disk but not yet told as kept. */
  read(query: ReadQuery, end: number | undefined): PackedPage {
    return this.ask((segments) => {
      const diskEnd = this.endOf(segments)
      const pageEnd = Math.min(end ?? diskEnd, diskEnd)
      const first = segments[0]?.first ?? 0
      const from = Math.min(Math.max(query.from, first), pageEnd)
      const { records, next } = this.collect(segments, query, from, pageEnd)
      return packPage(records, next, pageEnd)
    })
  }

  locate(start: Start, boots: Boots): Position {
    return this.ask((segments) => {
      switch (start.kind) {
        case 'earliest':
          return asPosition(segments[0]?.first ?? 0)
        case 'latest':
          return asPosition(this.endOf(segments))
        case 'time':
          return asPosition(this.locateTime(segments, start.timeMs, boots))
        case 'offset':
          return asPosition(this.locateOffset(segments, start.partition, start.offset))
        default:
          return start satisfies never
      }
    })
  }

  bounds(boots: Boots): StreamBounds {
    return this.ask((segments) => {
      const first = segments[0]?.first ?? 0
      const end = this.endOf(segments)
      return {
        stream: this.stream,
        first: asPosition(first),
        end: asPosition(end),
        partitions: this.partitionBounds(segments),
        segments: segments.length,
        sizeBytes: segmentsSizeBytes(segments),
        firstTimeMs: this.timeAt(segments, first, end, boots),
        lastTimeMs: this.timeAt(segments, end - 1, end, boots),
      }
    })
  }

  private collect(
    segments: readonly SegmentFile[],
    query: ReadQuery,
    from: number,
    pageEnd: number,
  ): { records: StoredRecord[]; next: number } {
    const lookEnd = Math.min(pageEnd, from + LOOKED_AT_MAX)
    const records: StoredRecord[] = []
    let sizeBytes = 0
    let next = from
    while (next < lookEnd && records.length < query.recordsMax && sizeBytes <= query.bytesMax) {
      const index = segmentIndexAt(segments, next)
      try {
        const scanned = this.segment(segments, index).scan({
          from: next,
          end: Math.min(lookEnd, segments[index + 1]?.first ?? lookEnd),
          partition: query.partition,
          filters: query.filters,
          recordsMax: query.recordsMax - records.length,
          bytesMax: query.bytesMax - sizeBytes,
        })
        assert(scanned.next > next, `a scan at ${next} of ${this.stream} moves on`)
        for (const record of scanned.records) records.push(record)
        sizeBytes += scanned.sizeBytes
        next = scanned.next
      } catch (thrown) {
        // The records before are given first: the next read begins here and fails with the same.
        if (records.length === 0 || thrown instanceof AssertionFailure) throw thrown
        break
      }
    }
    return { records, next }
  }

  private ask<T>(question: (segments: readonly SegmentFile[]) => T): T {
    for (let tries = 0; ; tries++) {
      const segments = listSegments(this.folder)
      const files = new Set(segments.map((segment) => segment.file))
      this.cache.forget((file) => file.startsWith(this.folder) && !files.has(file))
      try {
        return question(segments)
      } catch (thrown) {
        // A repair puts another file in the place of a damaged one: it must be opened anew.
        if (thrown instanceof SegmentDamaged) this.cache.forget((file) => file === thrown.file)
        if (!(thrown instanceof SegmentGone) || tries === RETRIES_MAX) throw thrown
      }
    }
  }

  private segment(segments: readonly SegmentFile[], index: number): SegmentReader {
    const segment = segments[index]
    assert(segment !== undefined, `segment ${index} of ${this.stream} is in the list`)
    return this.cache.get(segment)
  }

  private endOf(segments: readonly SegmentFile[]): number {
    return segments.length === 0 ? 0 : this.segment(segments, segments.length - 1).end()
  }

  private timeAt(
    segments: readonly SegmentFile[],
    position: number,
    end: number,
    boots: Boots,
  ): number | undefined {
    const moment = position < 0 ? undefined : this.momentAt(segments, position, end)
    return moment && timeOf(moment, boots)
  }

  /** Of the first record at or after a position: damage may have left holes. */
  private momentAt(
    segments: readonly SegmentFile[],
    position: number,
    end: number,
  ): Moment | undefined {
    if (position >= end) return undefined
    for (let index = segmentIndexAt(segments, position); index < segments.length; index++) {
      const moment = this.segment(segments, index).momentAt(position)
      if (moment !== undefined) return moment.position < end ? moment : undefined
    }
    return undefined
  }

  private locateTime(segments: readonly SegmentFile[], timeMs: number, boots: Boots): number {
    const first = segments[0]?.first ?? 0
    const end = this.endOf(segments)
    const at = (position: number) => this.momentAt(segments, position, end)
    return locateTime({ first, end, at }, boots, timeMs)
  }

  /** The record with an offset lies in the last segment that begins at or before it. */
  private locateOffset(
    segments: readonly SegmentFile[],
    partition: number,
    offset: number,
  ): number {
    const firstIn = (index: number): number =>
      this.segment(segments, index).firstOffsets().get(partition) ?? 0
    const end = this.endOf(segments)
    // A segment that was made for the next record has no rows yet.
    const filled = (segments.at(-1)?.first ?? 0) < end ? segments.length : segments.length - 1
    const wanted = Math.max(offset, filled > 0 ? firstIn(0) : 0)
    const later = firstIndex(0, filled, (index) => firstIn(index) > wanted)
    const found =
      later === 0 ? undefined : this.segment(segments, later - 1).positionOf(partition, wanted)
    if (found !== undefined) return found
    const bounds = this.partitionBounds(segments).find((each) => each.partition === partition)
    const partitionEnd = bounds?.end ?? 0
    if (offset <= partitionEnd) return end
    throw new SluiceError(
      'start-invalid',
      `partition ${partition} of "${this.stream}" has the offsets [${bounds?.first ?? 0}, ${partitionEnd}), not ${offset}`,
    )
  }

  /** By the first and the last segment that have records. */
  private partitionBounds(segments: readonly SegmentFile[]): PartitionBounds[] {
    if (segments.length === 0) return []
    const last = segments.length - 1
    let ends = this.segment(segments, last).endOffsets()
    if (ends.size === 0 && last > 0) ends = this.segment(segments, last - 1).endOffsets()
    const firsts = this.segment(segments, 0).firstOffsets()
    return [...ends]
      .sort(([a], [b]) => a - b)
      .map(([partition, end]) => ({
        partition: asPartition(partition),
        // A partition that the first segment does not know began later, with its first record.
        first: asOffset(firsts.get(partition) ?? 0),
        end: asOffset(end),
      }))
  }
}
