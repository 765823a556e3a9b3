/**
 * Checks everything in a data directory that can be checked, offline or beside a running gateway,
 * and repairs it on request, offline only.
 *
 * Beside a gateway nothing is held up: each step reads a page of records in a read transaction of
 * its own, and a segment that is sealed, removed or replaced meanwhile is looked at again. The
 * bytes of a WAL that is being written are not judged.
 */
import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import type { Clock } from '../../base/clock.ts'
import { codeOf, messageOf, SluiceError } from '../../base/errors.ts'
import { isGarbage, takeDataDir } from '../data-dir.ts'
import { openLogReader } from '../reader/log-reader.ts'
import { SegmentGone } from '../reader/segment-file.ts'
import { listStreams } from '../reader/segments.ts'
import { firstPositionOf, segmentFileName, streamFolder } from '../segment.ts'
import { changeState, viewState } from '../state/offline.ts'
import { STATE_FILE } from '../state/state-file.ts'
import type { Gap } from '../state.ts'
import { segmentNames } from '../writer/recovery.ts'
import { type Checked, checkDatabase, checkSegment } from './check-segment.ts'
import { noteRepairs } from './ledger.ts'
import { type RepairNote, readNotes } from './notes.ts'
import { dropSalvage, finishSwap, repairSegment } from './repair-segment.ts'
import { checkState, setStateAside } from './repair-state.ts'
import { recordsMax } from './surroundings.ts'
import { RecordCheck } from './verify-records.ts'

/** The size of a segment is a setting that a data directory does not know: at least the default. */
const SEGMENT_BYTES_MIN = 64 * 1024 * 1024

export interface Fault {
  /** Path in the data directory. */
  readonly file: string
  readonly position: number | undefined
  readonly what: string
  /** A repair of the file mends it; otherwise the file is as whole as it can be. */
  readonly isInFile: boolean
}

export interface StreamVerdict {
  readonly stream: string
  readonly segments: number
  readonly records: number
  /** Positions that are gone and in the ledger. */
  readonly noted: number
  readonly faults: readonly Fault[]
}

export interface Verdict {
  readonly streams: readonly StreamVerdict[]
  /** Of what is in no stream: `state.db`. */
  readonly faults: readonly Fault[]
}

/** Checks a data directory. Throws `data-dir-unusable`, `format-unknown`, `storage`. */
export function verifyLog(dataDir: string, clock: Clock): Verdict {
  const names = listStreams(dataDir)
  const isLive = isRunning(dataDir)
  const stateFault = checkState(dataDir, 'read')
  const gaps = stateFault === undefined ? gapsOf(dataDir, clock) : []
  return {
    streams: names.map((stream) => new StreamCheck(dataDir, stream, gaps, isLive).run()),
    faults:
      stateFault === undefined
        ? []
        : [{ file: STATE_FILE, position: undefined, what: stateFault, isInFile: true }],
  }
}

/**
 * Sets aside and salvages what `verdict` found; gives the repairs. Rejects with `data-dir-locked`
 * while a gateway runs.
 */
export async function repairLog(
  dataDir: string,
  verdict: Verdict,
  clock: Clock,
): Promise<readonly RepairNote[]> {
  const done: RepairNote[] = []
  const lock = takeDataDir(dataDir)
  let stateLost = verdict.faults.length > 0
  try {
    for (const note of readNotes(dataDir)) if (note.state === 'swapping') finishSwap(dataDir, note)
    for (const { stream, faults } of verdict.streams) {
      dropSalvage(streamFolder(dataDir, stream))
      done.push(...repairStream(dataDir, stream, faults))
    }
    if (stateLost) setStateAside(dataDir)
    stateLost ||= !fs.existsSync(path.join(dataDir, STATE_FILE))
  } finally {
    lock.release()
  }
  // A state that is lost is made anew by the next start, which notes the gaps then.
  if (!stateLost) await changeState(dataDir, clock, (state) => noteRepairs(dataDir, state, true))
  return done
}

function repairStream(dataDir: string, stream: string, faults: readonly Fault[]): RepairNote[] {
  const folder = streamFolder(dataDir, stream)
  const whys = new Map<string, string>()
  for (const { file, what, isInFile } of faults) {
    const name = path.basename(file)
    if (isInFile && !whys.has(name)) whys.set(name, what)
  }
  return [...whys].map(([file, why]) => {
    const sizeBytes = fs.statSync(path.join(folder, file), { throwIfNoEntry: false })?.size ?? 0
    const slack = recordsMax(Math.max(SEGMENT_BYTES_MIN, sizeBytes))
    return repairSegment(dataDir, { stream, file, why, partitions: 0 }, slack)
  })
}

/** Whether a gateway holds the data directory now. */
export function isRunning(dataDir: string): boolean {
  const file = path.join(dataDir, 'gateway.lock')
  if (!fs.existsSync(file)) return false
  const db = new Database(file, { readonly: true, timeout: 0 })
  try {
    db.prepare('SELECT count(*) FROM sqlite_schema').get()
    return false
  } catch (thrown) {
    if (codeOf(thrown)?.startsWith('SQLITE_BUSY') === true) return true
    if (isGarbage(thrown)) return false
    throw new SluiceError('storage', `${file} cannot be read: ${messageOf(thrown)}`, {
      cause: thrown,
    })
  } finally {
    db.close()
  }
}

function gapsOf(dataDir: string, clock: Clock): readonly Gap[] {
  const reader = openLogReader(dataDir)
  try {
    return viewState(dataDir, reader, clock).gaps.list()
  } finally {
    reader.close()
  }
}

/** Times that a segment is looked at again because it changed under the look. */
const TRIES_MAX = 5

class StreamCheck {
  private readonly dataDir: string
  private readonly stream: string
  private readonly folder: string
  private readonly isLive: boolean
  private readonly records: RecordCheck
  private readonly faults: Fault[] = []
  private segments = 0

  constructor(dataDir: string, stream: string, gaps: readonly Gap[], isLive: boolean) {
    this.dataDir = dataDir
    this.stream = stream
    this.folder = streamFolder(dataDir, stream)
    this.isLive = isLive
    const noted = gaps.filter(
      (gap) => gap.stream === stream && gap.cursor === undefined && gap.reason === 'quarantined',
    )
    this.records = new RecordCheck(noted, (file, position, what, isInFile) =>
      this.fault(path.basename(file), position, what, isInFile),
    )
  }

  run(): StreamVerdict {
    // Listed anew each time: the writer adds segments, retention removes them.
    for (let after = ''; ; this.segments++) {
      const name = segmentNames(this.folder).find((other) => other > after)
      if (name === undefined) break
      this.checkSettled(name)
      after = name
    }
    return {
      stream: this.stream,
      segments: this.segments,
      records: this.records.count,
      noted: this.records.noted,
      faults: this.faults,
    }
  }

  /** Beside a gateway, a fault counts when a second look finds it again. */
  private checkSettled(name: string): void {
    for (let tries = 1; ; tries++) {
      const before = this.faults.length
      const mark = this.records.mark()
      try {
        this.check(name)
        if (this.faults.length === before || !this.isLive || tries === 2) return
      } catch (thrown) {
        if (!isGone(thrown) || tries === TRIES_MAX) throw thrown
        if (!fs.existsSync(path.join(this.folder, name))) return
      }
      this.faults.length = before
      this.records.reset(mark)
    }
  }

  private check(name: string): void {
    const first = firstPositionOf(name) ?? 0
    const file = path.join(this.folder, name)
    const next = segmentNames(this.folder).find((other) => other > name)
    const checked: Checked = this.isLive
      ? checkDatabase(file, this.stream, first)
      : checkSegment(file, this.stream, first)
    if (checked.kind === 'damaged') this.fault(name, undefined, checked.why)
    const nextFirst = next === undefined ? undefined : firstPositionOf(next)
    const end = checked.kind === 'sound' ? checked.facts.end : nextFirst
    if (end !== undefined) this.records.check(file, first, end, checked.kind === 'sound')
    if (checked.kind === 'damaged' || nextFirst === undefined || end === nextFirst) return
    const { isSealed } = checked.facts
    this.records.skip(nextFirst - checked.facts.end)
    this.fault(
      isSealed ? segmentFileName(checked.facts.end) : name,
      checked.facts.end,
      `a segment ends here, and the next one begins at ${nextFirst}`,
    )
  }

  private fault(name: string, position: number | undefined, what: string, isInFile = true): void {
    const file = path.relative(this.dataDir, path.join(this.folder, name))
    this.faults.push({ file, position, what, isInFile })
  }
}

function isGone(thrown: unknown): boolean {
  return thrown instanceof SegmentGone || /^(ENOENT|SQLITE_CANTOPEN)/.test(codeOf(thrown) ?? '')
}
