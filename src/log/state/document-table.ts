/** Documents in `state.db`, read in pages: some owners have more than fits in memory at once. */
import type Database from 'better-sqlite3'
import type { Document } from '../state.ts'
import type { DocumentQuery } from './protocol.ts'

export const DOCUMENT_TABLE = `
  CREATE TABLE IF NOT EXISTS document (
    kind  TEXT NOT NULL,
    key   TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (kind, key)
  ) WITHOUT ROWID;`

/** A page ends with the document that passes one of these: the state thread writes in between. */
const PAGE_ROWS = 1000
const PAGE_BYTES = 1024 * 1024

/** By file: a start with a hundred thousand documents must not prepare as many statements. */
const prepared = new WeakMap<Database.Database, Map<string, Database.Statement>>()

export function putDocument(
  db: Database.Database,
  kind: string,
  key: string,
  value: Uint8Array,
): void {
  statement(db, 'INSERT OR REPLACE INTO document VALUES (?, ?, ?)').run(kind, key, value)
}

export function dropDocument(db: Database.Database, kind: string, key: string): void {
  statement(db, 'DELETE FROM document WHERE kind = ? AND key = ?').run(kind, key)
}

/** Those of the keys that there are, or a page of those behind a key; none behind the last. */
export function readDocuments(db: Database.Database, query: DocumentQuery): Document[] {
  if ('keys' in query) {
    const one = statement(db, 'SELECT key, value FROM document WHERE kind = ? AND key = ?')
    return query.keys.flatMap((key) => (one.get(query.of, key) as Document | undefined) ?? [])
  }
  const rows: Document[] = []
  let sizeBytes = 0
  for (const row of rowsBehind(db, query.of, query.after)) {
    rows.push(row)
    sizeBytes += row.value.length
    if (rows.length >= PAGE_ROWS || sizeBytes >= PAGE_BYTES) break
  }
  return rows
}

/** An empty key is a key as well, so behind nothing is not behind an empty one. */
function rowsBehind(
  db: Database.Database,
  kind: string,
  after: string | undefined,
): IterableIterator<Document> {
  const all = 'SELECT key, value FROM document WHERE kind = ?'
  const rows =
    after === undefined
      ? statement(db, `${all} ORDER BY key`).iterate(kind)
      : statement(db, `${all} AND key > ? ORDER BY key`).iterate(kind, after)
  return rows as IterableIterator<Document>
}

/** By one step in the index for each kind, not by a pass over the documents. */
export function documentKinds(db: Database.Database): string[] {
  const next = db.prepare('SELECT min(kind) FROM document WHERE kind > ?').pluck()
  const kinds: string[] = []
  for (;;) {
    const found = next.get(kinds.at(-1) ?? '') as string | null
    if (found === null) return kinds
    kinds.push(found)
  }
}

/** The order of keys in SQLite: by UTF-8, not by UTF-16 as JavaScript has it. */
export function inOrder(a: string, b: string): number {
  return a === b ? 0 : Buffer.compare(Buffer.from(a), Buffer.from(b))
}

function statement(db: Database.Database, sql: string): Database.Statement {
  const known = prepared.get(db) ?? new Map<string, Database.Statement>()
  prepared.set(db, known)
  const found = known.get(sql) ?? db.prepare(sql)
  known.set(sql, found)
  return found
}
