import type Database from 'better-sqlite3'
import { codeOf } from '../../base/errors.ts'
import { failPoint } from '../../base/fail-point.ts'
import { segmentEnd } from '../writer/recovery.ts'

/**
 * Tries to make a full segment one plain, final file: where it ends is written into it, the WAL
 * goes into the database file, and rollback-journal mode removes the WAL, so that any tool can
 * read a copy of it. In this order, so that a file out of WAL mode is always a finished one.
 *
 * False when somebody else has it open; then it stays readable as it is and can be tried again.
 * Throws the storage error otherwise.
 */
export function trySeal(db: Database.Database): boolean {
  try {
    failPoint('seal:before-end')
    writeEnd(db)
    failPoint('seal:end-written')
    db.pragma('wal_checkpoint(TRUNCATE)')
    failPoint('seal:before-mode-switch')
    // Leaving WAL mode rewrites two bytes of the header. MEMORY, because a journal file that a
    // crash leaves behind here would keep read-only readers out; and the bytes lie in one sector
    // of a page that is otherwise unchanged, so that no crash can tear them. All that the file
    // keeps of this is "not WAL": whoever opens it next has the default, DELETE.
    const mode = db.pragma('journal_mode = MEMORY', { simple: true })
    failPoint('seal:mode-switched')
    return mode === 'memory'
  } catch (thrown) {
    if (codeOf(thrown)?.startsWith('SQLITE_BUSY') === true) return false
    throw thrown
  }
}

function writeEnd(db: Database.Database): void {
  const found = segmentEnd(db)
  if (found === undefined) return
  const time = 'SELECT time FROM record ORDER BY position'
  const write = db.transaction(() => {
    db.prepare(
      `UPDATE segment SET end_position = ?,
         first_time = (${time} LIMIT 1), last_time = (${time} DESC LIMIT 1)`,
    ).run(found.end)
    const partition = db.prepare('UPDATE partition SET end_offset = ? WHERE partition = ?')
    for (const [number, offset] of found.offsets) partition.run(offset, number)
  })
  write.immediate()
}
