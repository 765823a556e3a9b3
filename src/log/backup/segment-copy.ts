/**
 * One segment on its way into a backup.
 *
 *   sealed                      linked or copied as it is; kept when the backup before has it
 *   appended to, so the last    a snapshot, which is appended to after a restore
 *   full and not yet sealed     a snapshot, sealed in the backup
 */
import fs from 'node:fs'
import path from 'node:path'
import type Database from 'better-sqlite3'
import { codeOf, messageOf, SluiceError } from '../../base/errors.ts'
import { trySeal } from '../keeper/seal.ts'
import type { SegmentFile } from '../reader/segments.ts'
import { segmentFileName } from '../segment.ts'
import { segmentEnd } from '../writer/recovery.ts'
import { checkFormat } from '../writer/segment-file.ts'
import { contentOf, copyFile, tryLink } from './contents.ts'
import type { BackupSegment } from './manifest.ts'
import { isInWal, openLive, settleCopy, snapshot } from './snapshot.ts'

export interface CopyPlace {
  /** The stream's folder in the backup. */
  readonly folder: string
  readonly run: number
  /** What the backup before has of this stream, by first position. */
  readonly before: ReadonlyMap<number, BackupSegment>
}

export const copyWays = ['kept', 'linked', 'copied', 'snapshot'] as const
export type CopyWay = (typeof copyWays)[number]

export interface CopiedSegment {
  readonly way: CopyWay
  readonly segment: BackupSegment
}

/**
 * Takes a segment over; undefined when it is gone: retention removes whole segments at any time.
 * Throws `record-damaged`, `format-unknown` or `storage`.
 */
export async function copySegment(
  live: SegmentFile,
  isLast: boolean,
  place: CopyPlace,
): Promise<CopiedSegment | undefined> {
  try {
    const db = openLive(live.file)
    let end: number
    try {
      checkFormat(db, live.file)
      if (isInWal(db)) return await copyChanging(db, live, isLast, place)
      end = segmentEnd(db)?.end ?? live.first
    } finally {
      db.close()
    }
    // The file is final, and read only from here on, where this process has it open no more.
    return await copySealed(live, end, place)
  } catch (thrown) {
    if (!fs.existsSync(live.file)) return undefined
    throw explained(thrown, live.file)
  }
}

async function copyChanging(
  db: Database.Database,
  live: SegmentFile,
  isLast: boolean,
  place: CopyPlace,
): Promise<CopiedSegment> {
  const file = segmentFileName(live.first).replace('.db', `.${place.run}.db`)
  const target = path.join(place.folder, file)
  await snapshot(db, target)
  const end = settleCopy(target, (copy) => {
    if (!isLast) trySeal(copy)
    return segmentEnd(copy)?.end ?? live.first
  })
  const content = await contentOf(target)
  const segment = { file, ...content, first: live.first, end, modifiedMs: null }
  return { way: 'snapshot', segment }
}

async function copySealed(
  live: SegmentFile,
  end: number,
  place: CopyPlace,
): Promise<CopiedSegment> {
  const { size, mtimeMs } = fs.statSync(live.file)
  const known = place.before.get(live.first)
  if (known !== undefined && isSame(known, size, mtimeMs, end, place.folder)) {
    return { way: 'kept', segment: known }
  }
  const plain = segmentFileName(live.first)
  // The backup before has a file of this name with something else in it.
  const file = known?.file === plain ? plain.replace('.db', `.${place.run}.db`) : plain
  const target = path.join(place.folder, file)
  fs.rmSync(target, { force: true })
  const linked = tryLink(live.file, target)
  const content = linked ? await contentOf(target) : await copyFile(live.file, target)
  const segment = { file, ...content, first: live.first, end, modifiedMs: mtimeMs }
  return { way: linked ? 'linked' : 'copied', segment }
}

/** A sealed file never changes: size and time say that it is the one that was taken before. */
function isSame(
  known: BackupSegment,
  sizeBytes: number,
  modifiedMs: number,
  end: number,
  folder: string,
): boolean {
  const kept = fs.statSync(path.join(folder, known.file), { throwIfNoEntry: false })
  const isLive = known.modifiedMs === modifiedMs && known.sizeBytes === sizeBytes
  return isLive && known.end === end && kept?.size === sizeBytes
}

function explained(thrown: unknown, file: string): unknown {
  const code = codeOf(thrown)
  if (thrown instanceof SluiceError || code === undefined) return thrown
  if (code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB') {
    return new SluiceError('record-damaged', `${file} is damaged: ${messageOf(thrown)}`, {
      cause: thrown,
    })
  }
  return new SluiceError('storage', `the backup of ${file} failed: ${messageOf(thrown)}`, {
    cause: thrown,
  })
}
