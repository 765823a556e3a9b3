/**
 * Reads what is left of a damaged segment into a sound one.
 *
 * R1. Only a record whose checksum fits comes over, with its position and offset. The checksum
 *     covers position, offset, partition, boot, times, names and payload, so a record that fits is
 *     the record that was appended, wherever its bytes were found.
 * R2. So every leaf page is looked at, whatever the b-tree says: of the database file, of the WAL,
 *     and of the frames that SQLite would drop as the torn end of the WAL.
 * R3. Frames that SQLite would drop may also be leftovers: of a transaction that was rolled back,
 *     or cut off by a kill, and whose positions were given out again. So they count only for
 *     positions behind the last record that was found elsewhere, only if they are not older than
 *     that (by boot, then monotonic time), and of two the younger one.
 * R4. Names are found by their ids; where damage leaves several candidates, the checksum decides.
 *
 * Reading is by raw pages and never through SQLite, which changes what it opens (recovers the WAL,
 * deletes it), trusts the upper pages of the b-tree, and gives up a table at the first fault.
 */
import { crc32 } from 'node:zlib'
import type Database from 'better-sqlite3'
import { type EntryParts, entryBytes, type Name, writeEntry } from '../entry.ts'
import type { Cell, Value } from './cells.ts'
import type { SegmentPages } from './segment-pages.ts'

const RECORD_COLUMNS = 12
const PARTITION_COLUMNS = 3
const NAME_COLUMNS = 2
/** Names kept to look up at once; then they are looked up again. */
const NAMES_MAX = 10_000
/** Pairs of names that are tried for a record. */
const TRIES_MAX = 64
const PARTITION_END = 65_536
const NONE = new Uint8Array(0)

/**
 * Copies the good records of [first, limit) into the empty tables of `target`. Gives the first
 * offsets by partition as they were found; no checksum covers those.
 */
export function salvageRecords(
  pages: SegmentPages,
  target: Database.Database,
  first: number,
  limit: number,
): ReadonlyMap<number, number> {
  const names = new Candidates(target)
  const partitions = new Map<number, number>()
  for (const leaf of pages.leaves()) {
    if (leaf.columns.has(NAME_COLUMNS)) names.addAll(pages, leaf.cells)
    if (leaf.columns.has(PARTITION_COLUMNS)) addPartitions(partitions, pages, leaf.cells)
  }
  const insert = new Insert(target)
  const known = new Positions(first)
  for (const { cells, columns, isBeyond } of pages.leaves()) {
    if (!columns.has(RECORD_COLUMNS) || isBeyond) continue
    for (const cell of cells) {
      if (cell.rowid < first || cell.rowid >= limit || known.has(cell.rowid)) continue
      const found = verified(pages, cell, names)
      if (found === undefined) continue
      insert.record(found.parts, found.checksum)
      known.add(cell.rowid)
    }
  }
  salvageBeyond(pages, names, insert, last(target, first), limit)
  names.drop()
  return partitions
}

interface Last {
  readonly position: number
  readonly boot: number
  readonly monotonicUs: number
}

function last(db: Database.Database, first: number): Last {
  const row = db
    .prepare('SELECT position, boot, monotonic FROM record ORDER BY position DESC LIMIT 1')
    .raw()
    .get() as [number, number, number] | undefined
  return { position: row?.[0] ?? first - 1, boot: row?.[1] ?? 0, monotonicUs: row?.[2] ?? 0 }
}

/** R3. */
function salvageBeyond(
  pages: SegmentPages,
  names: Candidates,
  insert: Insert,
  before: Last,
  limit: number,
): void {
  for (const { cells, columns, isBeyond } of pages.leaves()) {
    if (!columns.has(RECORD_COLUMNS) || !isBeyond) continue
    for (const cell of cells) {
      if (cell.rowid <= before.position || cell.rowid >= limit) continue
      const found = verified(pages, cell, names)
      if (found === undefined) continue
      const { boot, monotonicUs } = found.parts
      const isOlder =
        boot < before.boot || (boot === before.boot && monotonicUs < before.monotonicUs)
      if (!isOlder) insert.record(found.parts, found.checksum)
    }
  }
}

function addPartitions(
  partitions: Map<number, number>,
  pages: SegmentPages,
  cells: readonly Cell[],
): void {
  for (const cell of cells) {
    const columns = pages.columns(cell, 0)
    if (columns?.length !== PARTITION_COLUMNS) continue
    const firstOffset = columns[1]
    if (typeof firstOffset !== 'number' || !Number.isSafeInteger(firstOffset)) continue
    if (firstOffset < 0 || cell.rowid >= PARTITION_END || partitions.has(cell.rowid)) continue
    partitions.set(cell.rowid, firstOffset)
  }
}

interface Verified {
  readonly parts: EntryParts
  readonly checksum: number
}

function verified(pages: SegmentPages, cell: Cell, names: Candidates): Verified | undefined {
  const attempts = cell.overflowPage === 0 ? 1 : pages.attempts
  for (let attempt = 0; attempt < attempts; attempt++) {
    const columns = pages.columns(cell, attempt)
    const found = columns && verify(cell.rowid, columns, names)
    if (found !== undefined) return found
  }
  return undefined
}

function verify(
  position: number,
  values: readonly Value[],
  names: Candidates,
): Verified | undefined {
  const [, partition, offset, topicId, clientId, flags, boot, monotonic, time, checksum] = values
  const properties = values[10] ?? NONE
  const payload = values[11]
  if (!isBytes(properties) || !isBytes(payload)) return undefined
  if (!isCount(partition) || !isCount(offset) || !isCount(flags) || !isCount(boot)) return undefined
  if (!isCount(monotonic) || typeof time !== 'number' || !isCount(checksum)) return undefined
  if (!isCount(topicId) || !isCount(clientId) || partition >= PARTITION_END) return undefined
  let tries = 0
  for (const topic of names.of(topicId)) {
    for (const client of names.of(clientId)) {
      if (++tries > TRIES_MAX) return undefined
      const parts: EntryParts = {
        position,
        partition,
        offset,
        topic,
        client,
        flags,
        boot,
        monotonicUs: monotonic,
        timeMs: time,
        properties,
        payload,
      }
      if (crc32(writeEntry(new Uint8Array(entryBytes(parts)), 0, parts, 0, 0)) === checksum) {
        return { parts, checksum }
      }
    }
  }
  return undefined
}

function isBytes(value: Value | Uint8Array | undefined): value is Uint8Array {
  return value instanceof Uint8Array
}

function isCount(value: Value | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/** Names by id as the leaves have them; a table in the target's memory, however many there are. */
class Candidates {
  private readonly db: Database.Database
  private readonly insert: Database.Statement
  private readonly select: Database.Statement
  private readonly known = new Map<number, readonly Name[]>()

  constructor(db: Database.Database) {
    this.db = db
    db.exec(`PRAGMA temp_store = MEMORY;
      CREATE TEMP TABLE candidate (id INTEGER, name BLOB, PRIMARY KEY (id, name)) WITHOUT ROWID`)
    this.insert = db.prepare('INSERT OR IGNORE INTO candidate VALUES (?, ?)')
    this.select = db.prepare('SELECT name FROM candidate WHERE id = ?').pluck()
  }

  addAll(pages: SegmentPages, cells: readonly Cell[]): void {
    for (const cell of cells) {
      for (let attempt = 0; attempt < (cell.overflowPage === 0 ? 1 : pages.attempts); attempt++) {
        const name = pages.columns(cell, attempt)?.[1]
        if (name instanceof Uint8Array && name.length < 65_536) this.insert.run(cell.rowid, name)
      }
    }
  }

  of(id: number): readonly Name[] {
    const known = this.known.get(id)
    if (known !== undefined) return known
    const names = (this.select.all(id) as Buffer[]).map((bytes) => ({
      text: bytes.toString('utf8'),
      bytes,
    }))
    if (this.known.size >= NAMES_MAX) this.known.clear()
    this.known.set(id, names)
    return names
  }

  drop(): void {
    this.db.exec('DROP TABLE candidate')
  }
}

/** Inserts records; of two for one position the younger one stays (R3). */
class Insert {
  private readonly statement: Database.Statement
  private readonly topics: NewNames
  private readonly clients: NewNames

  constructor(db: Database.Database) {
    this.topics = new NewNames(db, 'topic')
    this.clients = new NewNames(db, 'client')
    this.statement = db.prepare(`INSERT INTO record VALUES (?,?,?,?,?,?,?,?,?,?,?,?)
      ON CONFLICT (position) DO UPDATE SET
        partition = excluded.partition, offset = excluded.offset, topic = excluded.topic,
        client = excluded.client, flags = excluded.flags, boot = excluded.boot,
        monotonic = excluded.monotonic, time = excluded.time, checksum = excluded.checksum,
        properties = excluded.properties, payload = excluded.payload
      WHERE (excluded.boot, excluded.monotonic) > (boot, monotonic)`)
  }

  record(parts: EntryParts, checksum: number): void {
    this.statement.run(
      parts.position,
      parts.partition,
      parts.offset,
      this.topics.idOf(parts.topic),
      this.clients.idOf(parts.client),
      parts.flags,
      parts.boot,
      parts.monotonicUs,
      parts.timeMs,
      checksum,
      parts.properties.length === 0 ? null : parts.properties,
      parts.payload,
    )
  }
}

/** Ids of names in the new segment; a name that was forgotten gets a second row, as names may. */
class NewNames {
  private readonly insert: Database.Statement
  private readonly ids = new Map<string, number>()

  constructor(db: Database.Database, table: 'topic' | 'client') {
    this.insert = db.prepare(`INSERT INTO ${table} (name) VALUES (?)`)
  }

  idOf({ text }: Name): number {
    const known = this.ids.get(text)
    if (known !== undefined) return known
    const id = Number(this.insert.run(text).lastInsertRowid)
    if (this.ids.size >= NAMES_MAX) this.ids.clear()
    this.ids.set(text, id)
    return id
  }
}

/** A set of positions near `first`, a bit each: millions must fit a small thread. */
class Positions {
  private readonly first: number
  private bits = new Uint8Array(4096)

  constructor(first: number) {
    this.first = first
  }

  has(position: number): boolean {
    const at = position - this.first
    return (((this.bits[Math.floor(at / 8)] ?? 0) >> (at % 8)) & 1) === 1
  }

  add(position: number): void {
    const at = position - this.first
    const index = Math.floor(at / 8)
    if (index >= this.bits.length) {
      const grown = new Uint8Array(Math.max(index + 1, this.bits.length * 2))
      grown.set(this.bits)
      this.bits = grown
    }
    this.bits[index] = (this.bits[index] ?? 0) | (1 << (at % 8))
  }
}
