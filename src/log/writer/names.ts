import type Database from 'better-sqlite3'

/** One segment's names at most this many, and this much text, are kept to look up. */
const NAMES_MAX = 65_536
const NAME_BYTES_MAX = 4 * 1024 * 1024

/**
 * The ids of topic or client names in one segment. A name gets its row when it is first used; the
 * ref that the main thread gives finds the id without decoding the text. Bounded: when full it
 * forgets everything, and a name that is used again then gets a second row, which readers accept.
 */
export class NameTable {
  private readonly byRef = new Map<number, number>()
  private readonly byName = new Map<string, number>()
  private readonly insert: Database.Statement
  private nextId: number
  private sizeBytes = 0

  /** `table` is "topic" or "client". Loads what the segment has, because refs are new each boot. */
  constructor(db: Database.Database, table: 'topic' | 'client') {
    this.insert = db.prepare(`INSERT INTO ${table} (id, name) VALUES (?, ?)`)
    this.nextId = 1 + ((db.prepare(`SELECT max(id) FROM ${table}`).pluck().get() as number) ?? 0)
    const rows = db.prepare(`SELECT id, name FROM ${table} LIMIT ?`).raw()
    for (const row of rows.iterate(NAMES_MAX)) {
      const [id, name] = row as [number, string]
      this.remember(name, id)
      if (this.sizeBytes > NAME_BYTES_MAX) break
    }
  }

  /** The id of a name whose bytes stand at [at, at + length). Ref 0 stands for no ref. */
  idOf(ref: number, memory: Buffer, at: number, length: number): number {
    const known = this.byRef.get(ref)
    if (known !== undefined && ref !== 0) return known
    const name = memory.toString('utf8', at, at + length)
    let id = this.byName.get(name)
    if (id === undefined) {
      id = this.nextId++
      this.insert.run(id, name)
      this.remember(name, id)
    }
    if (this.byRef.size >= NAMES_MAX) this.byRef.clear()
    this.byRef.set(ref, id)
    return id
  }

  private remember(name: string, id: number): void {
    if (this.byName.size >= NAMES_MAX || this.sizeBytes > NAME_BYTES_MAX) {
      this.byName.clear()
      this.byRef.clear()
      this.sizeBytes = 0
    }
    this.byName.set(name, id)
    this.sizeBytes += name.length
  }
}
