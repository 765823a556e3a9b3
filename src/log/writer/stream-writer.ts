/**
 * Writes one stream: the synchronous core of the writer thread.
 *
 * W1. Entries come in position order; position and offset are what this file expects next (L1).
 * W2. A transaction holds whole entries of one segment; `commit` returns only after SQLite did what
 *     the ack rule asks (L2). The first commit of a segment comes after its name is durable.
 * W3. After any storage error the stream is suspended: the open transaction is rolled back, nothing
 *     is reported committed, and what waits stays, with its positions, until it can be written. It
 *     works again only when `retry` has proved the segment: its WAL is on the medium (proof.ts), no
 *     record that was reported is missing, and a new commit succeeds in it. Records of a commit
 *     that failed and that are on disk nevertheless count as committed by that proof.
 * W4. Everything that may take long (checkpoint, seal, making the next segment) is ordered from the
 *     keeper, never done in here, except making a segment that is needed now and is not there,
 *     and the last few pages of a checkpoint.
 */
import fs from 'node:fs'
import path from 'node:path'
import type Database from 'better-sqlite3'
import { assert, present } from '../../base/assert.ts'
import { codeOf, messageOf, SluiceError } from '../../base/errors.ts'
import { failPoint } from '../../base/fail-point.ts'
import { firstPositionOf, segmentFileName } from '../segment.ts'
import { probe, rewriteWal, testWrite } from './proof.ts'
import type { Checkpointed, Committed, KeeperOrder, StreamEnd, WriterStream } from './protocol.ts'
import { recover, segmentEnd } from './recovery.ts'
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
import { Waiting } from './waiting.ts'

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
/** A transaction ends here even if more waits: it bounds the wait of its first record. */
export const TRANSACTION_RECORDS_MAX = 1024
export const TRANSACTION_BYTES_MAX = 1024 * 1024
/** A hiccup passes within the first; a disk that is gone is asked no more often than the last. */
const RETRY_FIRST_MS = 250
const RETRY_MAX_MS = 5_000
/** Codes after which a sync may have failed, so that the page cache says nothing (proof.ts). */
const SYNC_SUSPECT = /^(SQLITE_IOERR|E[A-Z]+$)/

export class StreamWriter {
  /** Why the stream is suspended (W3); undefined while it works. */
  failure: string | undefined
  /** Records that were reported committed are not on disk: only a person can mend that. */
  lost = false
  /** How long to wait before the next `retry`. */
  retryDelayMs = 0
  /** Work for the keeper since the last look; the worker takes it. */
  orders: KeeperOrder[] = []
  /** Of the open transaction. */
  openRecords = 0
  openBytes = 0

  private readonly options: StreamWriterOptions
  private segment: Segment | undefined
  private nextPosition = 0
  private nextOffsets: number[] = []
  /** What was reported committed, or will be with the end of the suspension, ends here. */
  private committedEnd = 0
  /** Everything from `committedEnd` on; its first `openRecords` are in the open transaction. */
  private readonly waiting = new Waiting()
  /** Of failed commits, found on disk and not reported yet. */
  private foundRecords = 0
  private foundBytes = 0
  private walSuspect = false
  /** A checkpoint failed: the next proof of the segment takes one that succeeds. */
  private checkpointSuspect = false
  /** Partitions without a row in the active segment. */
  private partitionsDue: number[] = []
  private readonly retiring = new Map<string, Database.Database>()
  private inTransaction = false
  /** An estimate of what the keeper has not yet moved out of the WAL. */
  private walBytes = 0
  private checkpointing = false
  private walEndDue = false
  private prepared = false
  private retiringFile: string | undefined

  constructor(options: StreamWriterOptions) {
    this.options = options
  }

  /** Recovers the stream and opens its active segment. Throws SluiceError or a storage error. */
  open(): StreamEnd {
    const { folder, stream, index } = this.options
    const found = recover(folder, this.options.open)
    this.nextPosition = found.end
    this.committedEnd = found.end
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

  /** Adds the entry at `at` to the open transaction; while the stream is suspended it waits. */
  insert(slab: SlabMemory, at: number): void {
    this.waiting.push(slab, at)
    if (this.failure !== undefined) {
      this.waiting.leaveSlabs()
      return
    }
    try {
      this.write(slab, at)
    } catch (thrown) {
      this.suspend(thrown)
    }
  }

  /** Commits the open transaction; undefined when there was none or it failed (see `failure`). */
  commit(): Committed | undefined {
    if (!this.inTransaction) return undefined
    try {
      return this.commitOpen()
    } catch (thrown) {
      this.suspend(thrown)
      return undefined
    }
  }

  /**
   * For a suspended stream: proves the segment and commits the first of what waits, then the stream
   * works again (W3). What that committed, with what was found; undefined when that is nothing or
   * the stream stays suspended.
   */
  retry(): Committed | undefined {
    assert(this.failure !== undefined, 'only a suspended stream is tried again')
    try {
      this.reopen()
      this.writeSome()
      const done = this.inTransaction ? this.commitOpen() : undefined
      this.failure = undefined
      this.retryDelayMs = 0
      return this.withFound(done)
    } catch (thrown) {
      this.suspend(thrown)
      return undefined
    }
  }

  /**
   * After a `retry`: puts the next of what waited into a transaction, for `commit`. False when
   * nothing waits any more, or when it fails.
   */
  writeWaiting(): boolean {
    if (this.failure !== undefined) return false
    try {
      this.writeSome()
    } catch (thrown) {
      this.suspend(thrown)
    }
    return this.openRecords > 0
  }

  /** The keeper holds a full segment open: this handle may go without a checkpoint on its way. */
  release(file: string): void {
    this.retiring.get(file)?.close()
    this.retiring.delete(file)
  }

  /**
   * A checkpoint that failed suspends the stream (W3): its sync may have been the first one of what
   * a stream that commits without one has acknowledged, and the kernel reports a failed sync once.
   */
  checkpointed({ file, caughtUp, failure }: Checkpointed): void {
    this.checkpointing = false
    // Of a segment that is full now: its pages are moved again by its seal.
    if (this.segment?.name !== file) return
    this.walEndDue = caughtUp
    if (failure === undefined) return
    this.checkpointSuspect = true
    if (this.failure !== undefined) return
    this.suspend(Object.assign(new Error(failure.message), { code: failure.code }))
  }

  /**
   * Moves the last pages of the WAL once the keeper has moved the rest, so that the next commit
   * begins the WAL anew. The keeper alone never gets there while commits keep coming; and a commit
   * into a WAL that does not grow is synced in 0.17 ms instead of 0.28 (ext4). About 1 ms, once for
   * each `walBytesMax`. A fault here loses nothing; it suspends like any other (W3).
   */
  restartWal(): void {
    if (!this.walEndDue || this.inTransaction || this.failure !== undefined) return
    this.walEndDue = false
    try {
      this.active.db.pragma('wal_checkpoint(PASSIVE)')
    } catch (thrown) {
      this.suspend(thrown)
    }
  }

  /** If this is the active segment, no more transactions go into it: damage was found in it. */
  retire(file: string): void {
    this.retiringFile = file
  }

  /** After a commit: leaves a segment that is to be retired, also when nothing more comes. */
  retireDue(): void {
    const { retiringFile: file, segment } = this
    if (file === undefined || this.inTransaction || this.failure !== undefined) return
    try {
      if (segment?.name === file && !segment.headDue) this.roll()
      // Not before: a roll that failed is tried again once the stream works again.
      this.retiringFile = undefined
    } catch (thrown) {
      this.suspend(thrown)
    }
  }

  /** Closes every file; the open transaction must be committed or have failed. */
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

  private write(slab: SlabMemory, at: number): void {
    if (!this.inTransaction) this.begin()
    this.advance(slab, at)
    this.active.rows.add(slab, at)
    this.openRecords++
    this.openBytes += slab.view.getUint32(at, true)
  }

  /** W1 */
  private advance({ view }: SlabMemory, at: number): void {
    const position = view.getFloat64(at + 16, true)
    const offset = view.getFloat64(at + 24, true)
    const partition = view.getUint16(at + 52, true)
    if (position !== this.nextPosition || offset !== this.nextOffsets[partition]) {
      assert(false, `W1: position ${position}, offset ${offset} of ${partition} come next`)
    }
    this.nextPosition = position + 1
    this.nextOffsets[partition] = offset + 1
  }

  /** Writes what waits, as much as a transaction may hold. */
  private writeSome(): void {
    while (this.openRecords < TRANSACTION_RECORDS_MAX && this.openBytes < TRANSACTION_BYTES_MAX) {
      const entry = this.waiting.entry(this.openRecords)
      if (entry === undefined) return
      this.write(entry.slab, entry.at)
    }
  }

  private commitOpen(): Committed {
    const began = performance.now()
    const records = this.openRecords
    const sizeBytes = this.openBytes
    this.active.rows.commit()
    this.inTransaction = false
    this.openRecords = 0
    this.openBytes = 0
    this.waiting.drop(records)
    this.committedEnd = this.nextPosition
    this.account(sizeBytes)
    return {
      stream: this.options.index,
      records,
      sizeBytes,
      durationMs: performance.now() - began,
    }
  }

  private begin(): void {
    if (this.active.sizeBytes >= this.options.segmentBytes) this.roll()
    const { rows, headDue } = this.active
    rows.begin()
    this.inTransaction = true
    if (headDue) {
      rows.writeHead(this.options.stream.name, this.nextPosition)
      failPoint('roll:before-first-commit')
    }
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
    failPoint('roll:before-rename')
    if (fs.existsSync(this.fileOf(name))) {
      // An earlier try got this far. Under its name a segment is always whole.
    } else if (fs.existsSync(this.fileOf(NEXT_FILE))) {
      fs.renameSync(this.fileOf(NEXT_FILE), this.fileOf(name))
    } else {
      createSegmentFile(this.fileOf(ROLL_FILE), open)
      fs.renameSync(this.fileOf(ROLL_FILE), this.fileOf(name))
    }
    failPoint('roll:renamed')
    syncFolder(folder)
    this.openSegment(name, true)
  }

  private openSegment(name: string, empty: boolean): void {
    const { stream, open } = this.options
    const db = openSegmentFile(this.fileOf(name), stream.ackAfter, open)
    try {
      const pages = Number(db.pragma('page_count', { simple: true }))
      const sizeBytes = empty ? 0 : pages * 4096
      this.walBytes = fs.statSync(`${this.fileOf(name)}-wal`, { throwIfNoEntry: false })?.size ?? 0
      this.segment = { name, db, rows: new SegmentRows(db), sizeBytes, headDue: empty }
    } catch (cause) {
      db.close()
      throw cause
    }
    this.partitionsDue = empty ? [...this.nextOffsets.keys()] : []
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
  private suspend(thrown: unknown): void {
    const code = codeOf(thrown)
    if (code === undefined) throw thrown
    this.retryDelayMs =
      this.failure === undefined ? RETRY_FIRST_MS : Math.min(this.retryDelayMs * 2, RETRY_MAX_MS)
    this.failure = `${messageOf(thrown)} (${code})`
    this.walSuspect ||= SYNC_SUSPECT.test(code)
    this.openRecords = 0
    this.openBytes = 0
    this.inTransaction = false
    this.walEndDue = false
    this.waiting.leaveSlabs()
    this.rewind()
    try {
      if (this.segment?.db.inTransaction === true) this.segment.db.exec('ROLLBACK')
    } catch (second) {
      this.failure += `; and the rollback failed: ${messageOf(second)}`
    }
  }

  /** What waits comes next again. */
  private rewind(): void {
    this.nextPosition = this.committedEnd
    for (let index = this.waiting.count - 1; index >= 0; index--) {
      const entry = present(this.waiting.entry(index), 'an entry that waits')
      const partition = entry.slab.view.getUint16(entry.at + 52, true)
      this.nextOffsets[partition] = entry.slab.view.getFloat64(entry.at + 24, true)
    }
  }

  /**
   * Opens the active segment anew and proves it (W3). The old connection is closed only here: as
   * long as it is open nobody takes what a failed commit left in the WAL for committed, and closing
   * it may move the WAL into the database, which is safe only once the WAL is on the medium.
   *
   * A roll that failed behind its rename has left the next segment under its name. The stream goes
   * on in that one: with more records in this one, an empty segment would stand between records.
   */
  private reopen(): void {
    const { name, db, sizeBytes } = this.active
    const file = this.fileOf(name)
    probe(this.options.folder)
    if (this.walSuspect) rewriteWal(file)
    this.walSuspect = false
    db.close()
    this.lost = !fs.existsSync(file)
    if (this.lost) throw new SluiceError('storage', `${file} is gone`)
    this.openSegment(name, false)
    // What was counted may be more than what is in its pages, and says when it is full.
    this.active.sizeBytes = Math.max(this.active.sizeBytes, sizeBytes)
    const found = segmentEnd(this.active.db)
    this.active.headDue = found === undefined
    if (found === undefined) this.active.sizeBytes = 0
    this.partitionsDue = [...this.nextOffsets.keys()].filter((p) => !found?.offsets.has(p))
    this.takeFound(file, found?.end ?? present(firstPositionOf(name), 'its first position'))
    testWrite(this.active.db)
    if (this.checkpointSuspect) this.active.db.pragma('wal_checkpoint(PASSIVE)')
    this.checkpointSuspect = false
    if (this.options.stream.ackAfter !== 'fsync') syncWal(file)
    const next = segmentFileName(this.nextPosition)
    if (next !== name && fs.existsSync(this.fileOf(next))) this.roll()
  }

  /** Compares where the segment ends with what was reported, and counts what it has beyond. */
  private takeFound(file: string, end: number): void {
    const { committedEnd } = this
    const limit = committedEnd + this.waiting.count
    this.lost = end < committedEnd || end > limit
    if (this.lost) {
      throw new SluiceError(
        'storage',
        end < committedEnd
          ? `the committed records [${end}, ${committedEnd}) are no longer in ${file}`
          : `${file} ends at ${end}, and this gateway wrote up to ${limit} at most`,
      )
    }
    const count = end - committedEnd
    if (count > 0) rewriteWal(file)
    for (let index = 0; index < count; index++) {
      const { slab, at } = present(this.waiting.entry(index), 'an entry that waits')
      this.advance(slab, at)
      this.foundBytes += slab.view.getUint32(at, true)
    }
    this.foundRecords += count
    this.waiting.drop(count)
    this.committedEnd = end
  }

  private withFound(done: Committed | undefined): Committed | undefined {
    const { foundRecords: records, foundBytes: sizeBytes } = this
    this.foundRecords = 0
    this.foundBytes = 0
    if (records === 0) return done
    return {
      stream: this.options.index,
      records: records + (done?.records ?? 0),
      sizeBytes: sizeBytes + (done?.sizeBytes ?? 0),
      durationMs: done?.durationMs ?? 0,
    }
  }
}
