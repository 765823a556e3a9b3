/**
 * Repairs a segment in which a reader met damage, while the gateway runs; and the full check that
 * decides whether there is damage at all. A disk can fail to read once and read well the next time,
 * and a reader may have looked between the two halves of another repair: so nothing is set aside
 * that a second look finds sound.
 */
import fs from 'node:fs'
import path from 'node:path'
import { messageOf } from '../../base/errors.ts'
import { packPage } from '../reader/page.ts'
import { SegmentReader } from '../reader/segment-reader.ts'
import { firstPositionOf, segmentFileName, streamFolder } from '../segment.ts'
import { segmentNames } from '../writer/recovery.ts'
import { type Checked, checkDatabase, isDamage } from './check-segment.ts'
import type { RepairNote } from './notes.ts'
import { repairSegment } from './repair-segment.ts'

/** A step of the full check: read, verified, forgotten. */
const STEP_RECORDS = 2000
const STEP_BYTES = 1024 * 1024

export type FoundRepair =
  | { readonly kind: 'repaired'; readonly note: RepairNote }
  /** Nothing is wrong with it now. */
  | { readonly kind: 'sound' }
  /** It is the segment that is appended to: the writer must leave it first. */
  | { readonly kind: 'active' }
  /** It is still open elsewhere in this process: ask again. */
  | { readonly kind: 'busy' }
  | { readonly kind: 'failed'; readonly reason: string }

/** Repairs `file` of a stream's folder, or the hole behind it, if a second look finds damage. */
export function repairFound(dataDir: string, stream: string, file: string): FoundRepair {
  const folder = streamFolder(dataDir, stream)
  const next = segmentNames(folder).find((name) => name > file)
  const nextFirst = next === undefined ? undefined : firstPositionOf(next)
  if (nextFirst === undefined) return { kind: 'active' }
  const fix = (name: string, why: string): FoundRepair => ({
    kind: 'repaired',
    note: repairSegment(dataDir, { stream, file: name, why, partitions: 0 }, 0),
  })
  if (!fs.existsSync(path.join(folder, file))) return { kind: 'sound' }
  const checked = checkFully(path.join(folder, file), stream, firstPositionOf(file) ?? 0)
  if (checked.kind === 'damaged') return fix(file, checked.why)
  const { end, isSealed } = checked.facts
  if (end >= nextFirst) return { kind: 'sound' }
  const why = `it ends at ${end}, and the next one begins at ${nextFirst}`
  return isSealed ? fix(segmentFileName(end), 'a segment is missing here') : fix(file, why)
}

/** Structure, rows, density, and the checksum of every record. */
export function checkFully(file: string, stream: string, first: number): Checked {
  const checked = checkDatabase(file, stream, first)
  if (checked.kind === 'damaged') return checked
  const fault = checkRecords(file, first, checked.facts.end)
  return fault === undefined ? checked : { kind: 'damaged', why: fault }
}

/** What is wrong with the first damaged record of [first, end); undefined when none is. */
function checkRecords(file: string, first: number, end: number): string | undefined {
  const reader = new SegmentReader({ file, first })
  try {
    for (let from = first; from < end; ) {
      const { records, next } = reader.scan({
        from,
        end,
        partition: undefined,
        filters: undefined,
        recordsMax: STEP_RECORDS,
        bytesMax: STEP_BYTES,
      })
      from = packPage(records, next, end).next
    }
    return undefined
  } catch (thrown) {
    if (!isDamage(thrown)) throw thrown
    return messageOf(thrown)
  } finally {
    reader.close()
  }
}
