/**
 * The data directory: made if missing, owned by one process.
 *
 *   <data dir>/gateway.lock   held while a gateway runs
 *   <data dir>/state.db       cursors, gaps, boots and the epoch
 *   <data dir>/reserve        space for the state on a full disk
 *   <data dir>/streams/<stream>/…
 */
import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { assert } from '../base/assert.ts'
import { codeOf, messageOf, SluiceError } from '../base/errors.ts'
import { setOddAside } from './repair/odd.ts'
import { streamFolder } from './segment.ts'
import { diskFreeBytes, RESERVE_BYTES, RESERVE_FILE } from './state/reserve.ts'
import { isFull } from './state/state-file.ts'
import { syncFolder } from './writer/segment-file.ts'

export const LOCK_FILE = 'gateway.lock'

/** A stream's name is a folder's name: nothing that leads elsewhere or is hidden. */
const STREAM_NAME = /^[A-Za-z0-9_-][A-Za-z0-9_.-]*$/

export interface DataDirLock {
  release(): void
}

/**
 * Makes the directory (for its owner only) and takes it for this process.
 * Throws `data-dir-unusable` or `data-dir-locked`.
 */
export function takeDataDir(dataDir: string): DataDirLock {
  return usable(dataDir, () => {
    makeFolder(dataDir)
    setOddAside(dataDir, [LOCK_FILE])
    return lock(dataDir)
  })
}

/**
 * Makes the folders of the streams. Gives the storage error of each stream that cannot have one.
 * Throws `data-dir-unusable` when none can.
 */
export function makeStreamFolders(
  dataDir: string,
  streams: readonly string[],
): ReadonlyMap<string, unknown> {
  const failed = new Map<string, unknown>()
  usable(dataDir, () => makeFolder(path.join(dataDir, 'streams')))
  for (const stream of streams) {
    assert(STREAM_NAME.test(stream), `"${stream}" can be the name of a folder`)
    try {
      makeFolder(streamFolder(dataDir, stream))
    } catch (thrown) {
      if (codeOf(thrown) === undefined) throw thrown
      failed.set(stream, thrown)
    }
  }
  return failed
}

/**
 * Whether a start failed for want of space that the reserve can give. SQLite has many codes for a
 * full disk (of a file that cannot be made it says CANTOPEN), so the free space counts as well.
 */
export function reserveMayHelp(dataDir: string, cause: unknown): boolean {
  if (codeOf(cause) === undefined || !fs.existsSync(path.join(dataDir, RESERVE_FILE))) return false
  return isForSpace(cause) || diskFreeBytes(dataDir) < RESERVE_BYTES
}

/** Causes that come from another thread are only their code. */
function isForSpace(cause: unknown): boolean {
  if (cause instanceof SluiceError) return isForSpace(cause.cause)
  return isFull(typeof cause === 'string' ? { code: cause } : cause)
}

/** Gives the space of the reserve to the start; the state takes it again when there is plenty. */
export function spendReserve(dataDir: string): void {
  fs.rmSync(path.join(dataDir, RESERVE_FILE), { force: true })
}

/**
 * An exclusive transaction on a file of its own: the kernel lets go of it when the process ends in
 * whatever way, so no stale lock is left to clean up.
 */
function lock(dataDir: string): DataDirLock {
  const file = path.join(dataDir, LOCK_FILE)
  const db = new Database(file, { timeout: 0 })
  try {
    db.pragma('locking_mode = EXCLUSIVE')
    // Nothing is ever written: a journal in a file would only need space that a full disk has not.
    db.pragma('journal_mode = MEMORY')
    db.exec('BEGIN EXCLUSIVE')
  } catch (cause) {
    db.close()
    if (isGarbage(cause)) {
      // Who holds the lock answers BUSY, whatever the bytes are: nobody does.
      fs.truncateSync(file)
      return lock(dataDir)
    }
    if (codeOf(cause) !== 'SQLITE_BUSY') throw cause
    throw new SluiceError(
      'data-dir-locked',
      `another gateway is running on the data directory ${path.resolve(dataDir)}`,
      { cause },
    )
  }
  return { release: () => void db.close() }
}

/** Nothing is ever written into the file of the lock: bytes in it are damage, and mean nothing. */
export function isGarbage(thrown: unknown): boolean {
  return /^SQLITE_(NOTADB|CORRUPT|FORMAT)/.test(codeOf(thrown) ?? '')
}

/**
 * Makes a folder and everything above it, durably. A folder that is there already is synced as
 * well: the start that made it may have ended before its sync, and a power loss would take the
 * folder and all that was acknowledged in it.
 */
function makeFolder(folder: string): void {
  const whole = path.resolve(folder)
  const made = fs.mkdirSync(whole, { recursive: true, mode: 0o700 })
  const top = made === undefined ? whole : made
  for (let below = whole; ; below = path.dirname(below)) {
    syncParent(below, made !== undefined)
    if (below === top) return
  }
}

function syncParent(folder: string, isNew: boolean): void {
  try {
    syncFolder(path.dirname(folder))
  } catch (cause) {
    // A data directory can be given to us below a folder that we may not open; then it was made,
    // and synced, by somebody else.
    if (isNew || !['EACCES', 'EPERM'].includes(codeOf(cause) ?? '')) throw cause
  }
}

function usable<T>(dataDir: string, work: () => T): T {
  try {
    return work()
  } catch (cause) {
    if (cause instanceof SluiceError || codeOf(cause) === undefined) throw cause
    throw new SluiceError(
      'data-dir-unusable',
      `the data directory ${path.resolve(dataDir)} cannot be used: ${messageOf(cause)}`,
      { cause },
    )
  }
}
