/**
 * A backup of a data directory, beside the gateway that runs on it or without one. It asks nothing
 * of the gateway: it reads the files as they are. See manifest.ts for what the folder holds.
 *
 * B1. A backup has each stream from its first segment on to a moment after the backup began, and no
 *     hole that the data directory does not have: what was acknowledged before is in it.
 * B2. The state is taken after the records: a gap is in it before the records that it speaks of are
 *     gone (S2). A cursor may so be ahead of the records of the backup; restore.ts takes it back.
 * B3. The manifest comes last, once all that it names is durable. Until then the backup before, if
 *     there is one, holds untouched; what only that one had is removed afterwards.
 * B4. No writer waits: a segment in WAL mode is read under a snapshot, a sealed one is final.
 *
 * A sealed segment is linked where the file systems allow it: 64 MiB then cost one name. A link
 * shares the blocks with the data directory, so it is no help against a disk that fails.
 */
import fs from 'node:fs'
import path from 'node:path'
import type { Clock } from '../../base/clock.ts'
import { codeOf, messageOf, SluiceError } from '../../base/errors.ts'
import { failPoint } from '../../base/fail-point.ts'
import { listStreams } from '../reader/segments.ts'
import { streamFolder } from '../segment.ts'
import { syncFolder } from '../writer/segment-file.ts'
import { contentOf } from './contents.ts'
import {
  BACKUP_FORMAT,
  type BackupContent,
  type BackupStream,
  type Manifest,
  writeManifest,
} from './manifest.ts'
import type { CopyWay } from './segment-copy.ts'
import { openLive, settleCopy, snapshot } from './snapshot.ts'
import { epochIn } from './state-copy.ts'
import { copyStream } from './stream-copy.ts'
import { type BackupTarget, makeFolder, sweep, takeTarget } from './target.ts'

export interface BackupOptions {
  readonly dataDir: string
  /** Where the backup goes: a new or empty folder, or one with a backup of the same gateway. */
  readonly target: string
  /** The id of the gateway, where it is known. */
  readonly gateway: string | undefined
  readonly clock: Clock
}

export interface BackupReport {
  readonly manifest: Manifest
  /** How many segments came into the backup in which way. */
  readonly ways: Readonly<Record<CopyWay, number>>
}

/**
 * Makes a backup and resolves once it is durable. Rejects with `folder-refused`,
 * `data-dir-unusable`, `record-damaged`, `backup-damaged`, `format-unknown` or `storage`.
 */
export async function backup(options: BackupOptions): Promise<BackupReport> {
  const { dataDir, gateway, clock } = options
  const names = listStreams(dataDir)
  requireState(dataDir)
  return await explaining(options, async () => {
    const target = takeTarget(options.target, dataDir, gateway)
    try {
      const run = (target.before?.run ?? 0) + 1
      const ways = { kept: 0, linked: 0, copied: 0, snapshot: 0 }
      const streams: BackupStream[] = []
      for (const name of names) streams.push(await takeStream(name, dataDir, target, run, ways))
      const { state, epoch } = await takeState(dataDir, target.folder, run)
      const manifest: Manifest = {
        format: BACKUP_FORMAT,
        run,
        time: new Date(clock.now()).toISOString(),
        gateway: gateway ?? null,
        epoch,
        state,
        streams,
      }
      syncFolder(target.folder)
      failPoint('backup:before-manifest')
      writeManifest(target.folder, manifest)
      failPoint('backup:manifest-written')
      sweep(target.folder, manifest)
      return { manifest, ways }
    } finally {
      target.release()
    }
  })
}

async function takeStream(
  name: string,
  dataDir: string,
  target: BackupTarget,
  run: number,
  ways: Record<CopyWay, number>,
): Promise<BackupStream> {
  const folder = streamFolder(target.folder, name)
  makeFolder(path.dirname(folder))
  makeFolder(folder)
  const known = target.before?.streams.find((stream) => stream.name === name)?.segments ?? []
  const before = new Map(known.map((segment) => [segment.first, segment]))
  const copied = await copyStream(streamFolder(dataDir, name), { folder, run, before })
  for (const { way } of copied) ways[way] += 1
  return { name, segments: copied.map(({ segment }) => segment) }
}

async function takeState(
  dataDir: string,
  folder: string,
  run: number,
): Promise<{ state: BackupContent; epoch: number }> {
  const file = `state.${run}.db`
  const copy = path.join(folder, file)
  const db = openLive(path.join(dataDir, 'state.db'))
  try {
    await snapshot(db, copy)
  } finally {
    db.close()
  }
  const epoch = settleCopy(copy, epochIn)
  return { state: { file, ...(await contentOf(copy)) }, epoch }
}

function requireState(dataDir: string): void {
  if (fs.existsSync(path.join(dataDir, 'state.db'))) return
  throw new SluiceError(
    'data-dir-unusable',
    `${dataDir} has no state.db, so the epoch is not known; a start of the gateway makes one`,
  )
}

/** Troubles of the disk, on whichever side, as one sentence. */
async function explaining<T>(options: BackupOptions, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (thrown) {
    if (thrown instanceof SluiceError || codeOf(thrown) === undefined) throw thrown
    const { dataDir, target } = options
    const sentence = `the backup of ${dataDir} to ${target} failed: ${messageOf(thrown)}`
    throw new SluiceError('storage', sentence, { cause: thrown })
  }
}
