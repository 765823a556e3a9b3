import { z } from 'zod'
import { defaults } from '../defaults.ts'
import { size, textLeaf } from '../leaves.ts'
import { parsePercent, parseSizeBytes } from '../units.ts'

export type MinFree =
  | { readonly kind: 'percent'; readonly percent: number }
  | { readonly kind: 'bytes'; readonly bytes: number }

export interface DiskConfig {
  /** Free space below which the oldest segments go. */
  readonly minFree: MinFree
  /** Size at which a segment is sealed. */
  readonly segmentBytes: number
}

/** Smaller ones would be sealed several times a second under load. */
const SEGMENT_BYTES_MIN = 1024 ** 2
/** Larger ones make retention coarse and recovery slow. */
const SEGMENT_BYTES_MAX = 2 * 1024 ** 3

function parseMinFree(text: string): MinFree | undefined {
  const percent = parsePercent(text)
  if (percent !== undefined) return { kind: 'percent', percent }
  const bytes = parseSizeBytes(text)
  return bytes === undefined ? undefined : { kind: 'bytes', bytes }
}

export const diskSchema = z
  .strictObject({
    min_free: textLeaf('a share such as "5%" or a size such as "2GiB"', parseMinFree).default({
      kind: 'percent',
      percent: defaults.disk.minFreePercent,
    }),
    segment: size(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX).default(defaults.disk.segmentBytes),
  })
  .transform((table): DiskConfig => ({ minFree: table.min_free, segmentBytes: table.segment }))
