import fs from 'node:fs'
import path from 'node:path'
import { SluiceError } from '../../base/errors.ts'
import { failPoint } from '../../base/fail-point.ts'
import { listSegments, type SegmentFile } from '../reader/segments.ts'
import { syncFolder } from '../writer/segment-file.ts'
import { type CopiedSegment, type CopyPlace, copySegment } from './segment-copy.ts'

/** Each time at least one segment is gone; retention removes a few at a time, not this many. */
const TRIES_MAX = 100

/**
 * Takes over a stream: the segments that its folder has, oldest first, up to one that is appended
 * to. When one goes away under the copy, or the last one was sealed before its turn came, the
 * folder is listed anew and what was copied stays, as far as it is still there: so the set has no
 * hole of the copy's making, and ends as a stream does.
 *
 *   listed  │ a │ b │ c │ d, appended to │     retention removes a, b
 *   anew              │ c │ d, sealed      │ e, appended to │
 */
export async function copyStream(folder: string, place: CopyPlace): Promise<CopiedSegment[]> {
  const done = new Map<number, CopiedSegment>()
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const listed = listSegments(folder)
    dropGone(done, listed, place)
    const copied = await copyListed(listed, done, place)
    if (copied !== undefined && isWhole(copied, folder)) {
      syncFolder(place.folder)
      return copied
    }
  }
  const sentence = `segments of ${folder} were removed ${TRIES_MAX} times while they were copied`
  throw new SluiceError('storage', sentence)
}

/** Undefined when one of them is gone. */
async function copyListed(
  listed: readonly SegmentFile[],
  done: Map<number, CopiedSegment>,
  place: CopyPlace,
): Promise<CopiedSegment[] | undefined> {
  const copied: CopiedSegment[] = []
  for (const [index, live] of listed.entries()) {
    const isLast = index === listed.length - 1
    const one = done.get(live.first) ?? (await copySegment(live, isLast, place))
    if (one === undefined) return undefined
    // A last one that is appended to is taken anew with each try: it has grown.
    if (!isLast || one.way !== 'snapshot') done.set(live.first, one)
    copied.push(one)
    failPoint('backup:segment-taken')
  }
  return copied
}

function dropGone(
  done: Map<number, CopiedSegment>,
  listed: readonly SegmentFile[],
  place: CopyPlace,
): void {
  const there = new Set(listed.map(({ first }) => first))
  for (const [first, { way, segment }] of done) {
    if (there.has(first)) continue
    done.delete(first)
    // A kept one still belongs to the backup before.
    if (way !== 'kept') fs.rmSync(path.join(place.folder, segment.file), { force: true })
  }
}

/**
 * Whether the set ends with a segment that is appended to, and misses none that the folder has. The
 * last one that was listed may be full and sealed by now; and a listing taken while names change
 * may leave one out. A hole, or a sealed end, that the folder has as well was left by damage.
 */
function isWhole(copied: readonly CopiedSegment[], folder: string): boolean {
  const firsts = listSegments(folder).map(({ first }) => first)
  const has = (from: number, end: number): boolean =>
    firsts.some((first) => first >= from && first < end)
  return copied.every(({ way, segment }, index) => {
    const next = copied[index + 1]?.segment
    if (next !== undefined) return !has(segment.end, next.first)
    return way === 'snapshot' || !has(segment.end, Number.POSITIVE_INFINITY)
  })
}
