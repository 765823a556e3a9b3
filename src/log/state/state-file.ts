/**
 * `state.db` opened for writing: by the state thread, at a start, and by commands while no gateway
 * runs. Every call is synchronous and durable when it returns.
 *
 * After a failure nothing is assumed of the file: it is closed, and the next write opens it again
 * and moves the WAL into the database first. A failed sync can leave frames in the page cache that
 * no later sync writes; behind them nothing would be durable, so nothing is put behind them.
 */
import fs from 'node:fs'
import path from 'node:path'
import type Database from 'better-sqlite3'
import { codeOf, messageOf, SluiceError } from '../../base/errors.ts'
import type { Document } from '../state.ts'
import { type OpenDatabase, openDatabase, syncFolder } from '../writer/segment-file.ts'
import { readDocuments } from './document-table.ts'
import type { DocumentQuery, ReserveState, StateOp } from './protocol.ts'
import { diskFreeBytes, Reserve } from './reserve.ts'
import { addBoot, applyOps, migrate, readImage, type StateImage } from './tables.ts'

export const STATE_FILE = 'state.db'
/**
 * Pages in the WAL before they are moved into the database, 256 KiB: on a full disk the WAL must
 * not need the space that the reserve gave. Nobody waits for it but the state thread.
 */
const WAL_PAGES_MAX = 64
const CACHE_KIB = 512
/** How long a write waits for a reader of another process. */
const BUSY_WAIT_MS = 5000

export interface StateFileSeams {
  readonly open: OpenDatabase
  readonly freeBytes: (folder: string) => number
}

export const realSeams: StateFileSeams = { open: openDatabase, freeBytes: diskFreeBytes }

export class StateFile {
  readonly file: string
  private readonly dataDir: string
  private readonly seams: StateFileSeams
  private readonly reserve: Reserve
  private db: Database.Database | undefined

  constructor(dataDir: string, seams: StateFileSeams = realSeams) {
    this.dataDir = dataDir
    this.file = path.join(dataDir, STATE_FILE)
    this.seams = seams
    this.reserve = new Reserve(dataDir, seams.freeBytes)
  }

  get reserveState(): ReserveState {
    return this.reserve.state
  }

  /** Everything in it. Throws `state-damaged`, `format-unknown` or `storage`, as all calls do. */
  read(): StateImage {
    return this.work('be read', (db) => readImage(db, this.file))
  }

  /** Numbers this run durably: no two boots of a data directory share a number. */
  addBoot(startedMs: number, bootMin: number): number {
    return this.work('be written', (db) => addBoot(db, startedMs, bootMin))
  }

  /** Applies all of them in one transaction, or none. */
  write(ops: readonly StateOp[]): void {
    this.work('be written', (db) => applyOps(db, ops))
  }

  /** Documents in key order, at most a page of them. */
  documents(query: DocumentQuery): readonly Document[] {
    return this.work('be read', (db) => readDocuments(db, query))
  }

  close(): void {
    const { db } = this
    this.db = undefined
    db?.close()
  }

  /** Runs `work`, a second time when the disk was full and the reserve gave room. */
  private work<T>(verb: string, work: (db: Database.Database) => T): T {
    try {
      const done = this.attempt(work)
      this.reserve.restore()
      return done
    } catch (thrown) {
      throw this.explained(verb, thrown)
    }
  }

  private attempt<T>(work: (db: Database.Database) => T): T {
    try {
      return this.opened(work)
    } catch (thrown) {
      if (!isFull(thrown) || !this.reserve.spend()) throw thrown
      return this.opened(work)
    }
  }

  private opened<T>(work: (db: Database.Database) => T): T {
    try {
      this.db ??= this.open()
      return work(this.db)
    } catch (thrown) {
      this.drop()
      throw thrown
    }
  }

  private open(): Database.Database {
    // A folder that is gone (a card pulled out) is a trouble; better-sqlite3 calls it a wrong call.
    fs.statSync(this.dataDir)
    const isNew = !fs.existsSync(this.file)
    const db = this.seams.open(this.file)
    try {
      db.pragma(`busy_timeout = ${BUSY_WAIT_MS}`)
      db.pragma('journal_mode = WAL')
      db.pragma('synchronous = FULL')
      db.pragma(`wal_autocheckpoint = ${WAL_PAGES_MAX}`)
      db.pragma(`cache_size = -${CACHE_KIB}`)
      emptyWal(db)
      migrate(db, this.file)
    } catch (thrown) {
      db.close()
      throw thrown
    }
    if (isNew) syncFolder(this.dataDir)
    return db
  }

  /** Lets go of a connection that failed; what its close says adds nothing to that. */
  private drop(): void {
    const { db } = this
    this.db = undefined
    try {
      db?.close()
    } catch (thrown) {
      if (codeOf(thrown) === undefined) throw thrown
    }
  }

  private explained(verb: string, thrown: unknown): unknown {
    const code = codeOf(thrown)
    if (code === undefined || thrown instanceof SluiceError) return thrown
    const damaged = isDamage(code)
    return new SluiceError(
      damaged ? 'state-damaged' : 'storage',
      `${this.file} ${damaged ? 'is damaged' : `cannot ${verb}`}: ${messageOf(thrown)} (${code})`,
      { cause: thrown },
    )
  }
}

/** Whatever the last process left in the WAL becomes part of the database, synced. */
function emptyWal(db: Database.Database): void {
  const [{ busy }] = db.pragma('wal_checkpoint(TRUNCATE)') as [{ busy: number }]
  if (busy === 0) return
  throw Object.assign(new Error('somebody reads it and does not let go'), { code: 'SQLITE_BUSY' })
}

/** The file is not what SQLite wrote. */
export function isDamage(code: string): boolean {
  return code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB'
}

/** Out of space, or of quota. */
export function isFull(thrown: unknown): boolean {
  const code = codeOf(thrown)
  return code === 'SQLITE_FULL' || code === 'ENOSPC' || code === 'EDQUOT'
}
