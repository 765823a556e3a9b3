/**
 * A data directory out of a backup.
 *
 * R1. Everything is copied: no file of the new directory is one of the backup.
 * R2. What differs from the manifest by one byte is not restored, unless the caller asks for it.
 * R3. No cursor is ahead of the records, and the epoch is a new one: what is appended from now on
 *     gets positions that the gateway of the backup gave out as well (S3).
 * R4. The work is done in a folder of its own inside the new directory and moved at the end: a
 *     restore that was interrupted leaves nothing that looks like a log, and can be run again.
 */
import fs from 'node:fs'
import path from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { codeOf, messageOf, SluiceError } from '../../base/errors.ts'
import { takeDataDir } from '../data-dir.ts'
import { FileLogReader } from '../reader/log-reader.ts'
import { writeNumbers } from '../repair/running-mark.ts'
import { segmentFileName, streamFolder } from '../segment.ts'
import { syncFolder } from '../writer/segment-file.ts'
import { copyFile } from './contents.ts'
import { type BackupContent, type Manifest, readManifest } from './manifest.ts'
import { dropWork, isWhole, moveIn, WORK_FOLDER } from './move-in.ts'
import { settleCopy } from './snapshot.ts'
import { type SettledState, settleState } from './state-copy.ts'
import { makeFolder } from './target.ts'

/** What may lie in a folder that counts as empty. */
const HARMLESS = new Set([WORK_FOLDER, 'epoch', 'gateway.lock', 'lost+found'])

export interface RestoreOptions {
  readonly backup: string
  /** The new data directory: not there yet, or empty. */
  readonly dataDir: string
  /** Compare each file with the manifest. */
  readonly verify: boolean
  readonly clock: Clock
}

export interface RestoreReport extends SettledState {
  readonly manifest: Manifest
  readonly sizeBytes: number
}

/**
 * Restores a backup and resolves once it is durable. Rejects with `no-backup`, `backup-damaged`,
 * `format-unknown`, `folder-refused`, `data-dir-unusable`, `data-dir-locked` or `storage`.
 */
export async function restore(options: RestoreOptions): Promise<RestoreReport> {
  const { backup, dataDir } = options
  const manifest = readManifest(backup)
  if (manifest === undefined) {
    const why = fs.existsSync(backup) ? 'has no manifest: it is no finished backup' : 'is not there'
    throw new SluiceError('no-backup', `${backup} ${why}`)
  }
  refuseFilled(dataDir)
  const lock = takeDataDir(dataDir)
  const work = path.join(dataDir, WORK_FOLDER)
  try {
    dropWork(dataDir)
    return await fill(work, manifest, options)
  } catch (thrown) {
    if (!isWhole(dataDir)) dropWork(dataDir)
    if (thrown instanceof SluiceError || codeOf(thrown) === undefined) throw thrown
    const sentence = `restoring ${backup} to ${dataDir} failed: ${messageOf(thrown)}`
    throw new SluiceError('storage', sentence, { cause: thrown })
  } finally {
    lock.release()
  }
}

async function fill(
  work: string,
  manifest: Manifest,
  { backup, dataDir, verify, clock }: RestoreOptions,
): Promise<RestoreReport> {
  makeFolder(work)
  makeFolder(path.join(work, 'streams'))
  let sizeBytes = 0
  const take = async (from: string, to: string, content: BackupContent): Promise<void> => {
    sizeBytes += await takeFile(path.join(backup, from), path.join(work, to), content, verify)
  }
  for (const { name, segments } of manifest.streams) {
    makeFolder(streamFolder(work, name))
    const stream = path.join('streams', name)
    for (const segment of segments) {
      const live = path.join(stream, segmentFileName(segment.first))
      await take(path.join(stream, segment.file), live, segment)
    }
    syncFolder(streamFolder(work, name))
  }
  await take(manifest.state.file, 'state.db', manifest.state)
  const settled = settle(work, clock)
  writeNumbers(work, settled)
  syncFolder(path.join(work, 'streams'))
  syncFolder(work)
  moveIn(dataDir)
  return { manifest, sizeBytes, ...settled }
}

/** Copies a file; says which one is not what the manifest says. */
async function takeFile(
  from: string,
  to: string,
  expected: BackupContent,
  verify: boolean,
): Promise<number> {
  try {
    const { sizeBytes, sha256 } = await copyFile(from, to)
    if (!verify || (sizeBytes === expected.sizeBytes && sha256 === expected.sha256)) {
      return sizeBytes
    }
  } catch (cause) {
    if (codeOf(cause) !== 'ENOENT' || fs.existsSync(from)) throw cause
    throw new SluiceError('backup-damaged', `${from} is missing from the backup`, { cause })
  }
  throw new SluiceError('backup-damaged', `${from} is not as it was when the backup was made`)
}

/** R3. */
function settle(work: string, clock: Clock): SettledState {
  const reader = new FileLogReader(work)
  try {
    const bounds = reader.streams().map((name) => reader.bounds(name))
    return settleCopy(path.join(work, 'state.db'), (db) => settleState(db, bounds, clock.now()))
  } finally {
    reader.close()
  }
}

function refuseFilled(dataDir: string): void {
  if (!fs.existsSync(dataDir)) return
  const isFolder = fs.statSync(dataDir).isDirectory()
  if (isFolder && fs.readdirSync(dataDir).every((name) => HARMLESS.has(name))) return
  const why = isFolder ? 'is not empty' : 'is not a folder'
  throw new SluiceError('folder-refused', `${dataDir} ${why}: a restore changes no data`)
}
