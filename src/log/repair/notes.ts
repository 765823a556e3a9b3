/**
 * The note of each repair, beside the file that was set aside:
 *
 *   data/quarantine/<stream>/<file>.<n>        the damaged file, with its -wal
 *   data/quarantine/<stream>/<file>.<n>.json   what was wrong, what was lost
 *
 * A note is on disk before anything is moved, so that a repair that a crash cut off is finished at
 * the next start and no hole ever stands without its gap: notes whose gaps are not yet in the
 * ledger say so, and when `state.db` itself is lost the ledger is filled again from all of them.
 */
import fs from 'node:fs'
import path from 'node:path'
import { syncFolder, syncPath } from '../writer/segment-file.ts'
import type { Hole } from './holes.ts'

export interface RepairNote {
  readonly stream: string
  /** The segment's name in the stream's folder. */
  readonly file: string
  /** Name of the damaged file beside the note. */
  readonly quarantined: string
  /** What was wrong with it. */
  readonly why: string
  /** Half-open position ranges that are gone. */
  readonly holes: readonly Hole[]
  readonly salvagedRecords: number
  /** At most: what the files had beyond the records that were salvaged. */
  readonly lostBytes: number
  /** Records may have stood behind the last hole's beginning that nobody can count. */
  readonly endInDoubt: boolean
  /** 'swapping': the files may not be in place yet; 'swapped': they are; 'noted': gaps are too. */
  readonly state: 'swapping' | 'swapped' | 'noted'
}

const ENDING = '.json'

export function quarantineFolder(dataDir: string, stream: string): string {
  return path.join(dataDir, 'quarantine', stream)
}

/** Makes the folder where a stream's damaged files go. */
export function makeQuarantine(dataDir: string, stream: string): string {
  const folder = quarantineFolder(dataDir, stream)
  if (!fs.existsSync(folder)) {
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
    syncFolder(folder)
    syncFolder(path.dirname(folder))
    syncFolder(dataDir)
  }
  return folder
}

/** A name in the quarantine that is not taken yet: `<file>.1`, `<file>.2`, … */
export function quarantineName(folder: string, file: string): string {
  const names = new Set(fs.existsSync(folder) ? fs.readdirSync(folder) : [])
  for (let n = 1; ; n++) {
    const name = `${file}.${n}`
    if (!names.has(name) && !names.has(name + ENDING)) return name
  }
}

/** Writes a note whole and durably. */
export function writeNote(dataDir: string, note: RepairNote): void {
  const folder = makeQuarantine(dataDir, note.stream)
  const file = path.join(folder, note.quarantined + ENDING)
  fs.writeFileSync(`${file}.new`, `${JSON.stringify(note, null, 2)}\n`, { mode: 0o600 })
  syncPath(`${file}.new`)
  fs.renameSync(`${file}.new`, file)
  syncFolder(folder)
}

/** All notes of a data directory, by stream, then in the order of their names. */
export function readNotes(dataDir: string): RepairNote[] {
  const root = path.join(dataDir, 'quarantine')
  if (!fs.existsSync(root)) return []
  return fs
    .readdirSync(root)
    .sort()
    .flatMap((stream) => notesIn(path.join(root, stream)))
}

function notesIn(folder: string): RepairNote[] {
  if (!fs.statSync(folder).isDirectory()) return []
  return fs
    .readdirSync(folder)
    .filter((name) => name.endsWith(ENDING))
    .sort()
    .flatMap((name) => {
      const note = parse(fs.readFileSync(path.join(folder, name), 'utf8'))
      return note === undefined ? [] : [note]
    })
}

/** A note that is no note (damaged itself) is left alone: the holes stand in the segments too. */
function parse(text: string): RepairNote | undefined {
  try {
    const note = JSON.parse(text) as Partial<RepairNote> | null
    const isNote =
      typeof note?.stream === 'string' &&
      typeof note.file === 'string' &&
      typeof note.quarantined === 'string' &&
      Array.isArray(note.holes)
    return isNote ? (note as RepairNote) : undefined
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return undefined
    throw thrown
  }
}
