/**
 * The tables of `state.db`, read whole at a start and changed by lists of operations. Columns are
 * in docs/FORMAT.md.
 */
import type Database from 'better-sqlite3'
import { SluiceError } from '../../base/errors.ts'
import { failPoint } from '../../base/fail-point.ts'
import { asPosition } from '../record.ts'
import { type Boot, clockQualities, type Gap, gapReasons } from '../state.ts'
import { DOCUMENT_TABLE, documentKinds, dropDocument, putDocument } from './document-table.ts'
import type { CursorRow, StateOp } from './protocol.ts'

/** Raised with each change of the tables that older versions would misread. */
export const STATE_FORMAT = 1
/**
 * Boots that are remembered; a row for each start would grow for ever under a supervisor that
 * restarts a gateway every second. The records of older boots keep the wall time they have.
 */
const BOOTS_MAX = 10_000

/** Everything in a `state.db`. */
export interface StateImage {
  readonly meta: ReadonlyMap<string, number>
  readonly cursors: readonly CursorRow[]
  /** By rising id. */
  readonly gaps: readonly Gap[]
  readonly boots: readonly Boot[]
  /** Kinds that there are documents of; the documents are read as they are asked for. */
  readonly documentKinds: readonly string[]
  /** The highest boot number; 0 when there was none. */
  readonly lastBoot: number
}

export const emptyImage: StateImage = {
  meta: new Map(),
  cursors: [],
  gaps: [],
  boots: [],
  documentKinds: [],
  lastBoot: 0,
}

/** Makes what is missing, also in a file that knows only boots. Throws `format-unknown`. */
export function migrate(db: Database.Database, file: string): void {
  db.transaction(() => {
    db.exec(`
      CREATE TABLE IF NOT EXISTS boot (boot INTEGER PRIMARY KEY, started INTEGER NOT NULL);
      CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS cursor (
        name     TEXT PRIMARY KEY,
        stream   TEXT NOT NULL,
        position INTEGER,
        offsets  TEXT,
        updated  INTEGER NOT NULL
      ) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS gap (
        id             INTEGER PRIMARY KEY,
        stream         TEXT NOT NULL,
        cursor         TEXT,
        first_position INTEGER NOT NULL,
        end_position   INTEGER NOT NULL,
        records        INTEGER NOT NULL,
        bytes          INTEGER NOT NULL,
        reason         TEXT NOT NULL,
        time           INTEGER NOT NULL
      );${DOCUMENT_TABLE}`)
    checkFormat(db, file)
    if (!hasColumn(db, 'boot', 'quality')) {
      db.exec('ALTER TABLE boot ADD COLUMN quality TEXT; ALTER TABLE boot ADD COLUMN offset REAL;')
    }
    const set = db.prepare('INSERT OR IGNORE INTO meta (key, value) VALUES (?, ?)')
    set.run('format', STATE_FORMAT)
    set.run('epoch', 1)
  }).immediate()
}

/** Reads everything; tables that are not there yet count as empty. Throws `format-unknown`. */
export function readImage(db: Database.Database, file: string): StateImage {
  return db.transaction(() => {
    const rows = <T>(table: string, sql: string): T[] =>
      hasTable(db, table) ? (db.prepare(sql).all() as T[]) : []
    if (hasTable(db, 'meta')) checkFormat(db, file)
    const meta = rows<{ key: string; value: number }>('meta', 'SELECT key, value FROM meta')
    const lastBoot = rows<{ last: number | null }>('boot', 'SELECT max(boot) AS last FROM boot')
    return {
      meta: new Map(meta.map(({ key, value }) => [key, value])),
      cursors: rows<CursorRow>(
        'cursor',
        'SELECT name, stream, position, offsets, updated AS updatedMs FROM cursor',
      ),
      gaps: rows<GapRow>('gap', 'SELECT * FROM gap ORDER BY id').flatMap(gapOf),
      boots: bootsIn(db),
      documentKinds: hasTable(db, 'document') ? documentKinds(db) : [],
      lastBoot: lastBoot[0]?.last ?? 0,
    }
  })()
}

/** Numbers a run, at least `bootMin`, and forgets the oldest ones. */
export function addBoot(db: Database.Database, startedMs: number, bootMin: number): number {
  return db
    .transaction(() => {
      const { last } = db.prepare('SELECT max(boot) AS last FROM boot').get() as {
        last: number | null
      }
      const boot = Math.max((last ?? 0) + 1, bootMin)
      const started = Math.round(startedMs)
      db.prepare('INSERT INTO boot (boot, started) VALUES (?, ?)').run(boot, started)
      db.prepare('DELETE FROM boot WHERE boot <= ?').run(boot - BOOTS_MAX)
      return boot
    })
    .immediate()
}

/** Applies a list as one transaction. */
export function applyOps(db: Database.Database, ops: readonly StateOp[]): void {
  db.transaction(() => {
    for (const op of ops) apply(db, op)
    failPoint('state:before-commit')
  }).immediate()
  failPoint('state:committed')
}

function apply(db: Database.Database, op: StateOp): void {
  switch (op.kind) {
    case 'put-cursor':
      db.prepare(
        `INSERT OR REPLACE INTO cursor (name, stream, position, offsets, updated)
         VALUES (@name, @stream, @position, @offsets, @updatedMs)`,
      ).run(op.row)
      break
    case 'drop-cursor':
      db.prepare('DELETE FROM cursor WHERE name = ?').run(op.name)
      break
    case 'put-gap':
      putGap(db, op.row)
      break
    case 'drop-gap':
      db.prepare('DELETE FROM gap WHERE id = ?').run(op.id)
      break
    case 'put-meta':
      db.prepare('INSERT OR REPLACE INTO meta (key, value) VALUES (@key, @value)').run(op.row)
      break
    case 'put-boot':
      db.prepare('UPDATE boot SET quality = @quality, offset = @offsetMs WHERE boot = @boot').run(
        op.row,
      )
      break
    case 'put-document':
      putDocument(db, op.of, op.key, op.value)
      break
    case 'drop-document':
      dropDocument(db, op.of, op.key)
      break
    default:
      op satisfies never
  }
}

interface GapRow {
  readonly id: number
  readonly stream: string
  readonly cursor: string | null
  readonly first_position: number
  readonly end_position: number
  readonly records: number
  readonly bytes: number
  readonly reason: string
  readonly time: number
}

function putGap(db: Database.Database, gap: Gap): void {
  const row: GapRow = {
    id: gap.id,
    stream: gap.stream,
    cursor: gap.cursor ?? null,
    first_position: gap.first,
    end_position: gap.end,
    records: gap.records,
    bytes: gap.sizeBytes,
    reason: gap.reason,
    time: gap.timeMs,
  }
  db.prepare(
    `INSERT OR REPLACE INTO gap VALUES
     (@id, @stream, @cursor, @first_position, @end_position, @records, @bytes, @reason, @time)`,
  ).run(row)
}

/** A reason of a later version is left out of the list; its counts stay in the totals. */
function gapOf(row: GapRow): Gap[] {
  const reason = gapReasons.find((known) => known === row.reason)
  if (reason === undefined) return []
  return [
    {
      id: row.id,
      stream: row.stream,
      cursor: row.cursor ?? undefined,
      first: asPosition(row.first_position),
      end: asPosition(row.end_position),
      records: row.records,
      sizeBytes: row.bytes,
      reason,
      timeMs: row.time,
    },
  ]
}

/**
 * What is known of the time of boots; those of which only the number is known say nothing about it.
 */
export function bootsIn(db: Database.Database): Boot[] {
  if (!hasTable(db, 'boot') || !hasColumn(db, 'boot', 'quality')) return []
  const rows = db
    .prepare('SELECT boot, quality, offset FROM boot WHERE offset IS NOT NULL ORDER BY boot')
    .all() as { boot: number; quality: string | null; offset: number }[]
  return rows.map(({ boot, quality, offset }) => ({
    boot,
    quality: clockQualities.find((known) => known === quality) ?? 'none',
    offsetMs: offset,
  }))
}

function checkFormat(db: Database.Database, file: string): void {
  const row = db.prepare("SELECT value FROM meta WHERE key = 'format'").get() as
    | { value: number }
    | undefined
  if (row === undefined || row.value === STATE_FORMAT) return
  throw new SluiceError(
    'format-unknown',
    `${file} has state format ${row.value}; this version knows ${STATE_FORMAT}`,
  )
}

function hasTable(db: Database.Database, table: string): boolean {
  const sql = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?"
  return db.prepare(sql).get(table) !== undefined
}

function hasColumn(db: Database.Database, table: string, column: string): boolean {
  const columns = db.pragma(`table_info(${table})`) as { name: string }[]
  return columns.some(({ name }) => name === column)
}
