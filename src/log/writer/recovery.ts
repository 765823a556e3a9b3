/**
 * Where a stream goes on after a stop of any kind.
 *
 * Names on disk decide: the segment with the highest first position is the active one. At most two
 * segments are opened, whatever the size of the log, so that 2 GiB open within a second after a
 * crash. What a crash can leave, and what becomes of it:
 *   - a working file (prepare, roll, next): deleted;
 *   - an active segment without rows (crash between rename and first commit): used, or deleted
 *     when its name does not follow the segment before;
 *   - a sealed last segment: only a repair leaves one (see ../repair/start.ts, which goes over the
 *     folder before this does and leaves no damage behind). It is final: the stream goes on in a
 *     new one, at its end;
 *   - older segments that are still in WAL mode: listed in `unsealed`, for the keeper.
 */
import fs from 'node:fs'
import path from 'node:path'
import type Database from 'better-sqlite3'
import { assert } from '../../base/assert.ts'
import { messageOf, SluiceError } from '../../base/errors.ts'
import { firstPositionOf } from '../segment.ts'
import {
  checkFormat,
  isUnsealed,
  NEXT_FILE,
  type OpenDatabase,
  PREPARE_FILE,
  ROLL_FILE,
  removeDatabase,
} from './segment-file.ts'

export interface Recovered {
  /** File name of the segment to append to; undefined: make one. */
  readonly active: string | undefined
  /** The active segment has no rows yet. */
  readonly empty: boolean
  /** The next position. */
  readonly end: number
  /** The next offset by partition, for each partition that has a row in the last segment. */
  readonly offsets: ReadonlyMap<number, number>
  readonly unsealed: readonly string[]
}

/** Looks at a stream's folder, which exists, before anything of it is open. */
export function recover(folder: string, open: OpenDatabase): Recovered {
  for (const name of [NEXT_FILE, PREPARE_FILE, ROLL_FILE]) removeDatabase(path.join(folder, name))
  const names = segmentNames(folder)
  const last = names.at(-1)
  if (last === undefined) {
    return { active: undefined, empty: true, end: 0, offsets: new Map(), unsealed: [] }
  }
  const unsealed = unsealedAmong(folder, names.slice(0, -1))
  const found = readEnd(path.join(folder, last), open)
  if (found?.isSealed === true) return { active: undefined, empty: true, ...found, unsealed }
  if (found !== undefined) return { active: last, empty: false, ...found, unsealed }
  return { ...recoverBefore(folder, last, names.at(-2), open), unsealed }
}

/** The active segment has no rows: the one before says where the stream goes on. */
function recoverBefore(
  folder: string,
  last: string,
  before: string | undefined,
  open: OpenDatabase,
): Omit<Recovered, 'unsealed'> {
  const first = firstPositionOf(last)
  const found =
    before === undefined
      ? { end: 0, offsets: new Map<number, number>() }
      : readEnd(path.join(folder, before), open)
  if (found === undefined || (before === undefined && first !== 0)) {
    throw new SluiceError(
      'storage',
      `${folder} has no records before the empty segment ${last}, so the next offsets are unknown`,
    )
  }
  if (found.end === first) return { active: last, empty: true, ...found }
  removeDatabase(path.join(folder, last))
  return { active: undefined, empty: true, ...found }
}

/** The names of a folder's segments, oldest first. */
export function segmentNames(folder: string): string[] {
  return fs
    .readdirSync(folder)
    .filter((name) => firstPositionOf(name) !== undefined)
    .sort()
}

/**
 * Seals happen in order, so the unsealed ones are the last few; one with a WAL file further back
 * is one whose seal was given up because readers held it.
 */
function unsealedAmong(folder: string, names: readonly string[]): string[] {
  const entries = new Set(fs.readdirSync(folder))
  const found: string[] = []
  let sealedSeen = false
  for (const name of names.toReversed()) {
    if (!sealedSeen) sealedSeen = !isUnsealed(folder, name)
    if (!sealedSeen || entries.has(`${name}-wal`)) found.unshift(name)
  }
  return found
}

function readEnd(file: string, open: OpenDatabase): SegmentEnd | undefined {
  const db = open(file)
  try {
    checkFormat(db, file)
    return segmentEnd(db)
  } catch (cause) {
    if (cause instanceof SluiceError) throw cause
    throw new SluiceError('storage', `${file}: ${messageOf(cause)}`, { cause })
  } finally {
    db.close()
  }
}

export interface SegmentEnd {
  /** Nothing is appended to it any more. */
  readonly isSealed: boolean
  readonly end: number
  readonly offsets: ReadonlyMap<number, number>
}

/** The position and offsets after a segment's last record; undefined when it has no rows yet. */
export function segmentEnd(db: Database.Database): SegmentEnd | undefined {
  const segment = db.prepare('SELECT first_position, end_position FROM segment').raw().get()
  if (segment === undefined) return undefined
  const [firstPosition, endPosition] = segment as [number, number | null]
  const partitions = db
    .prepare('SELECT partition, first_offset, end_offset FROM partition')
    .raw()
    .all() as [number, number, number | null][]
  if (endPosition !== null) {
    const offsets = new Map(partitions.map(([p, f, e]) => [p, e ?? f]))
    return { isSealed: true, end: endPosition, offsets }
  }
  const last = db.prepare('SELECT max(position) FROM record').pluck().get() as number | null
  const end = last === null ? firstPosition : last + 1
  return { isSealed: false, end, offsets: lastOffsets(db, end, partitions) }
}

/**
 * Walks back from the end until each partition was seen; those that were not have their first
 * offset. Each step goes on where the one before stopped, so even a partition without any record
 * costs one pass inside SQLite (8 M rows/s), and the usual case a few rows.
 */
function lastOffsets(
  db: Database.Database,
  end: number,
  partitions: readonly (readonly [number, number, number | null])[],
): Map<number, number> {
  const offsets = new Map(partitions.map(([partition, first]) => [partition, first]))
  const missing = new Set(offsets.keys())
  let before = end
  while (missing.size > 0) {
    const row = db
      .prepare(
        `SELECT position, partition, offset FROM record
         WHERE position < ? AND partition IN (${[...missing].join(',')})
         ORDER BY position DESC LIMIT 1`,
      )
      .raw()
      .get(before) as [number, number, number] | undefined
    if (row === undefined) break
    const [position, partition, offset] = row
    assert(missing.delete(partition), `partition ${partition} is looked for`)
    offsets.set(partition, offset + 1)
    before = position
  }
  return offsets
}
