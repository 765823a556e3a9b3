/** The boots that a data directory knows, for those who read it beside its gateway or as a copy. */
import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { systemClock } from '../../base/clock.ts'
import { codeOf, messageOf } from '../../base/errors.ts'
import { STATE_FILE } from '../state/state-file.ts'
import { bootsIn } from '../state/tables.ts'
import type { Boots } from './time-of.ts'

/** How long a read waits for a lock, which a gateway holds for a moment at its start and end. */
const BUSY_WAIT_MS = 5000
/**
 * How long an answer is good, so that a reader of many pages does not open the file for each.
 * Rejected: until the file's size or time changes. The frames of a commit stand in the WAL before
 * readers see them, and who looks in between would not look again.
 */
const KNOWN_US = 200_000

export class BootFile {
  /** Why records show the time that they were written with; undefined while all is well. */
  trouble: string | undefined
  private readonly file: string
  private known: Boots = new Map()
  private readAtUs = Number.NEGATIVE_INFINITY

  constructor(dataDir: string) {
    this.file = path.join(dataDir, STATE_FILE)
  }

  /**
   * As they were a moment ago. A state that cannot be read keeps nobody from reading records: they
   * show the time that they were written with.
   */
  boots(): Boots {
    const nowUs = systemClock.monotonicUs()
    if (nowUs - this.readAtUs < KNOWN_US) return this.known
    this.readAtUs = nowUs
    try {
      this.known = fs.existsSync(this.file) ? readBoots(this.file) : new Map()
      this.trouble = undefined
    } catch (thrown) {
      if (codeOf(thrown) === undefined) throw thrown
      const why = `${this.file} cannot be read: ${messageOf(thrown)}`
      this.trouble = `records show the time that they were written with, because ${why}`
      this.known = new Map()
    }
    return this.known
  }
}

function readBoots(file: string): Boots {
  const db = new Database(file, { readonly: true, timeout: BUSY_WAIT_MS })
  try {
    return new Map(bootsIn(db).map((boot) => [boot.boot, boot]))
  } finally {
    db.close()
  }
}
