/** What the folders say: which streams there are, which segments, and how large they are. */
import fs from 'node:fs'
import path from 'node:path'
import { codeOf, SluiceError } from '../../base/errors.ts'
import { firstPositionOf } from '../segment.ts'

export interface SegmentFile {
  readonly file: string
  /** The first position, from the name. */
  readonly first: number
}

/** A stream's segments, oldest first. Everything else in the folder is somebody else's business. */
export function listSegments(folder: string): SegmentFile[] {
  const found: SegmentFile[] = []
  for (const name of namesIn(folder)) {
    const first = firstPositionOf(name)
    if (first !== undefined) found.push({ file: path.join(folder, name), first })
  }
  return found.sort((a, b) => a.first - b.first)
}

/** Bytes of all segments on disk, with their WAL files. */
export function segmentsSizeBytes(segments: readonly SegmentFile[]): number {
  let sizeBytes = 0
  for (const { file } of segments) sizeBytes += fileBytes(file) + fileBytes(`${file}-wal`)
  return sizeBytes
}

/**
 * The streams of a data directory, by name.
 * Throws `data-dir-unusable` when it is not there or holds no log.
 */
export function listStreams(dataDir: string): string[] {
  const folder = path.join(dataDir, 'streams')
  try {
    const entries = fs.readdirSync(folder, { withFileTypes: true })
    return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])).sort()
  } catch (cause) {
    throw new SluiceError('data-dir-unusable', whyUnusable(dataDir, cause), { cause })
  }
}

/** The index of the segment that `position` falls into, or of the first one. */
export function segmentIndexAt(segments: readonly SegmentFile[], position: number): number {
  return Math.max(
    0,
    segments.findLastIndex((segment) => segment.first <= position),
  )
}

function whyUnusable(dataDir: string, cause: unknown): string {
  if (codeOf(cause) !== 'ENOENT') return `${dataDir} cannot be read (${codeOf(cause) ?? 'unknown'})`
  return fs.existsSync(dataDir)
    ? `${dataDir} has no folder "streams", so it is not a data directory of Sluice`
    : `${dataDir} does not exist`
}

function namesIn(folder: string): string[] {
  try {
    return fs.readdirSync(folder)
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return []
    throw new SluiceError('storage', `the folder ${folder} cannot be read`, { cause })
  }
}

function fileBytes(file: string): number {
  return fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0
}
