/**
 * A damaged `state.db` is set aside, whole, and an empty one takes its place: cursors are lost, so
 * consumers begin at the earliest record that is kept (duplicates, not loss), and the epoch rises,
 * because what was confirmed under the old one cannot be known any more.
 */
import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { codeOf, messageOf, SluiceError } from '../../base/errors.ts'
import { STATE_FILE } from '../state/state-file.ts'
import { readImage } from '../state/tables.ts'
import { syncFolder } from '../writer/segment-file.ts'
import { isDamage } from './check-segment.ts'
import { makeQuarantine, quarantineName } from './notes.ts'
import { hasOurTables, nonsenseIn } from './state-sense.ts'

const ENDINGS = ['', '-wal', '-shm', '-journal']

/**
 * Why `state.db` cannot be used; undefined when it can, or is not there. Who holds the lock may
 * write: a power loss while the file was made leaves a journal that SQLite must play back first.
 */
export function checkState(dataDir: string, access: 'read' | 'write'): string | undefined {
  const file = path.join(dataDir, STATE_FILE)
  const size = fs.statSync(file, { throwIfNoEntry: false })?.size
  if (size === undefined) return undefined
  if (size === 0) return 'the file is empty'
  try {
    const readonly = access === 'read'
    const db = new Database(file, { readonly, fileMustExist: true, timeout: 5000 })
    try {
      const [problem] = db.pragma('integrity_check(1)') as [{ integrity_check: string }]
      if (problem.integrity_check !== 'ok') return problem.integrity_check
      return nonsenseIn(readImage(db, file))
    } catch (thrown) {
      // Of a format that no version has: the number itself is damaged.
      if (codeOf(thrown) === 'format-unknown' && hasOurTables(db)) return messageOf(thrown)
      throw thrown
    } finally {
      db.close()
    }
  } catch (thrown) {
    // A row that cannot be read as what it is (a negative position) is damage, too.
    const isStorage = codeOf(thrown) !== undefined && !isDamage(thrown)
    if (thrown instanceof SluiceError || isStorage) throw thrown
    return messageOf(thrown)
  }
}

/** Moves `state.db` to the quarantine; gives its name there. */
export function setStateAside(dataDir: string): string {
  const folder = path.dirname(makeQuarantine(dataDir, 'state'))
  const aside = path.join(folder, 'state')
  const name = quarantineName(aside, STATE_FILE)
  // The database last: as long as it is there, a start that begins anew finds it damaged again.
  for (const ending of ENDINGS.toReversed()) {
    const file = path.join(dataDir, STATE_FILE + ending)
    if (fs.existsSync(file)) fs.renameSync(file, path.join(aside, name + ending))
  }
  syncFolder(aside)
  syncFolder(dataDir)
  return `state/${name}`
}
