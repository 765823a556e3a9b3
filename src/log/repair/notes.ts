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
import { codeOf } from '../../base/errors.ts'
import { firstPositionOf } from '../segment.ts'
import { syncFolder, syncPath } from '../writer/segment-file.ts'
import type { Hole } from './holes.ts'
import { makeFolderHere } from './odd.ts'

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
  readonly state: (typeof states)[number]
}

const states = ['swapping', 'swapped', 'noted'] as const
const ENDING = '.json'

export function quarantineFolder(dataDir: string, stream: string): string {
  return path.join(dataDir, 'quarantine', stream)
}

/** Makes the folder where a stream's damaged files go. */
export function makeQuarantine(dataDir: string, stream: string): string {
  const folder = quarantineFolder(dataDir, stream)
  makeFolderHere(folder)
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

/**
 * All notes of a data directory, by stream, then in the order of their names. What cannot be read,
 * or is no note, is left alone: it must not keep a gateway from starting (G5), the damaged files
 * stay beside it, and the holes stand in the segments as well.
 */
export function readNotes(dataDir: string): RepairNote[] {
  const root = path.join(dataDir, 'quarantine')
  return namesIn(root).flatMap((stream) =>
    namesIn(path.join(root, stream)).flatMap((name) => {
      if (!name.endsWith(ENDING)) return []
      const note = readNote(path.join(root, stream, name))
      return note?.stream === stream ? [note] : []
    }),
  )
}

/** Sorted; none in a folder that is no folder, or lets nobody read it. */
function namesIn(folder: string): string[] {
  return readable(() => fs.readdirSync(folder).sort()) ?? []
}

function readNote(file: string): RepairNote | undefined {
  // Not a pipe or the like, which would make the start wait for ever.
  const isFile = readable(() => fs.statSync(file).isFile()) ?? false
  const text = isFile ? readable(() => fs.readFileSync(file, 'utf8')) : undefined
  return text === undefined ? undefined : parse(text)
}

function readable<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch (thrown) {
    if (codeOf(thrown) === undefined) throw thrown
    return undefined
  }
}

/** Undefined for what is no note in every field: its names become paths, its holes gaps. */
function parse(text: string): RepairNote | undefined {
  try {
    const note = JSON.parse(text) as Partial<Record<keyof RepairNote, unknown>> | null
    return isNote(note) ? (note as RepairNote) : undefined
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return undefined
    throw thrown
  }
}

function isNote(note: Partial<Record<keyof RepairNote, unknown>> | null): boolean {
  if (typeof note !== 'object' || note === null) return false
  const { stream, file, quarantined, why, holes, salvagedRecords, lostBytes, endInDoubt } = note
  return (
    typeof stream === 'string' &&
    typeof file === 'string' &&
    firstPositionOf(file) !== undefined &&
    typeof quarantined === 'string' &&
    path.basename(quarantined) === quarantined &&
    typeof why === 'string' &&
    Array.isArray(holes) &&
    holes.every(isHole) &&
    isCount(salvagedRecords) &&
    isCount(lostBytes) &&
    typeof endInDoubt === 'boolean' &&
    states.some((state) => state === note.state)
  )
}

function isHole(hole: unknown): boolean {
  if (typeof hole !== 'object' || hole === null) return false
  const { first, end } = hole as Partial<Hole>
  return isCount(first) && isCount(end) && Number(first) < Number(end)
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0
}
