/**
 * Making, opening and naming segment files on the writing side.
 *
 * A segment is made under a working name, complete and synced, and then renamed: so a file with a
 * position for its name is always a whole segment, whatever moment the power went.
 */
import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { SluiceError } from '../../base/errors.ts'
import type { AckRule } from '../log.ts'
import { APPLICATION_ID, SEGMENT_FORMAT, SEGMENT_TABLES } from '../segment.ts'

/** How a database file is opened: a seam, so that tests can let the disk fail. */
export type OpenDatabase = (file: string) => Database.Database

export const openDatabase: OpenDatabase = (file) => new Database(file)

/** A segment that the keeper made in advance. */
export const NEXT_FILE = 'next.db'
/** The keeper's and the writer's working names; what a crash leaves of them is deleted at open. */
export const PREPARE_FILE = 'prepare.db'
export const ROLL_FILE = 'roll.db'
/** The sound segment that a repair puts in the place of a damaged one. */
export const SALVAGE_FILE = 'salvage.db'

/** Page cache of one segment: an append point touches few pages, and idle memory is a promise. */
const CACHE_KIB = 2048

/** Makes an empty segment in WAL mode at `file`, synced and closed. */
export function createSegmentFile(file: string, open: OpenDatabase): void {
  removeDatabase(file)
  const db = open(file)
  try {
    // The tables go in with a rollback journal: one transaction, synced before close returns.
    db.pragma('page_size = 4096')
    db.pragma('journal_mode = DELETE')
    db.pragma('synchronous = FULL')
    db.exec(`BEGIN;
      PRAGMA application_id = ${APPLICATION_ID};
      PRAGMA user_version = ${SEGMENT_FORMAT};
      ${SEGMENT_TABLES}
      COMMIT;`)
    db.pragma('journal_mode = WAL')
  } finally {
    db.close()
  }
}

/** Opens a segment for appending under the stream's ack rule. */
export function openSegmentFile(
  file: string,
  ackAfter: AckRule,
  open: OpenDatabase,
): Database.Database {
  const db = open(file)
  try {
    checkFormat(db, file)
    db.pragma('journal_mode = WAL')
    db.pragma(`synchronous = ${ackAfter === 'fsync' ? 'FULL' : 'NORMAL'}`)
    // Checkpoints are the keeper's: inside a commit they raise its p99 from 1 to 12-48 ms.
    db.pragma('wal_autocheckpoint = 0')
    db.pragma(`cache_size = -${CACHE_KIB}`)
  } catch (cause) {
    db.close()
    throw cause
  }
  return db
}

/** Throws `format-unknown` when the file is no segment or a newer one. */
export function checkFormat(db: Database.Database, file: string): void {
  const application = db.pragma('application_id', { simple: true })
  const format = db.pragma('user_version', { simple: true })
  if (application !== APPLICATION_ID) {
    throw new SluiceError('format-unknown', `${file} is not a segment of Sluice`)
  }
  if (format !== SEGMENT_FORMAT) {
    throw new SluiceError(
      'format-unknown',
      `${file} has segment format ${String(format)}; this version knows ${SEGMENT_FORMAT}`,
    )
  }
}

/** Makes the names in a folder durable: a rename counts only after this. */
export function syncFolder(folder: string): void {
  syncPath(folder)
}

/**
 * Syncs a segment's WAL file, if it has one. Only ever the WAL: closing any descriptor of the
 * database file itself would drop this process's POSIX locks on it.
 */
export function syncWal(segment: string): void {
  const wal = `${segment}-wal`
  if (fs.existsSync(wal)) syncPath(wal)
}

/** Deletes a database with its WAL, shared memory and journal, where they exist. */
export function removeDatabase(file: string): void {
  for (const ending of ['', '-wal', '-shm', '-journal']) fs.rmSync(file + ending, { force: true })
}

/**
 * Whether a segment that should be sealed is not yet: it has a WAL, or its header says WAL mode
 * (byte 18 of a SQLite file: 1 rollback journal, 2 WAL). Reads the file directly, so only for
 * files that nobody in this process has open (see syncWal).
 */
export function isUnsealed(folder: string, name: string): boolean {
  const file = path.join(folder, name)
  if (fs.existsSync(`${file}-wal`)) return true
  const header = Buffer.alloc(20)
  const descriptor = fs.openSync(file, 'r')
  try {
    fs.readSync(descriptor, header, 0, header.length, 0)
  } finally {
    fs.closeSync(descriptor)
  }
  return header[18] !== 1
}

/** Makes a file's bytes, or a folder's names, durable. */
export function syncPath(file: string): void {
  const descriptor = fs.openSync(file, 'r')
  try {
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
}
