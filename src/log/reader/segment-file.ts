/**
 * One segment opened for reading, beside its writer, sealed, or in a copied directory.
 *
 * While a segment is in WAL mode, an open connection keeps the keeper from sealing it, so `release`
 * closes those between requests; a sealed one stays open. Opening costs about 0.1 ms. The file is
 * only ever touched through SQLite: closing another descriptor of it would drop the locks that the
 * writer holds in the same process.
 */
import fs from 'node:fs'
import Database from 'better-sqlite3'
import { codeOf, messageOf, SluiceError } from '../../base/errors.ts'
import { APPLICATION_ID, SEGMENT_FORMAT } from '../segment.ts'

/** How long a statement waits for a lock: the keeper holds it for the moment of a seal. */
const BUSY_WAIT_MS = 5000
/** Reads are sequential: a small page cache is as good as a large one, and memory is a promise. */
const CACHE_KIB = 512
/** SQLITE_ERROR: a table or a column is not there. */
const DAMAGE = /^SQLITE_(CORRUPT|NOTADB|FORMAT|IOERR_READ|IOERR_SHORT_READ|ERROR)/

/** The segment's file is gone: retention deletes whole segments while they may be read. */
export class SegmentGone extends Error {
  override readonly name = 'SegmentGone'
}

/**
 * Something in a segment is damaged: `file` is which, for whoever can repair it. A header that says
 * another format may be a newer one or a flipped bit: whoever repairs finds out.
 */
export class SegmentDamaged extends SluiceError {
  readonly file: string

  constructor(
    file: string,
    message: string,
    options?: { cause?: unknown },
    code: 'record-damaged' | 'format-unknown' = 'record-damaged',
  ) {
    super(code, message, options)
    this.file = file
  }
}

/** The statements of one connection, prepared when first used. */
export class SegmentConnection {
  readonly inWal: boolean
  private readonly db: Database.Database
  private readonly statements = new Map<string, Database.Statement>()

  constructor(file: string) {
    this.db = new Database(file, { readonly: true, timeout: BUSY_WAIT_MS })
    try {
      // The first statement that reads is where a WAL without its shared memory shows.
      checkFormat(this.db, file)
      this.inWal = this.db.pragma('journal_mode', { simple: true }) === 'wal'
      this.db.pragma(`cache_size = -${CACHE_KIB}`)
    } catch (cause) {
      this.db.close()
      throw cause
    }
  }

  /** A statement whose rows come as arrays. */
  rows(sql: string): Database.Statement {
    const known = this.statements.get(sql)
    if (known !== undefined) return known
    const statement = this.db.prepare(sql).raw()
    this.statements.set(sql, statement)
    return statement
  }

  close(): void {
    this.db.close()
  }
}

export class SegmentHandle {
  readonly file: string
  private connection: SegmentConnection | undefined

  constructor(file: string) {
    this.file = file
  }

  /** Runs `work` on the open segment. Troubles of the disk and of the file come as SluiceError. */
  use<T>(work: (connection: SegmentConnection) => T): T {
    try {
      this.connection ??= new SegmentConnection(this.file)
      return work(this.connection)
    } catch (thrown) {
      throw this.explained(thrown)
    }
  }

  /** Lets go of a segment that is still to be sealed. */
  release(): void {
    if (this.connection?.inWal === true) this.close()
  }

  close(): void {
    this.connection?.close()
    this.connection = undefined
  }

  private explained(thrown: unknown): unknown {
    const code = codeOf(thrown)
    if (code === undefined || !code.startsWith('SQLITE_')) return thrown
    if (!fs.existsSync(this.file)) return new SegmentGone(this.file)
    if (DAMAGE.test(code)) {
      return new SegmentDamaged(this.file, `${this.file} is damaged: ${messageOf(thrown)}`, {
        cause: thrown,
      })
    }
    const why =
      code === 'SQLITE_CANTOPEN'
        ? 'the file or its folder may not be written, and a segment that was not sealed needs that; copy the directory to where you may write'
        : messageOf(thrown)
    return new SluiceError('storage', `${this.file} cannot be read: ${why}`, { cause: thrown })
  }
}

function checkFormat(db: Database.Database, file: string): void {
  const application = db.pragma('application_id', { simple: true })
  const format = db.pragma('user_version', { simple: true })
  if (application === APPLICATION_ID && format === SEGMENT_FORMAT) return
  throw new SegmentDamaged(
    file,
    application === APPLICATION_ID
      ? `${file} has segment format ${String(format)}; this version knows ${SEGMENT_FORMAT}`
      : `${file} is not a segment of Sluice`,
    {},
    'format-unknown',
  )
}
