/**
 * All pages that the files of a segment hold, of every age, read one by one so that memory stays
 * flat. Reads the files directly: only for files that nobody in this process writes (see
 * `syncWal` in writer/segment-file.ts).
 */
import fs from 'node:fs'
import { codeOf } from '../../base/errors.ts'
import { type Cell, cellsOf, columnsOf, PAGE_BYTES, type PageSource, type Value } from './cells.ts'
import { readWal, type Wal } from './wal.ts'

/** No row is larger: MQTT packets end at 256 MiB. */
const ROW_BYTES_MAX = 257 * 1024 * 1024

/** The leaf of some table, with its cells. */
export interface Leaf {
  readonly cells: readonly Cell[]
  /** How many columns its rows have, by a few of them: one that is damaged may say anything. */
  readonly columns: ReadonlySet<number>
  /** Of a WAL frame that SQLite does not take. */
  readonly isBeyond: boolean
}

export class SegmentPages {
  readonly wal: Wal
  /** Pages of the database file. */
  readonly count: number
  private readonly db: number | undefined
  private readonly walFile: number | undefined
  private readonly newest = new Map<number, number>()
  private readonly newestBeyond = new Map<number, number>()

  constructor(file: string) {
    this.wal = readWal(`${file}-wal`)
    this.db = openIfThere(file)
    this.walFile = this.wal.frames === 0 ? undefined : openIfThere(`${file}-wal`)
    this.count = this.db === undefined ? 0 : Math.ceil(fs.fstatSync(this.db).size / PAGE_BYTES)
    for (const { page, at } of this.wal.committed) this.newest.set(page, at)
    for (const { page, at } of this.wal.beyond) this.newestBeyond.set(page, at)
  }

  close(): void {
    for (const descriptor of [this.db, this.walFile]) {
      if (descriptor !== undefined) fs.closeSync(descriptor)
    }
  }

  /** Every leaf: of the database, of the commits in the WAL newest first, then of the rest. */
  *leaves(): Generator<Leaf> {
    for (let page = 1; page <= this.count; page++) {
      const leaf = this.leafOf(this.dbPage(page), page, false)
      if (leaf !== undefined) yield leaf
    }
    for (const { page, at } of this.wal.committed.toReversed()) {
      const leaf = this.leafOf(this.walPage(at), page, false)
      if (leaf !== undefined) yield leaf
    }
    for (const { page, at } of this.wal.beyond) {
      const leaf = this.leafOf(this.walPage(at), page, true)
      if (leaf !== undefined) yield leaf
    }
  }

  /**
   * The columns of a cell. An overflow page has one right content but may stand in several places
   * of which some are damaged: `attempt` picks where to look first.
   */
  columns(cell: Cell, attempt: number): Value[] | undefined {
    return columnsOf(cell, this.sources[attempt] ?? (() => undefined), ROW_BYTES_MAX)
  }

  private readonly sources: readonly PageSource[] = [
    (page) => this.walPage(this.newest.get(page)) ?? this.dbPage(page),
    (page) => this.dbPage(page),
    (page) => this.walPage(this.newestBeyond.get(page)) ?? this.dbPage(page),
  ]

  /** How many places `columns` can be asked to look in. */
  get attempts(): number {
    return this.sources.length
  }

  private leafOf(page: Buffer | undefined, number: number, isBeyond: boolean): Leaf | undefined {
    if (page === undefined) return undefined
    const cells = cellsOf(page, number)
    const columns = new Set<number>()
    // All rows of a leaf belong to one table; first, last and middle say which, damaged or not.
    for (const index of [0, cells.length - 1, cells.length >> 1]) {
      const cell = cells[index]
      const count = cell && this.columnCount(cell)
      if (count !== undefined) columns.add(count)
    }
    return columns.size === 0 ? undefined : { cells, columns, isBeyond }
  }

  private columnCount(cell: Cell): number | undefined {
    for (let attempt = 0; attempt < this.attempts; attempt++) {
      const columns = this.columns(cell, attempt)?.length
      if (columns !== undefined || cell.overflowPage === 0) return columns
    }
    return undefined
  }

  private dbPage(page: number): Buffer | undefined {
    if (this.db === undefined || page < 1 || page > this.count) return undefined
    return readAt(this.db, (page - 1) * PAGE_BYTES)
  }

  private walPage(at: number | undefined): Buffer | undefined {
    return at === undefined || this.walFile === undefined ? undefined : readAt(this.walFile, at)
  }
}

/** A page; undefined where the file ends or the disk cannot read it. */
function readAt(descriptor: number, at: number): Buffer | undefined {
  const page = Buffer.alloc(PAGE_BYTES)
  try {
    fs.readSync(descriptor, page, 0, PAGE_BYTES, at)
    return page
  } catch (thrown) {
    if (codeOf(thrown) === 'EIO') return undefined
    throw thrown
  }
}

function openIfThere(file: string): number | undefined {
  return fs.existsSync(file) ? fs.openSync(file, 'r') : undefined
}
