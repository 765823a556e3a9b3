/** The folder that backups go to: whose it is, who writes to it, and what may be in it. */
import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { codeOf, SluiceError } from '../../base/errors.ts'
import { syncFolder } from '../writer/segment-file.ts'
import { filesOf, type Manifest, readManifest } from './manifest.ts'

const LOCK_FILE = 'backup.lock'
const STATE_FILE = /^state\.\d+\.db/

export interface BackupTarget {
  readonly folder: string
  /** Of the backup that is there; it holds until the next one is in place. */
  readonly before: Manifest | undefined
  release(): void
}

/**
 * Takes a folder for a backup: a new one, an empty one, or one that has a backup of the same
 * gateway or the rest of an unfinished one, which is removed. Throws `folder-refused`,
 * `format-unknown`, `backup-damaged` or `storage`.
 */
export function takeTarget(
  folder: string,
  dataDir: string,
  gateway: string | undefined,
): BackupTarget {
  refuseOwnFolder(folder, dataDir)
  if (!fs.existsSync(folder)) makeFolder(folder)
  const found = fs.readdirSync(folder).filter((name) => name !== 'lost+found')
  // The lock file is the first that a backup makes, so it tells an unfinished one from other files.
  if (found.length > 0 && !found.includes(LOCK_FILE)) {
    throw new SluiceError('folder-refused', `${folder} is not empty and holds no backup`)
  }
  const release = lock(folder)
  try {
    const before = readManifest(folder)
    refuseOther(folder, before, gateway)
    sweep(folder, before)
    return { folder, before, release }
  } catch (thrown) {
    release()
    throw thrown
  }
}

/** Removes what the manifest does not name and only a backup can have made. */
export function sweep(folder: string, manifest: Manifest | undefined): void {
  const kept = manifest === undefined ? new Set<string>() : filesOf(manifest)
  const streams = path.join(folder, 'streams')
  for (const name of namesIn(folder)) {
    if (STATE_FILE.test(name) && !kept.has(name)) fs.rmSync(path.join(folder, name))
  }
  for (const stream of namesIn(streams)) {
    for (const name of namesIn(path.join(streams, stream))) {
      const file = path.join('streams', stream, name)
      if (/^\d{16}\./.test(name) && !kept.has(file)) fs.rmSync(path.join(folder, file))
    }
  }
}

/** Makes a folder, and its name durable, for its owner only: a backup holds what clients sent. */
export function makeFolder(folder: string): void {
  if (fs.existsSync(folder)) return
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
  syncFolder(path.dirname(folder))
}

/** A backup inside the data directory would be lost with it, and be taken for streams of it. */
function refuseOwnFolder(folder: string, dataDir: string): void {
  const between = path.relative(path.resolve(dataDir), path.resolve(folder))
  if (between !== '' && (between.startsWith('..') || path.isAbsolute(between))) return
  throw new SluiceError('folder-refused', `${folder} lies in the data directory ${dataDir} itself`)
}

function refuseOther(
  folder: string,
  before: Manifest | undefined,
  gateway: string | undefined,
): void {
  const other = before?.gateway ?? undefined
  if (other === undefined || gateway === undefined || other === gateway) return
  const sentence = `${folder} holds the backup of the gateway "${other}", not of "${gateway}"`
  throw new SluiceError('folder-refused', sentence)
}

/** Held by the kernel for this process, so that none is left behind however it ends. */
function lock(folder: string): () => void {
  const db = new Database(path.join(folder, LOCK_FILE), { timeout: 0 })
  try {
    db.pragma('locking_mode = EXCLUSIVE')
    db.exec('BEGIN EXCLUSIVE')
  } catch (cause) {
    db.close()
    if (codeOf(cause) !== 'SQLITE_BUSY') throw cause
    throw new SluiceError('folder-refused', `another backup to ${folder} is being made`, { cause })
  }
  return () => void db.close()
}

function namesIn(folder: string): string[] {
  return fs.existsSync(folder) ? fs.readdirSync(folder) : []
}
