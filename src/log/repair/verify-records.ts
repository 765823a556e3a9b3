/** The part of a check that goes record by record: checksums, positions, offsets, holes. */
import { messageOf } from '../../base/errors.ts'
import { packPage } from '../reader/page.ts'
import { SegmentReader } from '../reader/segment-reader.ts'
import type { Gap } from '../state.ts'
import { isDamage } from './check-segment.ts'
import { holePositions } from './holes.ts'

/** A step: read, verified, forgotten. */
const STEP_RECORDS = 2000
const STEP_BYTES = 1024 * 1024
/** Faults of one segment that are told one by one. */
const FAULTS_MAX = 20

interface Offsets {
  readonly next: number
  /** Positions missing in the stream so far, when the partition was last seen. */
  readonly missing: number
}

/** `isInFile`: the file itself is damaged; otherwise it does not fit what stands elsewhere. */
export type Tell = (
  file: string,
  position: number | undefined,
  what: string,
  isInFile: boolean,
) => void

export interface Mark {
  readonly count: number
  readonly noted: number
  readonly missing: number
  readonly offsets: ReadonlyMap<number, Offsets>
}

/** Goes through the segments of a stream in order. */
export class RecordCheck {
  count = 0
  noted = 0
  private missing = 0
  private offsets = new Map<number, Offsets>()
  private readonly gaps: readonly Gap[]
  private readonly tell: Tell

  /** `gaps`: of the whole stream, for damage. */
  constructor(gaps: readonly Gap[], tell: Tell) {
    this.gaps = gaps
    this.tell = tell
  }

  mark(): Mark {
    const { count, noted, missing } = this
    return { count, noted, missing, offsets: new Map(this.offsets) }
  }

  /** Forgets what came after the mark: the segment is looked at again. */
  reset(mark: Mark): void {
    this.count = mark.count
    this.noted = mark.noted
    this.missing = mark.missing
    this.offsets = new Map(mark.offsets)
  }

  /** Positions between two segments that no file has. */
  skip(positions: number): void {
    this.missing += positions
  }

  /** Reads [first, end) of a segment; one that is not `whole` as far as it lets itself be read. */
  check(file: string, first: number, end: number, whole: boolean): void {
    const reader = new SegmentReader({ file, first })
    let faults = 0
    try {
      for (let from = first; from < end; ) {
        try {
          from = this.step(reader, from, end)
        } catch (thrown) {
          if (!isDamage(thrown)) throw thrown
          this.missing++
          faults++
          if (whole || faults === 1) this.tell(file, from, messageOf(thrown), true)
          if (faults === FAULTS_MAX) return
          from++
        }
      }
    } finally {
      reader.close()
    }
  }

  private step(reader: SegmentReader, from: number, end: number): number {
    const scanned = reader.scan({
      from,
      end,
      partition: undefined,
      filters: undefined,
      recordsMax: STEP_RECORDS,
      bytesMax: STEP_BYTES,
    })
    const { next } = packPage(scanned.records, scanned.next, end)
    let at = from
    for (const { parts } of scanned.records) {
      if (parts.position >= next) break
      this.hole(reader.file, at, parts.position)
      this.record(reader.file, parts.position, parts.partition, parts.offset)
      at = parts.position + 1
    }
    this.hole(reader.file, at, next)
    return next
  }

  private record(file: string, position: number, partition: number, offset: number): void {
    this.count++
    const known = this.offsets.get(partition)
    if (known !== undefined) {
      const most = known.next + this.missing - known.missing
      if (offset < known.next || offset > most) {
        const expected = most === known.next ? String(most) : `[${known.next}, ${most}]`
        this.tell(
          file,
          position,
          `its offset in partition ${partition} is ${offset}, expected ${expected}`,
          false,
        )
      }
    }
    this.offsets.set(partition, { next: offset + 1, missing: this.missing })
    if (holePositions(this.gaps, position, position + 1) > 0) {
      this.tell(file, position, 'the record is there, and the ledger says that it is lost', false)
    }
  }

  private hole(file: string, from: number, end: number): void {
    if (from >= end) return
    this.missing += end - from
    this.noted += end - from
    if (holePositions(this.gaps, from, end) < end - from) {
      this.tell(file, from, `the hole [${from}, ${end}) is not in the ledger of gaps`, false)
    }
  }
}
