/** Builds segment files by hand, so that readers are tested without the writer. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { crc32 } from 'node:zlib'
import Database from 'better-sqlite3'
import { type EntryParts, entryBytes, type Name, writeEntry } from '../../src/log/entry.ts'
import {
  APPLICATION_ID,
  SEGMENT_FORMAT,
  SEGMENT_TABLES,
  segmentFileName,
  streamFolder,
} from '../../src/log/segment.ts'

export interface BuiltRecord {
  readonly partition?: number
  readonly topic?: string
  readonly client?: string
  readonly qos?: number
  readonly retain?: boolean
  readonly timeMs?: number
  readonly properties?: Uint8Array
  readonly payload?: Uint8Array | string
}

/** A folder under the system's temporary one. */
export function temporaryDir(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'sluice-test-'))
}

/** Writes one stream of a data directory, segment after segment. */
export class SegmentBuilder {
  readonly folder: string
  private readonly stream: string
  private readonly offsets: number[]
  private db: Database.Database | undefined
  private position = 0

  constructor(dataDir: string, stream: string, partitions: number, firstPosition = 0) {
    this.folder = streamFolder(dataDir, stream)
    this.stream = stream
    this.offsets = new Array<number>(partitions).fill(0)
    this.position = firstPosition
    fs.mkdirSync(this.folder, { recursive: true })
  }

  get file(): string {
    return this.openDb().name
  }

  /** Begins the next segment at the present position; no rows are in it yet. */
  begin(): this {
    this.close()
    const db = new Database(path.join(this.folder, segmentFileName(this.position)))
    db.pragma(`application_id = ${APPLICATION_ID}`)
    db.pragma(`user_version = ${SEGMENT_FORMAT}`)
    db.exec(SEGMENT_TABLES)
    db.pragma('journal_mode = WAL')
    db.pragma('wal_autocheckpoint = 0')
    this.db = db
    return this
  }

  add(...records: readonly BuiltRecord[]): this {
    const db = this.openDb()
    if (db.prepare('SELECT 1 FROM segment').get() === undefined) this.writeHead(db)
    db.transaction(() => {
      for (const record of records) this.insert(db, record)
    })()
    return this
  }

  /** Writes any SQL into the present segment: for damage. */
  exec(sql: string): this {
    this.openDb().exec(sql)
    return this
  }

  /** Makes the present segment a plain file and closes it. */
  seal(): this {
    this.openDb().pragma('journal_mode = DELETE')
    this.close()
    return this
  }

  close(): void {
    this.db?.close()
    this.db = undefined
  }

  private openDb(): Database.Database {
    if (this.db === undefined) this.begin()
    if (this.db === undefined) throw new Error('begin opens a segment')
    return this.db
  }

  private writeHead(db: Database.Database): void {
    db.prepare('INSERT INTO segment (stream, first_position) VALUES (?, ?)').run(
      this.stream,
      this.position,
    )
    for (const [partition, offset] of this.offsets.entries()) {
      db.prepare('INSERT INTO partition (partition, first_offset) VALUES (?, ?)').run(
        partition,
        offset,
      )
    }
  }

  private insert(db: Database.Database, record: BuiltRecord): void {
    const { partition = 0, payload = '' } = record
    const parts: EntryParts = {
      position: this.position,
      partition,
      offset: this.offsets[partition] ?? 0,
      topic: nameOf(record.topic ?? 't'),
      client: nameOf(record.client ?? 'c'),
      flags: (record.qos ?? 1) | (record.retain === true ? 4 : 0),
      boot: 3,
      monotonicUs: this.position * 10,
      timeMs: record.timeMs ?? 1_000 + this.position,
      properties: record.properties ?? new Uint8Array(0),
      payload: typeof payload === 'string' ? Buffer.from(payload) : payload,
    }
    this.position++
    this.offsets[partition] = parts.offset + 1
    const checksum = crc32(writeEntry(new Uint8Array(entryBytes(parts)), 0, parts, 0, 0))
    db.prepare('INSERT INTO record VALUES (?,?,?,?,?,?,?,?,?,?,?,?)').run(
      parts.position,
      parts.partition,
      parts.offset,
      nameId(db, 'topic', parts.topic),
      nameId(db, 'client', parts.client),
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

function nameOf(text: string): Name {
  return { text, bytes: Buffer.from(text) }
}

function nameId(db: Database.Database, table: 'topic' | 'client', { text }: Name): number {
  const known = db.prepare(`SELECT id FROM ${table} WHERE name = ?`).pluck().get(text)
  if (typeof known === 'number') return known
  return Number(db.prepare(`INSERT INTO ${table} (name) VALUES (?)`).run(text).lastInsertRowid)
}
