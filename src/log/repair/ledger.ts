/**
 * Brings the holes of repairs into the ledger of gaps, and then closes their notes. It may be done
 * any number of times: what a gap covers already is not noted again.
 */
import fs from 'node:fs'
import path from 'node:path'
import { asPosition } from '../record.ts'
import { streamFolder } from '../segment.ts'
import type { Gap, LogState, NewGap } from '../state.ts'
import { type Hole, holePositions } from './holes.ts'
import { type RepairNote, readNotes } from './notes.ts'
import { closeNote } from './repair-segment.ts'

/** The parts of the state that repairs need. */
export type RepairState = Pick<LogState, 'gaps' | 'epoch'> & { raiseEpoch(): Promise<number> }

/**
 * At a start: notes whose gaps never reached the ledger, those of segments that are still there (a
 * ledger that fell back has lost them), and all of them when `state.db` was lost. Resolves when the
 * gaps are on disk, and the epoch where positions may have been lost at an end.
 */
export async function noteRepairs(
  dataDir: string,
  state: RepairState,
  stateLost: boolean,
): Promise<void> {
  for (const note of readNotes(dataDir)) {
    const isThere = fs.existsSync(path.join(streamFolder(dataDir, note.stream), note.file))
    if (note.state !== 'noted' || stateLost || isThere) await noteRepair(dataDir, state, note)
  }
}

/** Notes one repair; resolves once its gaps are on disk and its note is closed. */
export async function noteRepair(
  dataDir: string,
  state: RepairState,
  note: RepairNote,
): Promise<void> {
  const known = state.gaps.list({ stream: note.stream })
  const gaps = note.holes.filter((hole) => !isCovered(known, hole)).map((hole) => gapOf(note, hole))
  if (gaps.length > 0) await state.gaps.add(gaps)
  if (note.state === 'noted') return
  if (note.endInDoubt) await state.raiseEpoch()
  closeNote(dataDir, note)
}

function isCovered(gaps: readonly Gap[], hole: Hole): boolean {
  const noted = gaps.filter(
    ({ reason, cursor }) => reason === 'quarantined' && cursor === undefined,
  )
  return holePositions(noted, hole.first, hole.end) >= hole.end - hole.first
}

/** Every position of the hole counts; of a doubtful end they are the most that can be lost. */
function gapOf(note: RepairNote, { first, end }: Hole): NewGap {
  const total = note.holes.reduce((sum, hole) => sum + hole.end - hole.first, 0)
  return {
    stream: note.stream,
    cursor: undefined,
    first: asPosition(first),
    end: asPosition(end),
    records: end - first,
    sizeBytes: Math.round((note.lostBytes * (end - first)) / total),
    reason: 'quarantined',
  }
}
