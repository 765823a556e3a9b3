/**
 * The keeper thread: everything that takes long and that no commit may wait for. It makes the next
 * segment, moves a WAL into its database while the writer goes on, and seals full segments.
 *
 * What fails here is told as trouble, for the log book of the gateway, and loses nothing: the
 * writer makes its own segment, a seal is finished at the next start. A checkpoint that fails puts
 * in doubt what the files have, so it goes to the writer, which suspends the stream.
 */
import fs from 'node:fs'
import path from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import Database from 'better-sqlite3'
import { present } from '../../base/assert.ts'
import { codeOf, messageOf } from '../../base/errors.ts'
import { failPoint } from '../../base/fail-point.ts'
import { type FoundRepair, repairFound } from '../repair/find.ts'
import { streamFolder } from '../segment.ts'
import { segmentNames } from '../writer/recovery.ts'
import { createSegmentFile, NEXT_FILE, openDatabase, PREPARE_FILE } from '../writer/segment-file.ts'
import type { FromKeeper, KeeperOptions, ToKeeper } from './protocol.ts'
import { trySeal } from './seal.ts'
import { type FolderSurvey, Surveyor } from './survey.ts'

/** While the writer appends, a pass leaves what came meanwhile; later ones have little to do. */
const CHECKPOINT_PASSES_MAX = 6
/** Pages left in the WAL that the writer may move itself, between two commits (about 1 ms). */
const PAGES_LEFT_MAX = 64
/** A seal is tried again after 20, 40, … ms: 12 times are 82 s, longer than any read takes. */
const SEAL_RETRY_MS = 20
const SEAL_TRIES_MAX = 12
const BUSY_WAIT_MS = 20

interface Seal {
  readonly stream: number
  readonly file: string
  readonly db: Database.Database
  timer: NodeJS.Timeout | undefined
}

const port = present(parentPort, 'the port of the keeper thread')
const options = workerData as KeeperOptions
const seals = new Set<Seal>()
/** Files whose seal was given up until the next start: nobody of this process has them open. */
const unsealed = new Set<string>()
const surveyors = options.streams.map(
  (name, stream) =>
    new Surveyor(streamFolder(options.dataDir, name), (sentence) =>
      post({ kind: 'trouble', stream, sentence }),
    ),
)

function post(message: FromKeeper): void {
  port.postMessage(message)
}

function handle(order: ToKeeper): void {
  switch (order.kind) {
    case 'prepare':
      attempt(order.stream, 'preparing a segment', () => prepare(order.stream))
      break
    case 'checkpoint':
      checkpoint(order.stream, order.file)
      break
    case 'seal':
      attempt(order.stream, `sealing ${order.file}`, () => seal(order.stream, order.file))
      break
    case 'survey':
      post({ kind: 'surveyed', streams: surveyors.map((_, stream) => survey(stream)) })
      break
    case 'remove':
      post({ kind: 'removed', failure: remove(order.stream, order.file) })
      break
    case 'repair':
      post({ kind: 'repair', found: repair(order.stream, order.file) })
      break
    case 'close':
      close()
      break
    default:
      order satisfies never
  }
}

/** Does it, and tells of a storage error as trouble; anything else is a bug. */
function attempt(stream: number, what: string, work: () => void): void {
  try {
    work()
  } catch (thrown) {
    if (codeOf(thrown) === undefined) throw thrown
    const name = options.streams[stream] ?? ''
    post({ kind: 'trouble', stream, sentence: `${what} of "${name}" failed: ${messageOf(thrown)}` })
  }
}

/** The rename comes last, so that the writer finds a whole segment or none. */
function prepare(stream: number): void {
  createSegmentFile(fileOf(stream, PREPARE_FILE), openDatabase)
  failPoint('prepare:before-rename')
  fs.renameSync(fileOf(stream, PREPARE_FILE), fileOf(stream, NEXT_FILE))
}

/** A failure is for the writer, which acknowledges nothing more until it has proved the segment. */
function checkpoint(stream: number, file: string): void {
  try {
    const caughtUp = moveWal(fileOf(stream, file))
    post({ kind: 'checkpointed', stream, file, caughtUp, failure: undefined })
  } catch (thrown) {
    const code = codeOf(thrown)
    if (code === undefined) throw thrown
    // Somebody else has it locked: nothing was written.
    const failure = /^SQLITE_(BUSY|LOCKED)/.test(code)
      ? undefined
      : { code, message: `a checkpoint of ${file} failed: ${messageOf(thrown)}` }
    post({ kind: 'checkpointed', stream, file, caughtUp: false, failure })
  }
}

/**
 * Moves the WAL into the database; true when it is so far behind no more that the writer can move
 * the rest. PASSIVE waits for nobody and nobody waits for it. A pass moves what was there when it
 * began, and what the next one finds beyond that came meanwhile.
 */
function moveWal(file: string): boolean {
  const db = new Database(file, { fileMustExist: true, timeout: BUSY_WAIT_MS })
  try {
    db.pragma('synchronous = NORMAL')
    let moved = 0
    for (let pass = 0; pass < CHECKPOINT_PASSES_MAX; pass++) {
      failPoint(pass === 0 ? 'checkpoint:before' : 'checkpoint:between-passes')
      const [{ log, checkpointed }] = db.pragma('wal_checkpoint(PASSIVE)') as [
        { log: number; checkpointed: number },
      ]
      if (log !== checkpointed) return false
      if (pass > 0 && log - moved <= PAGES_LEFT_MAX) return true
      moved = log
    }
    return false
  } finally {
    db.close()
  }
}

function survey(stream: number): FolderSurvey {
  const surveyor = present(surveyors[stream], `stream ${stream}`)
  return surveyor.survey((file) => isOpen(stream, file))
}

/**
 * A full segment with a WAL is open: in the writer, or in its seal, which empties the WAL. An empty
 * one otherwise is what somebody left who only read a segment that is not sealed.
 */
function isOpen(stream: number, file: string): boolean {
  const segment = fileOf(stream, file)
  if (unsealed.has(segment)) return false
  for (const held of seals) if (held.stream === stream && held.file === file) return true
  return (fs.statSync(`${segment}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0
}

/** Why it could not be deleted; undefined when it is gone. */
function remove(stream: number, file: string): string | undefined {
  try {
    present(surveyors[stream], `stream ${stream}`).remove(file)
    unsealed.delete(fileOf(stream, file))
    return undefined
  } catch (thrown) {
    if (codeOf(thrown) === undefined) throw thrown
    return messageOf(thrown)
  }
}

/** A segment whose WAL is still open in the writer or in its seal has to wait. */
function repair(stream: number, file: string): FoundRepair {
  const segment = fileOf(stream, file)
  const isActive = segmentNames(path.dirname(segment)).at(-1) === file
  if (!isActive && isOpen(stream, file)) return { kind: 'busy' }
  try {
    return repairFound(options.dataDir, options.streams[stream] ?? '', file)
  } catch (thrown) {
    if (codeOf(thrown) === undefined) throw thrown
    return { kind: 'failed', reason: messageOf(thrown) }
  }
}

/** Opens the segment first, so that the writer's close does not run the checkpoint. */
function seal(stream: number, file: string): void {
  const db = new Database(fileOf(stream, file), { fileMustExist: true, timeout: BUSY_WAIT_MS })
  try {
    // A connection joins the WAL with its first read, not when it is opened.
    db.prepare('SELECT count(*) FROM segment').get()
  } catch (thrown) {
    // Damaged: the writer's handle may go all the same, for whoever repairs it.
    db.close()
    unsealed.add(fileOf(stream, file))
    post({ kind: 'holding', stream, file })
    throw thrown
  }
  const held: Seal = { stream, file, db, timer: undefined }
  seals.add(held)
  post({ kind: 'holding', stream, file })
  retryLater(held, 1)
}

function retryLater(held: Seal, tries: number): void {
  held.timer = setTimeout(
    () => {
      attempt(held.stream, `sealing ${held.file}`, () => {
        if (finish(held)) return
        if (tries < SEAL_TRIES_MAX) retryLater(held, tries + 1)
        else giveUp(held)
      })
    },
    SEAL_RETRY_MS * 2 ** (tries - 1),
  )
}

/** True when the segment is sealed; closes it then, and also when it fails. */
function finish(held: Seal): boolean {
  let sealed = false
  try {
    sealed = trySeal(held.db)
  } catch (thrown) {
    drop(held)
    unsealed.add(fileOf(held.stream, held.file))
    throw thrown
  }
  if (sealed) {
    drop(held)
    post({ kind: 'sealed', stream: held.stream, file: held.file })
  }
  return sealed
}

function giveUp(held: Seal): void {
  drop(held)
  unsealed.add(fileOf(held.stream, held.file))
  const sentence = `${held.file} is still read by others: it stays in WAL mode until the next start`
  post({ kind: 'trouble', stream: held.stream, sentence })
}

function drop(held: Seal): void {
  seals.delete(held)
  held.db.close()
}

/** One last try for each seal that waits; the next start finishes the others. */
function close(): void {
  for (const held of seals) {
    clearTimeout(held.timer)
    attempt(held.stream, `sealing ${held.file}`, () => {
      if (!finish(held)) giveUp(held)
    })
  }
  post({ kind: 'closed' })
  port.close()
}

function fileOf(stream: number, file: string): string {
  return path.join(streamFolder(options.dataDir, options.streams[stream] ?? ''), file)
}

port.on('message', handle)
