/**
 * Writes one stream: the synchronous core of the writer thread.
 *
 * W1. Entries come in position order; position and offset are what this file expects next (L1).
 * W2. A transaction holds whole entries of one segment; `commit` returns only after SQLite did what
 *     the ack rule asks (L2). The first commit of a segment comes after its name is durable.
 * W3. After any storage error the stream is halted until a restart: the open transaction is rolled
 *     back, and nothing is written or reported committed from then on.
 * W4. Everything that may take long (checkpoint, seal, making the next segment) is ordered from the
 *     keeper, never done in here, except making a segment that is needed now and is not there,
 *     and the last few pages of a checkpoint.
 */
import fs from 'node:fs'
import path from 'node:path'
import type Database from 'better-sqlite3'
import { assert, present } from '../../base/assert.ts'
import { codeOf, messageOf } from '../../base/errors.ts'
import { segmentFileName } from '../segment.ts'
import type { Committed, KeeperOrder, StreamEnd, WriterStream } from './protocol.ts'
import { recover } from './recovery.ts'
import {
  createSegmentFile,
  NEXT_FILE,
  type OpenDatabase,
  openSegmentFile,
  ROLL_FILE,
  syncFolder,
  syncWal,
} from './segment-file.ts'
import { SegmentRows, type SlabMemory } from './segment-rows.ts'

export interface StreamWriterOptions {
  readonly index: number
  readonly stream: WriterStream
  readonly folder: string
  readonly segmentBytes: number
  readonly walBytesMax: number
  readonly open: OpenDatabase
}

interface Segment {
  readonly name: string
  readonly db: Database.Database
  readonly rows: SegmentRows
  sizeBytes: number
  headDue: boolean
}

const WAL_FRAME_BYTES = 4096 + 24

export class StreamWriter {
  /** Why the stream is halted (W3); undefined while it works. */
  failure: string | undefined
  /** Work for the keeper since the last look; the worker takes it. */
  orders: KeeperOrder[] = []
  /** Of the open transaction. */
  openRecords = 0
  openBytes = 0

  private readonly options: StreamWriterOptions
  private segment: Segment | undefined
  private nextPosition = 0
  private nextOffsets: number[] = []
  /** Partitions without a row in the active segment. */
  private partitionsDue: number[] = []
  private readonly retiring = new Map<string, Database.Database>()
  private inTransaction = false
  /** An estimate of what the keeper has not yet moved out of the WAL. */
  private walBytes = 0
  private checkpointing = false
  private walEndDue = false
  private prepared = false

  constructor(options: StreamWriterOptions) {
    this.options = options
  }

  /** Recovers the stream and opens its active segment. Throws SluiceError or a storage error. */
  open(): StreamEnd {
    const { folder, stream, index } = this.options
    const found = recover(folder, this.options.open)
    this.nextPosition = found.end
    const partitions = Math.max(stream.partitions, ...[...found.offsets.keys()].map((p) => p + 1))
    this.nextOffsets = Array.from({ length: partitions }, (_, p) => found.offsets.get(p) ?? 0)
    if (found.active === undefined) this.openNext()
    else this.openSegment(found.active, found.empty)
    if (!found.empty) {
      this.partitionsDue = [...this.nextOffsets.keys()].filter((p) => !found.offsets.has(p))
    }
    this.orders = found.unsealed.map((file) => ({ kind: 'seal', stream: index, file }))
    return { end: this.nextPosition, offsets: [...this.nextOffsets] }
  }

  /** Adds the entry at `at` to the open transaction; skips it when the stream is halted. */
  insert(slab: SlabMemory, at: number): void {
    if (this.failure !== undefined) return
    try {
      if (!this.inTransaction) this.begin()
      const { view } = slab
      const position = view.getFloat64(at + 16, true)
      const offset = view.getFloat64(at + 24, true)
      const partition = view.getUint16(at + 52, true)
      if (position !== this.nextPosition || offset !== this.nextOffsets[partition]) {
        assert(false, `W1: position ${position}, offset ${offset} of ${partition} come next`)
      }
      this.active.rows.add(slab, at)
      this.nextPosition = position + 1
      this.nextOffsets[partition] = offset + 1
      this.openRecords++
      this.openBytes += view.getUint32(at, true)
    } catch (thrown) {
      this.halt(thrown)
    }
  }

  /** Commits the open transaction; undefined when there was none or it failed (see `failure`). */
  commit(): Committed | undefined {
    if (!this.inTransaction) return undefined
    const began = performance.now()
    const records = this.openRecords
    const sizeBytes = this.openBytes
    try {
      this.active.rows.commit()
    } catch (thrown) {
      this.halt(thrown)
      return undefined
    }
    this.inTransaction = false
    this.openRecords = 0
    this.openBytes = 0
    this.account(sizeBytes)
    return {
      stream: this.options.index,
      records,
      sizeBytes,
      durationMs: performance.now() - began,
    }
  }

  /** The keeper holds a full segment open: this handle may go without a checkpoint on its way. */
  release(file: string): void {
    this.retiring.get(file)?.close()
    this.retiring.delete(file)
  }

  checkpointed(caughtUp: boolean): void {
    this.checkpointing = false
    this.walEndDue = caughtUp
  }

  /**
   * Moves the last pages of the WAL once the keeper has moved the rest, so that the next commit
   * begins the WAL anew. The keeper alone never gets there while commits keep coming; and a commit
   * into a WAL that does not grow is synced in 0.17 ms instead of 0.28 (ext4). About 1 ms, once for
   * each `walBytesMax`. A fault here loses nothing, and the keeper tells of it at its next turn.
   */
  restartWal(): void {
    if (!this.walEndDue || this.inTransaction || this.failure !== undefined) return
    this.walEndDue = false
    try {
      this.active.db.pragma('wal_checkpoint(PASSIVE)')
    } catch (thrown) {
      if (codeOf(thrown) === undefined) throw thrown
    }
  }

  /** Closes every file; the open transaction must be committed or halted. */
  close(): void {
    assert(!this.inTransaction, 'a transaction is open at close')
    for (const db of this.retiring.values()) db.close()
    this.retiring.clear()
    this.segment?.db.close()
    this.segment = undefined
  }

  private get active(): Segment {
    return present(this.segment, 'the active segment')
  }

  private begin(): void {
    if (this.active.sizeBytes >= this.options.segmentBytes) this.roll()
    const { rows, headDue } = this.active
    rows.begin()
    this.inTransaction = true
    if (headDue) rows.writeHead(this.options.stream.name, this.nextPosition)
    this.active.headDue = false
    for (const p of this.partitionsDue) rows.writePartition(p, this.nextOffsets[p] ?? 0)
    this.partitionsDue = []
  }

  /** Leaves the full segment to the keeper and goes on in a new one. */
  private roll(): void {
    const full = this.active
    // Without a sync at each commit, the new segment could reach the disk before the end of this
    // one, and a power loss would leave a hole between them.
    if (this.options.stream.ackAfter !== 'fsync') syncWal(this.fileOf(full.name))
    this.openNext()
    this.retiring.set(full.name, full.db)
    this.orders.push({ kind: 'seal', stream: this.options.index, file: full.name })
  }

  /** Opens the segment that begins at the next position: the keeper's, or one made now (W4). */
  private openNext(): void {
    const { folder, open } = this.options
    const name = segmentFileName(this.nextPosition)
    if (fs.existsSync(this.fileOf(NEXT_FILE))) {
      fs.renameSync(this.fileOf(NEXT_FILE), this.fileOf(name))
    } else {
      createSegmentFile(this.fileOf(ROLL_FILE), open)
      fs.renameSync(this.fileOf(ROLL_FILE), this.fileOf(name))
    }
    syncFolder(folder)
    this.openSegment(name, true)
  }

  private openSegment(name: string, empty: boolean): void {
    const { stream, open } = this.options
    const db = openSegmentFile(this.fileOf(name), stream.ackAfter, open)
    const pages = Number(db.pragma('page_count', { simple: true }))
    const sizeBytes = empty ? 0 : pages * 4096
    this.segment = { name, db, rows: new SegmentRows(db), sizeBytes, headDue: empty }
    this.partitionsDue = empty ? [...this.nextOffsets.keys()] : []
    this.walBytes = fs.statSync(`${this.fileOf(name)}-wal`, { throwIfNoEntry: false })?.size ?? 0
    this.walEndDue = false
    this.prepared = false
  }

  /** Counts a commit and orders from the keeper what is due. */
  private account(sizeBytes: number): void {
    const { index, segmentBytes, walBytesMax } = this.options
    const segment = this.active
    segment.sizeBytes += sizeBytes
    // Each commit writes its new pages plus the last page of the table and now and then its parent.
    this.walBytes += Math.ceil(sizeBytes / 4096) * WAL_FRAME_BYTES + WAL_FRAME_BYTES
    if (this.walBytes >= walBytesMax && !this.checkpointing) {
      this.orders.push({ kind: 'checkpoint', stream: index, file: segment.name })
      this.checkpointing = true
      this.walBytes = 0
    }
    if (segment.sizeBytes >= segmentBytes / 2 && !this.prepared) {
      this.orders.push({ kind: 'prepare', stream: index })
      this.prepared = true
    }
  }

  private fileOf(name: string): string {
    return path.join(this.options.folder, name)
  }

  /** W3. What carries no error code did not come from the disk: a bug, which ends the process. */
  private halt(thrown: unknown): void {
    const code = codeOf(thrown)
    if (code === undefined) throw thrown
    this.failure = `${messageOf(thrown)} (${code})`
    this.openRecords = 0
    this.openBytes = 0
    this.inTransaction = false
    try {
      if (this.segment?.db.inTransaction === true) this.segment.db.exec('ROLLBACK')
    } catch (second) {
      this.failure += `; and the rollback failed: ${messageOf(second)}`
    }
  }
}
