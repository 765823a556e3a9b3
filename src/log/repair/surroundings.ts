/** What the neighbours of a damaged segment say: names in the folder, partition rows. */
import path from 'node:path'
import { codeOf, SluiceError } from '../../base/errors.ts'
import { SegmentReader } from '../reader/segment-reader.ts'
import { firstPositionOf } from '../segment.ts'
import { segmentNames } from '../writer/recovery.ts'
import type { Surroundings } from './rebuild.ts'

/** The least that a record takes in a segment, with its cell and its place in the page. */
const RECORD_BYTES_MIN = 24
/** Beyond the size of a segment: a transaction is not cut off in the middle. */
const TRANSACTION_RECORDS = 2048

/** How many records a segment of this size can hold. */
export function recordsMax(segmentBytes: number): number {
  return Math.ceil(segmentBytes / RECORD_BYTES_MIN) + TRANSACTION_RECORDS
}

/** `slack` counts for the last segment only: behind another one, the next begins. */
export function surroundingsOf(
  folder: string,
  stream: string,
  file: string,
  { partitions, slack }: { readonly partitions: number; readonly slack: number },
): Surroundings {
  const names = segmentNames(folder)
  const first = firstPositionOf(file) ?? 0
  const before = names.filter((name) => name < file).at(-1)
  const after = names.find((name) => name > file)
  return {
    stream,
    first,
    partitions,
    nextFirst: after === undefined ? undefined : firstPositionOf(after),
    offsetsBefore: before === undefined ? new Map() : offsets(folder, before, 'ends'),
    offsetsAfter: after === undefined ? new Map() : offsets(folder, after, 'firsts'),
    slack: after === undefined ? slack : 0,
  }
}

/** A neighbour that is damaged too says nothing. */
function offsets(folder: string, name: string, which: 'firsts' | 'ends'): Map<number, number> {
  const reader = new SegmentReader({
    file: path.join(folder, name),
    first: firstPositionOf(name) ?? 0,
  })
  try {
    return which === 'firsts' ? reader.firstOffsets() : reader.endOffsets()
  } catch (thrown) {
    if (thrown instanceof SluiceError || codeOf(thrown) !== undefined) return new Map()
    throw thrown
  } finally {
    reader.close()
  }
}
