/**
 * G5, at a start: goes over the data directory before anything of it is open, and leaves nothing
 * behind that the writer or the state could stumble over.
 *
 * What is looked at is what a start touches: `state.db`, the last segment of each stream, and those
 * whose seal is not finished. A log of any size is ready within seconds; damage in older segments
 * is found when they are read (see repairs.ts), or by `sluice verify-log`.
 *
 * Where the end of a stream is in doubt, positions must not be given out twice. How each doubt is
 * settled:
 *   - the last segment is damaged: bytes at its end may be missing, nobody knows how many. What was
 *     there was less than a whole segment, so the stream goes on that many records later (2.8
 *     million for 64 MiB; 2^53 positions last), offsets likewise, and the epoch rises as well;
 *   - its WAL holds commits behind damaged bytes (wal.ts): SQLite would drop those silently. They
 *     are salvaged from the frames, what is missing between becomes a hole, and the end is in doubt
 *     as above;
 *   - the last segment is sealed: the one behind it, which was made before the seal, is missing. A
 *     hole of a whole segment's records stands for it;
 *   - the last segment has no rows, and the one before ends earlier than its name says: the name is
 *     the proof that everything in between was given out. It becomes a hole.
 * What nothing on disk can tell: a bit that flips in the very last transaction of a WAL looks like
 * the torn end of a power cut, which was never acknowledged; a WAL that is cut off at the end of a
 * transaction looks like a shorter one; and a WAL that somebody took away looks like one that
 * SQLite has moved into its database and removed. Then the stream ends earlier, without a gap.
 */
import fs from 'node:fs'
import path from 'node:path'
import { codeOf } from '../../base/errors.ts'
import type { AckRule } from '../log.ts'
import { firstPositionOf, segmentFileName, streamFolder } from '../segment.ts'
import { STATE_FILE } from '../state/state-file.ts'
import { segmentNames } from '../writer/recovery.ts'
import { isUnsealed, NEXT_FILE, PREPARE_FILE, ROLL_FILE } from '../writer/segment-file.ts'
import { type Checked, checkDatabase, checkSegment } from './check-segment.ts'
import { type RepairNote, readNotes } from './notes.ts'
import { setOddStreamFilesAside } from './odd.ts'
import { dropSalvage, finishSwap, repairSegment } from './repair-segment.ts'
import { checkState, setStateAside } from './repair-state.ts'
import { readNumbers, runningSegments } from './running-mark.ts'
import { recordsMax } from './surroundings.ts'
import { readWal } from './wal.ts'

export interface StartOptions {
  readonly dataDir: string
  readonly streams: readonly StartStream[]
  readonly segmentBytes: number
  /** Streams without a folder, with the storage error. */
  readonly failed: ReadonlyMap<string, unknown>
  /** What was set aside already. */
  readonly odd: readonly string[]
}

/** What a start found and did, for its line in the log book. */
export interface StartFindings {
  readonly wasUnclean: boolean
  readonly segments: number
  /** Working files of segments in the making; the writer's recovery deletes them. */
  readonly unfinished: number
  /** Full segments whose seal goes on now. */
  readonly unsealed: number
  /** Frames that were still in the WAL of active segments. */
  readonly walFrames: number
  /** Repairs of this start. */
  readonly repaired: readonly RepairNote[]
  /** Name of a damaged `state.db` in the quarantine, or 'missing'. */
  readonly stateLost: string | undefined
  /** Streams that could not be looked at or repaired, with the storage error: the rest serves. */
  readonly failed: ReadonlyMap<string, unknown>
  /** Where entries are now that were not what their names said. */
  readonly odd: readonly string[]
  readonly bootMin: number
  readonly epochMin: number
}

/**
 * Repairs what a start needs. A stream whose files cannot be read or written is left as it is, for
 * the next start. Throws `format-unknown` for files of a newer version, and the storage error of
 * what all streams share.
 */
export function repairAtStart(options: StartOptions): StartFindings {
  const { dataDir, streams } = options
  const failed = new Map(options.failed)
  finishSwaps(dataDir, failed)
  const running = runningSegments(dataDir)
  const total = { segments: 0, unfinished: 0, unsealed: 0, walFrames: 0, lastBoot: 0 }
  const repaired: RepairNote[] = []
  const odd = [...options.odd]
  for (const stream of streams) {
    const one = new StreamStart(options, stream)
    if (!failed.has(stream.name)) notingFailure(failed, stream.name, () => one.repair())
    odd.push(...one.odd)
    repaired.push(...one.repaired)
    total.segments += one.segments
    total.unfinished += one.unfinished
    total.unsealed += one.unsealed
    total.walFrames += one.walFrames
    total.lastBoot = Math.max(total.lastBoot, one.lastBoot)
  }
  const stateLost = repairState(dataDir, total.segments > 0)
  const numbers = readNumbers(dataDir)
  return {
    wasUnclean: running !== undefined,
    segments: total.segments,
    unfinished: total.unfinished,
    unsealed: total.unsealed,
    walFrames: total.walFrames,
    repaired,
    stateLost,
    failed,
    odd,
    bootMin: Math.max(total.lastBoot, numbers.boot) + 1,
    epochMin: stateLost === undefined ? numbers.epoch : Math.max(1, numbers.epoch) + 1,
  }
}

/** A repair that a crash cut off; while it cannot be finished, its stream is not touched. */
function finishSwaps(dataDir: string, failed: Map<string, unknown>): void {
  for (const note of readNotes(dataDir)) {
    if (note.state !== 'swapping' || failed.has(note.stream)) continue
    notingFailure(failed, note.stream, () => finishSwap(dataDir, note))
  }
}

/** Runs `work`; a storage error counts for the stream alone. */
function notingFailure(failed: Map<string, unknown>, stream: string, work: () => void): void {
  try {
    work()
  } catch (thrown) {
    const code = codeOf(thrown)
    if (code === undefined || code === 'format-unknown') throw thrown
    failed.set(stream, thrown)
  }
}

/** A stream as far as a start must know it. */
export interface StartStream {
  readonly name: string
  readonly partitions: number
  readonly ackAfter: AckRule
}

/**
 * Sets a damaged `state.db` aside. A missing one is lost, too, when there are records; one that is
 * empty without any is what a first start left that ended early.
 */
function repairState(dataDir: string, hasSegments: boolean): string | undefined {
  const size = fs.statSync(path.join(dataDir, STATE_FILE), { throwIfNoEntry: false })?.size
  if (size === undefined || (size === 0 && !hasSegments)) return hasSegments ? 'missing' : undefined
  return checkState(dataDir, 'write') === undefined ? undefined : setStateAside(dataDir)
}

class StreamStart {
  readonly repaired: RepairNote[] = []
  odd: readonly string[] = []
  segments = 0
  unfinished = 0
  unsealed = 0
  walFrames = 0
  lastBoot = 0
  private readonly options: StartOptions
  private readonly stream: StartStream
  private readonly folder: string

  constructor(options: StartOptions, stream: StartStream) {
    this.options = options
    this.stream = stream
    this.folder = streamFolder(options.dataDir, stream.name)
  }

  repair(): void {
    this.odd = setOddStreamFilesAside(this.options.dataDir, this.folder, this.stream.name)
    dropSalvage(this.folder)
    for (const name of [NEXT_FILE, PREPARE_FILE, ROLL_FILE]) {
      if (fs.existsSync(path.join(this.folder, name))) this.unfinished++
    }
    const names = segmentNames(this.folder)
    this.segments = names.length
    const last = names.at(-1)
    if (last === undefined) return
    // From the end on: each repair asks the neighbours for what they know.
    this.repairLast(last, names.at(-2))
    for (const name of names.slice(0, -1).toReversed()) {
      if (!isUnsealed(this.folder, name)) break
      this.unsealed++
      const next = names[names.indexOf(name) + 1]
      this.repairBefore(name, firstPositionOf(next ?? '') ?? 0)
    }
  }

  private repairLast(last: string, before: string | undefined): void {
    const first = firstPositionOf(last) ?? 0
    this.walFrames += readWal(this.fileOf(`${last}-wal`)).frames
    const checked = this.check(last)
    if (checked.kind === 'damaged') {
      this.fix(last, checked.why)
      return
    }
    const { isEmpty, isSealed, isSalvaged, end, lastBoot } = checked.facts
    this.lastBoot = lastBoot
    // That it has no WAL says nothing: SQLite takes it away with every orderly close, and so does a
    // process that ends by an exception, or anybody who looks at the file after a crash.
    if (isEmpty) {
      if (before !== undefined) this.repairBefore(before, first)
      else if (first > 0) this.fix(segmentFileName(0), 'every segment before this one is missing')
    } else if (isSealed && !isSalvaged) {
      this.fix(segmentFileName(end), 'the segment that was appended to is missing')
    }
  }

  /** A segment that must end where the next one begins. */
  private repairBefore(name: string, nextFirst: number): void {
    const checked = this.check(name)
    if (checked.kind === 'damaged') {
      this.fix(name, checked.why)
      return
    }
    const { end, isSealed, lastBoot } = checked.facts
    this.lastBoot = Math.max(this.lastBoot, lastBoot)
    if (end >= nextFirst) return
    const why = `it ends at ${end}, and the next one begins at ${nextFirst}`
    if (isSealed) this.fix(segmentFileName(end), 'a segment is missing here')
    else this.fix(name, why)
  }

  private check(name: string): Checked {
    const first = firstPositionOf(name) ?? 0
    // Without a sync at each commit a power loss may leave any page of the WAL unwritten: what
    // SQLite makes of it is all that was promised.
    return this.stream.ackAfter === 'fsync'
      ? checkSegment(this.fileOf(name), this.stream.name, first)
      : checkDatabase(this.fileOf(name), this.stream.name, first)
  }

  private fix(file: string, why: string): void {
    const { dataDir, segmentBytes } = this.options
    const { name: stream, partitions } = this.stream
    const slack = recordsMax(segmentBytes)
    this.repaired.push(repairSegment(dataDir, { stream, file, why, partitions }, slack))
  }

  private fileOf(name: string): string {
    return path.join(this.folder, name)
  }
}
