/**
 * Sets a damaged segment aside and puts a sound one with the same name in its place.
 *
 * Q1. The damaged file is never changed and never deleted: it moves to the quarantine with its WAL.
 * Q2. At each moment the stream's folder holds a segment of that name, the damaged or the sound
 *     one: the damaged file gets its second name (a hard link) first, and the rename replaces it.
 * Q3. The note is durable before the files move, and stays open until its gaps are in the ledger.
 *     A crash in between leaves a note 'swapping' with the salvaged file beside the segment:
 *     `finishSwap` goes on from there, any number of times.
 *
 * Synchronous, a few hundred milliseconds for 64 MiB. The caller sees to it that nobody in this
 * process writes the segment.
 */
import fs from 'node:fs'
import path from 'node:path'
import { codeOf } from '../../base/errors.ts'
import { streamFolder } from '../segment.ts'
import { removeDatabase, SALVAGE_FILE, syncFolder, syncPath } from '../writer/segment-file.ts'
import {
  makeQuarantine,
  quarantineFolder,
  quarantineName,
  type RepairNote,
  writeNote,
} from './notes.ts'
import { rebuildSegment } from './rebuild.ts'
import { surroundingsOf } from './surroundings.ts'

export interface Damage {
  readonly stream: string
  /** Name in the stream's folder; the file may be missing. */
  readonly file: string
  /** What is wrong, for people. */
  readonly why: string
  /** How many the stream has by its settings; 0 where they are not known. */
  readonly partitions: number
}

/** Repairs one segment. `slack` as in `Surroundings`. Throws the storage error when it cannot. */
export function repairSegment(dataDir: string, damage: Damage, slack: number): RepairNote {
  const { stream, file, why, partitions } = damage
  const folder = streamFolder(dataDir, stream)
  const salvage = path.join(folder, SALVAGE_FILE)
  const around = surroundingsOf(folder, stream, file, { partitions, slack })
  const rebuilt = rebuildSegment(path.join(folder, file), salvage, around)
  const quarantined = quarantineName(makeQuarantine(dataDir, stream), file)
  const note: RepairNote = {
    stream,
    file,
    quarantined,
    why,
    holes: rebuilt.holes,
    salvagedRecords: rebuilt.records,
    lostBytes: Math.max(0, sizeOf(path.join(folder, file)) - rebuilt.sizeBytes),
    endInDoubt: around.nextFirst === undefined,
    state: 'swapping',
  }
  syncFolder(folder)
  writeNote(dataDir, note)
  return finishSwap(dataDir, note)
}

/** Moves the files of a repair whose note is written; what is done already is not done again. */
export function finishSwap(dataDir: string, note: RepairNote): RepairNote {
  const folder = streamFolder(dataDir, note.stream)
  const segment = path.join(folder, note.file)
  const salvage = path.join(folder, SALVAGE_FILE)
  if (fs.existsSync(salvage)) {
    const aside = path.join(quarantineFolder(dataDir, note.stream), note.quarantined)
    for (const ending of ['', '-wal']) setAside(segment + ending, aside + ending)
    syncFolder(path.dirname(aside))
    for (const ending of ['-wal', '-shm', '-journal']) fs.rmSync(segment + ending, { force: true })
    syncFolder(folder)
    fs.renameSync(salvage, segment)
    syncFolder(folder)
  }
  const swapped: RepairNote = { ...note, state: 'swapped' }
  writeNote(dataDir, swapped)
  return swapped
}

/** The gaps are in the ledger: the repair is over. */
export function closeNote(dataDir: string, note: RepairNote): void {
  writeNote(dataDir, { ...note, state: 'noted' })
}

/** A salvaged file without a note is one whose repair begins anew. */
export function dropSalvage(folder: string): void {
  removeDatabase(path.join(folder, SALVAGE_FILE))
}

/** Of the database and its WAL. */
function sizeOf(file: string): number {
  const sizes = ['', '-wal'].map((ending) => fs.statSync(file + ending, { throwIfNoEntry: false }))
  return sizes.reduce((sum, stat) => sum + (stat?.size ?? 0), 0)
}

function setAside(file: string, aside: string): void {
  if (!fs.existsSync(file) || fs.existsSync(aside)) return
  try {
    fs.linkSync(file, aside)
  } catch (thrown) {
    // Some file systems of memory cards have no links.
    if (codeOf(thrown) === undefined) throw thrown
    fs.copyFileSync(file, aside)
    syncPath(aside)
  }
}
