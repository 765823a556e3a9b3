import fs from 'node:fs'
import Database from 'better-sqlite3'
import { removeDatabase } from '../writer/segment-file.ts'

/** How long a statement waits for a lock: the keeper holds it for the moment of a seal. */
const BUSY_WAIT_MS = 5000
/** 1 MiB a step, so that other work of this process, such as a signal, gets its turn. */
const STEP_PAGES = 256
/** A database in rollback mode is copied in one step: its writer waits while a step runs. */
const ALL_PAGES = 0x7fff_ffff

/**
 * Copies a database that its writer goes on with, as it is at one moment, to a plain file without a
 * WAL. The writer of a WAL is not held up: it may append, and only begins its WAL anew later.
 *
 * One read transaction spans the copy. Without it every commit of the writer would make the copy
 * begin again, and beside a busy writer it would never end.
 */
export async function snapshot(source: Database.Database, target: string): Promise<void> {
  removeDatabase(target)
  if (isInWal(source)) {
    source.exec('BEGIN')
    try {
      // The transaction takes its moment with the first statement that reads.
      source.prepare('SELECT count(*) FROM sqlite_master').get()
      await source.backup(target, { progress: () => STEP_PAGES })
    } finally {
      source.exec('COMMIT')
    }
  } else {
    await source.backup(target, { progress: () => ALL_PAGES })
  }
  fs.chmodSync(target, 0o600)
}

/** Opens a database beside its writer, read-only. */
export function openLive(file: string): Database.Database {
  return new Database(file, { readonly: true, fileMustExist: true, timeout: BUSY_WAIT_MS })
}

export function isInWal(db: Database.Database): boolean {
  return db.pragma('journal_mode', { simple: true }) === 'wal'
}

/** Works on a copy that nobody else has open, and leaves it a plain file without a WAL. */
export function settleCopy<T>(copy: string, work: (db: Database.Database) => T): T {
  const db = new Database(copy, { fileMustExist: true })
  try {
    db.pragma('journal_mode = DELETE')
    db.pragma('synchronous = FULL')
    return work(db)
  } finally {
    db.close()
  }
}
