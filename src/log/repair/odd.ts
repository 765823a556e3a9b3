/**
 * Entries of a data directory that are not what their names say: a folder, a socket, or a link that
 * leads nowhere where a file belongs, a file where a folder does. A crash leaves none of these, but
 * people, tools and damaged file systems do, and no start may fail for one (G5): such an entry is
 * renamed, whole and unchanged, and the start goes on as if nothing had that name.
 */
import fs from 'node:fs'
import path from 'node:path'
import { STATE_FILE } from '../state/state-file.ts'
import { syncFolder } from '../writer/segment-file.ts'

/** Names that belong to a stream's files: segments, working files, and what SQLite adds to each. */
const STREAM_FILE = /^(\d{16}|next|prepare|roll|salvage)\.db(-wal|-shm|-journal)?$/
/**
 * A segment gets its name without one, and has a WAL from then on or, sealed, nothing: a journal is
 * somebody else's, and SQLite would play it back into the segment.
 */
const STREAM_JOURNAL = /^\d{16}\.db-journal$/
const STATE_FILES = ['', '-wal', '-shm', '-journal'].map((ending) => STATE_FILE + ending)
/** Files beside the streams, the working names of the small ones included. */
export const DATA_FILES = [
  ...STATE_FILES,
  'epoch',
  'epoch.new',
  'running',
  'running.new',
  'reserve',
]

/**
 * Renames what is in the way of the files beside the streams, before any of them is opened. Gives
 * the paths in the data directory that were set aside, as they are named now.
 */
export function setOddAside(dataDir: string, names: readonly string[]): string[] {
  return names.flatMap((name) => {
    const entry = path.join(dataDir, name)
    return isOddFile(entry)
      ? [path.relative(dataDir, renameAside(entry, asideFolder(dataDir)))]
      : []
  })
}

/** The same for one stream's folder. */
export function setOddStreamFilesAside(dataDir: string, folder: string, stream: string): string[] {
  return fs.readdirSync(folder).flatMap((name) => {
    const entry = path.join(folder, name)
    if (!STREAM_JOURNAL.test(name) && (!STREAM_FILE.test(name) || !isOddFile(entry))) return []
    const aside = path.join(dataDir, 'quarantine', stream)
    makeFolderHere(aside)
    const now = renameAside(entry, aside)
    syncFolder(folder)
    return [path.relative(dataDir, now)]
  })
}

/** Makes a folder and those above it; what stands in the way of one is renamed. */
export function makeFolderHere(folder: string): void {
  const above = path.dirname(folder)
  if (above === folder) return
  makeFolderHere(above)
  if (fs.statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true) return
  if (fs.lstatSync(folder, { throwIfNoEntry: false }) !== undefined) renameAside(folder, above)
  fs.mkdirSync(folder, { mode: 0o700 })
  syncFolder(folder)
  syncFolder(above)
}

function asideFolder(dataDir: string): string {
  const folder = path.join(dataDir, 'quarantine', 'state')
  makeFolderHere(folder)
  return folder
}

/** Links to files are as good as files; a link to nothing is no file. */
function isOddFile(entry: string): boolean {
  if (fs.lstatSync(entry, { throwIfNoEntry: false }) === undefined) return false
  return fs.statSync(entry, { throwIfNoEntry: false })?.isFile() !== true
}

/** To `<folder>/<name>.<n>`, with the first number that is free. */
function renameAside(entry: string, folder: string): string {
  for (let n = 1; ; n++) {
    const aside = path.join(folder, `${path.basename(entry)}.${n}`)
    if (fs.lstatSync(aside, { throwIfNoEntry: false }) !== undefined) continue
    fs.renameSync(entry, aside)
    syncFolder(folder)
    syncFolder(path.dirname(entry))
    return aside
  }
}
