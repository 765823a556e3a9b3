/** Setup for tests of backups: logs with a few sealed segments, and what is in a backup. */
import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { expect } from 'vitest'
import { ManualClock } from '../../../src/base/clock.ts'
import { backup } from '../../../src/log/backup/backup.ts'
import { type BackupStream, type Manifest, readManifest } from '../../../src/log/backup/manifest.ts'
import { restore } from '../../../src/log/backup/restore.ts'
import type { EventLog } from '../../../src/log/log.ts'
import { emptyFolder, keep, open, stream } from '../given.ts'

export const STREAMS = [stream('a', { partitions: 3 })]
/** A few hundred records fill one. */
export const TINY = { segmentBytes: 16_384 }
export const NOON_MS = Date.UTC(2026, 4, 1, 12)

export const openTiny = (dataDir: string): Promise<EventLog> => open(dataDir, STREAMS, TINY)

/** A log with `segments` segments or more, of which all but the last are sealed. */
export async function filled(
  segments: number,
  dataDir?: string,
): Promise<{ dataDir: string; log: EventLog }> {
  const folder = dataDir ?? (await emptyFolder())
  const log = await openTiny(folder)
  await grow(log, folder, segments)
  return { dataDir: folder, log }
}

/** Appends until the stream has so many segments and all before the last are sealed. */
export async function grow(log: EventLog, dataDir: string, segments: number): Promise<void> {
  for (let turn = 0; segmentsOf(dataDir).length < segments; turn++) {
    for (const topic of ['a/x', 'a/y', 'a/z']) await keep(log, `${topic}/${turn}`, 50)
  }
  await expect
    .poll(() => segmentsOf(dataDir).slice(0, -1).every(isPlain), { timeout: 25_000 })
    .toBe(true)
}

/** The stream's segments, oldest first. */
export function segmentsOf(dataDir: string): string[] {
  const folder = path.join(dataDir, 'streams/a')
  return fs
    .readdirSync(folder)
    .filter((name) => /^\d{16}\.db$/.test(name))
    .sort()
    .map((name) => path.join(folder, name))
}

/** Whether a database file needs nothing beside it. */
export function isPlain(file: string): boolean {
  if (fs.existsSync(`${file}-wal`)) return false
  const db = new Database(file, { readonly: true })
  try {
    return db.pragma('journal_mode', { simple: true }) !== 'wal'
  } finally {
    db.close()
  }
}

export const backUp = (dataDir: string, target: string, gateway?: string) =>
  backup({ dataDir, target, gateway, clock: new ManualClock(NOON_MS) })

export const restored = async (from: string, nowMs = NOON_MS, verify = true) => {
  const dataDir = path.join(await emptyFolder(), 'restored')
  const report = await restore({ backup: from, dataDir, verify, clock: new ManualClock(nowMs) })
  return { dataDir, report }
}

export function manifestOf(folder: string): Manifest {
  const manifest = readManifest(folder)
  if (manifest === undefined) throw new Error(`${folder} has no manifest`)
  return manifest
}

export function streamIn(folder: string): BackupStream {
  const found = manifestOf(folder).streams.find(({ name }) => name === 'a')
  if (found === undefined) throw new Error('the stream is in the backup')
  return found
}

/** Every file of a folder, relative to it. */
export function tree(folder: string): string[] {
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .sort()
}
