/**
 * Looks for damage in one segment, read-only and page-wise, so that it may run beside the writer of
 * another process. What it finds is a sentence; what no sentence can be made of (no right to read,
 * a newer format) is thrown.
 */
import fs from 'node:fs'
import Database from 'better-sqlite3'
import { codeOf, messageOf, SluiceError } from '../../base/errors.ts'
import { packPage } from '../reader/page.ts'
import { SegmentReader } from '../reader/segment-reader.ts'
import { APPLICATION_ID, SEGMENT_FORMAT, SEGMENT_TABLES } from '../segment.ts'
import { holePositions } from './holes.ts'
import { salvageRecords } from './salvage.ts'
import { SegmentPages } from './segment-pages.ts'
import { readWal } from './wal.ts'

/** What a segment says of itself when nothing is wrong with it. */
export interface SegmentFacts {
  /** It has no rows yet. */
  readonly isEmpty: boolean
  /** The position after the last record, or after the last hole of a salvaged one. */
  readonly end: number
  readonly isSealed: boolean
  /** It was put in the place of a damaged one. */
  readonly isSalvaged: boolean
  readonly lastBoot: number
}

export type Checked =
  | { readonly kind: 'sound'; readonly facts: SegmentFacts }
  | { readonly kind: 'damaged'; readonly why: string }

/**
 * Codes that say that the file, not the user's right to it nor the disk around it, is at fault. Of
 * the
 * I/O errors only those of reading: a full disk shows as IOERR_SHMSIZE, IOERR_WRITE and others, and
 * a healthy file must not be set aside for that.
 */
const DAMAGE = new RegExp(
  '^(SQLITE_CORRUPT|SQLITE_NOTADB|SQLITE_FORMAT|SQLITE_ERROR|EIO' +
    '|SQLITE_IOERR_(READ|SHORT_READ|CORRUPTFS|DATA))',
)
/** Codes of a medium that may answer at the second try. */
const PASSING = /^(SQLITE_IOERR|EIO)/
/** The records at the end of a segment that are checked at a start: a few milliseconds. */
const LAST_RECORDS = 1000
const MAGIC = 'SQLite format 3\0'

/**
 * The check of a start: structure (`quick_check`, 0.1 s for 64 MiB), names, rows, density, and the
 * checksums of the last records. For files that nobody in this process has open.
 */
export function checkSegment(file: string, stream: string, first: number): Checked {
  if (readWal(`${file}-wal`).isSuspect) {
    return damaged('commits in its WAL stand behind bytes that are damaged')
  }
  return checkDatabase(file, stream, first)
}

/** The same without the WAL's bytes, which change while a writer is at work. */
export function checkDatabase(file: string, stream: string, first: number): Checked {
  try {
    return checkOnce(file, stream, first)
  } catch (thrown) {
    if (!PASSING.test(codeOf(thrown) ?? '')) return damagedBy(thrown)
  }
  try {
    return checkOnce(file, stream, first)
  } catch (thrown) {
    return damagedBy(thrown)
  }
}

function checkOnce(file: string, stream: string, first: number): Checked {
  const isOurs = isSegment(file)
  if (isOurs !== undefined) return damaged(isOurs)
  const db = new Database(file, { readonly: true, fileMustExist: true, timeout: 5000 })
  try {
    return look(db, file, stream, first)
  } finally {
    db.close()
  }
}

/** Throws what does not tell of damage. */
function damagedBy(thrown: unknown): Checked {
  if (!isDamage(thrown)) throw thrown
  return damaged(messageOf(thrown))
}

/** Whether an error tells of damage in a file. */
export function isDamage(thrown: unknown): boolean {
  const code = codeOf(thrown)
  return code !== undefined && (code === 'record-damaged' || DAMAGE.test(code))
}

const damaged = (why: string): Checked => ({ kind: 'damaged', why })

function look(db: Database.Database, file: string, stream: string, first: number): Checked {
  const [problem] = db.pragma('quick_check(1)') as [{ quick_check: string }]
  if (problem.quick_check !== 'ok') return damaged(problem.quick_check)
  const row = db.prepare('SELECT stream, first_position, end_position FROM segment').raw().get() as
    | [string, number, number | null]
    | undefined
  const [count, least, most] = db
    .prepare('SELECT count(*), min(position), max(position) FROM record')
    .raw()
    .get() as [number, number | null, number | null]
  const isSalvaged = hasHoles(db)
  if (row === undefined) {
    if (count > 0) return damaged('it has records but no row that says of which stream')
    return sound({ isEmpty: true, end: first, isSealed: false, isSalvaged, lastBoot: 0 })
  }
  const [name, firstPosition, sealedEnd] = row
  if (name !== stream) return damaged(`it says that it is of the stream "${name}"`)
  if (firstPosition !== first) return damaged(`it says that it begins at ${firstPosition}`)
  const end = sealedEnd ?? (most === null ? first : most + 1)
  const missing = end - first - count - holesIn(db, isSalvaged, first, end)
  if (missing !== 0 || (least ?? first) < first || (most ?? first) >= Math.max(end, first + 1)) {
    return damaged(`it has ${count} records where [${first}, ${end}) has room for others`)
  }
  const partitions = db.prepare('SELECT count(*) FROM partition').pluck().get() as number
  if (partitions === 0) return damaged('its partitions are missing')
  checkLast(file, first, most === null ? first : most + 1)
  const lastBoot = db.prepare('SELECT boot FROM record ORDER BY position DESC LIMIT 1').pluck()
  const boot = (lastBoot.get() as number | undefined) ?? 0
  return sound({ isEmpty: false, end, isSealed: sealedEnd !== null, isSalvaged, lastBoot: boot })
}

const sound = (facts: SegmentFacts): Checked => ({ kind: 'sound', facts })

function hasHoles(db: Database.Database): boolean {
  const sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'hole'"
  return db.prepare(sql).get() !== undefined
}

function holesIn(db: Database.Database, isSalvaged: boolean, from: number, end: number): number {
  if (!isSalvaged) return 0
  const rows = db.prepare('SELECT first_position AS first, end_position AS "end" FROM hole').all()
  return holePositions(rows as { first: number; end: number }[], from, end)
}

/** Throws `record-damaged` when one of the last records does not fit its checksum. */
function checkLast(file: string, first: number, end: number): void {
  const reader = new SegmentReader({ file, first })
  try {
    let from = Math.max(first, end - LAST_RECORDS)
    while (from < end) {
      const { records, next } = reader.scan({
        from,
        end,
        partition: undefined,
        filters: undefined,
        recordsMax: LAST_RECORDS,
        bytesMax: 1024 * 1024,
      })
      const page = packPage(records, next, end)
      from = page.next
    }
  } finally {
    reader.close()
  }
}

/**
 * Undefined when the header says a segment of ours in the format we know; otherwise what is wrong
 * with the header of a file that is ours all the same. Throws `format-unknown` when it is not: a
 * newer format has other tables (that is what raises the number), so that nothing in it fits.
 */
function isSegment(file: string): string | undefined {
  const header = Buffer.alloc(100)
  const descriptor = fs.openSync(file, 'r')
  try {
    const read = fs.readSync(descriptor, header, 0, header.length, 0)
    if (read < header.length) return 'the file is empty or cut off'
  } finally {
    fs.closeSync(descriptor)
  }
  if (header.toString('latin1', 0, 16) !== MAGIC) return 'the file does not begin as a database'
  const db = new Database(file, { readonly: true, fileMustExist: true, timeout: 5000 })
  let format: unknown
  let application: unknown
  let tables: unknown
  try {
    application = db.pragma('application_id', { simple: true })
    format = db.pragma('user_version', { simple: true })
    tables = db.prepare("SELECT sql FROM sqlite_schema WHERE name = 'record'").pluck().get()
  } finally {
    db.close()
  }
  if (application === APPLICATION_ID && format === SEGMENT_FORMAT) return undefined
  if (holdsRecords(file) || (format === SEGMENT_FORMAT && isOurTable(tables))) {
    return `its header says application ${String(application)}, format ${String(format)}`
  }
  throw new SluiceError(
    'format-unknown',
    application === APPLICATION_ID
      ? `${file} has segment format ${String(format)}; this version knows ${SEGMENT_FORMAT}`
      : `${file} is not a segment of Sluice`,
  )
}

function isOurTable(sql: unknown): boolean {
  return typeof sql === 'string' && SEGMENT_TABLES.includes(sql)
}

/** Whether at least one record in the file fits its checksum as this version computes it. */
function holdsRecords(file: string): boolean {
  const pages = new SegmentPages(file)
  const db = new Database(':memory:')
  try {
    db.exec(SEGMENT_TABLES)
    salvageRecords(pages, db, 0, Number.MAX_SAFE_INTEGER)
    return db.prepare('SELECT 1 FROM record LIMIT 1').get() !== undefined
  } finally {
    db.close()
    pages.close()
  }
}
