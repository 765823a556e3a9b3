/**
 * What makes a segment's files trustworthy again after a write or a sync of them failed.
 *
 * When a sync fails, the kernel marks the pages it could not write as clean: the file reads as if
 * all were well, the next sync succeeds, and the medium has none of it. So neither a successful
 * sync nor what is read back proves anything about what was written before the fault. What does:
 * writing the same bytes once more and syncing that. A WAL is small (8 MiB when a checkpoint is
 * due), so all of it is written again; the database file needs none of this, because SQLite repeats
 * a checkpoint whose sync failed from the WAL.
 */
import fs from 'node:fs'
import path from 'node:path'
import type Database from 'better-sqlite3'
import { SEGMENT_FORMAT } from '../segment.ts'
import { ROLL_FILE } from './segment-file.ts'

const PIECE_BYTES = 256 * 1024
const PROBE_BYTES = 4096

/**
 * Throws unless the folder takes a small file and its sync. Costs one page, so that a disk that is
 * still full or gone is not worn by proofs. The file has a working name, which a start cleans up.
 */
export function probe(folder: string): void {
  const file = path.join(folder, ROLL_FILE)
  try {
    fs.writeFileSync(file, Buffer.alloc(PROBE_BYTES), { flush: true })
  } finally {
    fs.rmSync(file, { force: true })
  }
}

/**
 * Writes a segment's WAL over itself and syncs it, so that what it reads as is what the medium has.
 * Nobody else writes it meanwhile, and for readers not a byte changes.
 */
export function rewriteWal(segment: string): void {
  const wal = `${segment}-wal`
  if (!fs.existsSync(wal)) return
  const descriptor = fs.openSync(wal, 'r+')
  try {
    const piece = Buffer.allocUnsafe(PIECE_BYTES)
    for (let at = 0; ; ) {
      const length = fs.readSync(descriptor, piece, 0, piece.length, at)
      if (length === 0) break
      at += fs.writeSync(descriptor, piece, 0, length, at)
    }
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
}

/** A transaction through the whole of SQLite that changes nothing: page 1 is written as it is. */
export function testWrite(db: Database.Database): void {
  db.exec(`BEGIN IMMEDIATE; PRAGMA user_version = ${SEGMENT_FORMAT}; COMMIT`)
}
