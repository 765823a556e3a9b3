/**
 * Builds the sound segment that takes a damaged one's place: what could be salvaged, the holes
 * between, and where each partition begins and ends. It is sealed: nothing is appended to it.
 *
 *   first            holes of the segment                 end = the next segment's first
 *     │ records │ hole │ records │ hole                    │
 *
 * Of the last segment the end is not known for sure: damage may have taken records that were
 * acknowledged, and their positions must not be given out a second time. So the stream goes on at a
 * position that no lost record can have reached. `slack` is how many could have stood behind the
 * last readable one; each of them may have been of any partition, so each partition's next offset
 * jumps by as many as there are positions missing behind its last record.
 */
import type Database from 'better-sqlite3'
import { APPLICATION_ID, SEGMENT_FORMAT, SEGMENT_TABLES } from '../segment.ts'
import { openDatabase, removeDatabase, syncPath } from '../writer/segment-file.ts'
import { HOLE_TABLE, type Hole } from './holes.ts'
import { salvageRecords } from './salvage.ts'
import { SegmentPages } from './segment-pages.ts'

/** The stream goes on at a multiple of this, so that people see that there was a jump. */
const ROUND_TO = 1000

/** What the neighbours of a segment say about it. */
export interface Surroundings {
  readonly stream: string
  readonly first: number
  /** How many the stream has by its settings; 0 where they are not known. */
  readonly partitions: number
  /** Where the next segment begins; undefined: this is the last one. */
  readonly nextFirst: number | undefined
  /** Where each partition ends in the segment before; and begins in the one after. */
  readonly offsetsBefore: ReadonlyMap<number, number>
  readonly offsetsAfter: ReadonlyMap<number, number>
  /** Records that may have stood behind the last readable one. */
  readonly slack: number
}

export interface Rebuilt {
  readonly records: number
  readonly holes: readonly Hole[]
  readonly end: number
  /** Of the salvaged records: what the lost ones are estimated by. */
  readonly sizeBytes: number
}

/** Builds the segment at `target` from the files at `source`, which stay as they are. */
export function rebuildSegment(source: string, target: string, around: Surroundings): Rebuilt {
  removeDatabase(target)
  try {
    const rebuilt = build(source, target, around)
    syncPath(target)
    return rebuilt
  } catch (thrown) {
    // On a full disk what is half done would take the others' space.
    removeDatabase(target)
    throw thrown
  }
}

function build(source: string, target: string, around: Surroundings): Rebuilt {
  const pages = new SegmentPages(source)
  const db = openDatabase(target)
  try {
    db.pragma('page_size = 4096')
    // A working file until it is renamed, and synced as a whole before that.
    db.pragma('journal_mode = OFF')
    db.pragma('synchronous = OFF')
    db.exec(`PRAGMA application_id = ${APPLICATION_ID};
      PRAGMA user_version = ${SEGMENT_FORMAT};
      ${SEGMENT_TABLES}
      ${HOLE_TABLE}`)
    db.exec('BEGIN')
    const limit = around.nextFirst ?? Number.MAX_SAFE_INTEGER
    const found = salvageRecords(pages, db, around.first, limit)
    const rebuilt = finish(db, around, found)
    db.exec('COMMIT')
    return rebuilt
  } finally {
    db.close()
    pages.close()
  }
}

/** Writes holes, partitions and the segment's own row behind the records. */
function finish(
  db: Database.Database,
  around: Surroundings,
  found: ReadonlyMap<number, number>,
): Rebuilt {
  const walk = new Walk(around.first)
  const rows = db.prepare('SELECT position, partition, offset FROM record ORDER BY position').raw()
  for (const row of rows.iterate()) walk.see(row as [number, number, number])
  const end = around.nextFirst ?? jumped(walk.next, around.slack)
  walk.endAt(end)
  const hole = db.prepare('INSERT INTO hole VALUES (?, ?)')
  for (const { first, end: holeEnd } of walk.holes) hole.run(first, holeEnd)
  writePartitions(db, around, found, walk)
  db.prepare(
    `INSERT INTO segment VALUES (?, ?, ?,
       (SELECT time FROM record ORDER BY position LIMIT 1),
       (SELECT time FROM record ORDER BY position DESC LIMIT 1))`,
  ).run(around.stream, around.first, end)
  const [records, sizeBytes] = db
    .prepare('SELECT count(*), coalesce(sum(length(payload)), 0) FROM record')
    .raw()
    .get() as [number, number]
  return { records, holes: walk.holes, end, sizeBytes }
}

function jumped(next: number, slack: number): number {
  return slack === 0 ? next : Math.ceil((next + slack) / ROUND_TO) * ROUND_TO
}

/** What a walk over the records in order tells. */
class Walk {
  readonly holes: Hole[] = []
  next: number
  missing = 0
  /** `missing`: positions that were missing so far at the partition's last record. */
  readonly partitions = new Map<number, { first: number; end: number; missing: number }>()

  constructor(first: number) {
    this.next = first
  }

  see([position, partition, offset]: readonly [number, number, number]): void {
    this.endAt(position)
    this.next = position + 1
    const first = this.partitions.get(partition)?.first ?? offset
    this.partitions.set(partition, { first, end: offset + 1, missing: this.missing })
  }

  endAt(position: number): void {
    if (this.next < position) {
      this.holes.push({ first: this.next, end: position })
      this.missing += position - this.next
    }
    this.next = Math.max(this.next, position)
  }
}

function writePartitions(
  db: Database.Database,
  around: Surroundings,
  found: ReadonlyMap<number, number>,
  walk: Walk,
): void {
  const { offsetsBefore, offsetsAfter, nextFirst } = around
  const numbers = new Set([...found.keys(), ...walk.partitions.keys(), ...offsetsBefore.keys()])
  for (let p = 0; p < around.partitions; p++) numbers.add(p)
  if (nextFirst !== undefined) for (const p of offsetsAfter.keys()) numbers.add(p)
  const insert = db.prepare('INSERT INTO partition VALUES (?, ?, ?)')
  for (const partition of numbers) {
    const seen = walk.partitions.get(partition)
    const after = nextFirst === undefined ? undefined : offsetsAfter.get(partition)
    const highest = seen?.first ?? after ?? Number.MAX_SAFE_INTEGER
    // The rows of the damaged file have no checksum: they count only where they can be true.
    const said = [offsetsBefore.get(partition), found.get(partition)]
    const possible = said.filter((offset) => offset !== undefined && offset <= highest)
    const first = Math.max(-1, ...(possible as number[]))
    // Where nothing is known: an offset is never higher than its record's position.
    const firstOffset = first >= 0 ? first : (seen?.first ?? after ?? around.first)
    const last = seen?.end ?? firstOffset
    // Holes before its last record took none that could come behind it.
    const missing = walk.missing - (seen?.missing ?? 0)
    insert.run(partition, firstOffset, Math.max(last, after ?? last + missing))
  }
}
