import { present } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { finishRestore } from './backup/move-in.ts'
import { type ClockProbe, clockProbe } from './clock/probe.ts'
import { bootRow, ClockWatch, rowAtStart } from './clock/watch.ts'
import { makeStreamFolders, reserveMayHelp, spendReserve, takeDataDir } from './data-dir.ts'
import { withFallback } from './fallback.ts'
import type { EventLog, StreamSettings } from './log.ts'
import { NO_END, outOfService, refuseStart, tellOutOfService } from './out-of-service.ts'
import { noteRepairs } from './repair/ledger.ts'
import { DATA_FILES, setOddAside } from './repair/odd.ts'
import { Repairs } from './repair/repairs.ts'
import { markRunning, unmarkRunning, writeNumbers } from './repair/running-mark.ts'
import { hasRepairs, repairSentence, startSentence } from './repair/sentences.ts'
import { repairAtStart, type StartFindings } from './repair/start.ts'
import type { Segments } from './retention/segments.ts'
import { SqliteLog } from './sqlite-log.ts'
import type { ReserveState } from './state/protocol.ts'
import { openState, type StateStore } from './state/store.ts'
import { WriterThread } from './threads.ts'
import type { StreamEnd } from './writer/protocol.ts'

export type { ClockNumbers } from './clock/watch.ts'

/** Segments of 64 MiB scan in well under a second and copy off in one piece. */
export const SEGMENT_BYTES = 64 * 1024 * 1024
/** Recent records in memory: what live subscribers and short reconnects read. */
export const TAIL_BYTES = 16 * 1024 * 1024
/** A WAL of this size is moved into its database. */
export const WAL_BYTES_MAX = 8 * 1024 * 1024
/** Big enough that a switch is rare, small enough that an idle gateway does not notice one. */
export const SLAB_BYTES = 256 * 1024

export interface OpenLogOptions {
  readonly dataDir: string
  /** The built-in stream comes behind them. */
  readonly streams: readonly StreamSettings[]
  readonly clock: Clock
  readonly segmentBytes?: number
  readonly tailBytes?: number
  readonly walBytesMax?: number
  readonly slabBytes?: number
  /** How far the clock can be trusted; by the machine's own files without it. */
  readonly clockProbe?: ClockProbe
  /** How often the clock is looked at. */
  readonly clockCheckMs?: number
  /** How long a write may take until its stream is stalled, and how often that is looked at. */
  readonly stall?: { readonly stallMs: number; readonly intervalMs: number }
  /** Told about troubles beside the commits, which lose nothing. */
  readonly logger?: Logger
}

/** The log, its files for whoever retires them, and what it knows of the time. */
export type OpenedLog = EventLog & { readonly segments: Segments; readonly time: ClockWatch }

/**
 * Opens the log in a data directory, which is made if it is missing and taken for this process.
 * Rejects with SluiceError `data-dir-locked`, `data-dir-unusable`, `format-unknown` or `storage`.
 */
export async function openLog(given: OpenLogOptions): Promise<OpenedLog> {
  const options = { ...given, streams: withFallback(given.streams) }
  try {
    return await openOnce(options, 'kept')
  } catch (cause) {
    if (!reserveMayHelp(options.dataDir, cause)) throw cause
    // G5: retention, which frees space, can only begin when the log is open.
    options.logger?.warn(
      {},
      `the disk is full: the reserve is given up to start: ${messageOf(cause)}`,
    )
    return openOnce(options, 'spent')
  }
}

async function openOnce(options: OpenLogOptions, reserve: ReserveState): Promise<OpenedLog> {
  const { dataDir, streams, clock, clockProbe: probe = clockProbe(clock) } = options
  const lock = takeDataDir(dataDir)
  let openedState: StateStore | undefined
  let openedWriter: WriterThread | undefined
  try {
    if (reserve === 'spent') spendReserve(dataDir)
    const names = streams.map(({ name }) => name)
    const segmentBytes = options.segmentBytes ?? SEGMENT_BYTES
    const start = putInOrder(options, segmentBytes)
    const state = stateOf(options, start, probe)
    openedState = state
    await noteRepairs(dataDir, state, start.stateLost !== undefined)
    writeNumbers(dataDir, state)
    const writer = writerOf(options, segmentBytes, start.failed)
    openedWriter = writer
    const opened = await writer.open()
    const troubles = outOfService(names, start.failed, opened)
    refuseStart(dataDir, namesOfTakers(streams), troubles)
    const found = opened.map((end) => (end !== undefined && 'end' in end ? end : NO_END))
    markRunning(
      dataDir,
      names.filter((name) => !troubles.has(name)),
    )
    let isSettled = false
    const log = new SqliteLog({
      dataDir,
      streams,
      found,
      outOfService: troubles,
      state,
      clock,
      writer,
      lock: {
        release: () => {
          // Else the next start must find this stop unclean, too: it has the epoch to raise, for
          // streams as well that it finds behind where they were.
          if (isSettled && troubles.size === 0) unmarkRunning(dataDir)
          lock.release()
        },
      },
      repairs: repairsOf(options, state, writer),
      time: watchClock(state, probe, options),
      ...(options.stall && { stall: options.stall }),
      slabBytes: options.slabBytes ?? SLAB_BYTES,
      tailBytes: options.tailBytes ?? TAIL_BYTES,
    })
    try {
      const served = names.flatMap((name, index): [string, StreamEnd][] =>
        troubles.has(name) ? [] : [[name, present(found[index], 'its end')]],
      )
      await settleEnds(start, new Map(served), state, options)
      isSettled = true
    } catch (cause) {
      await log.close()
      throw cause
    }
    tellStart(start, state, options.logger)
    tellOutOfService(troubles, options.logger)
    return log
  } catch (cause) {
    // In this order: the threads have the files open that the lock stands for.
    if (openedWriter !== undefined) openedWriter.onReport = () => undefined
    await openedWriter?.close()
    await openedState?.close()
    lock.release()
    throw cause
  }
}

/** Streams that messages are routed into; all of them where there is none. */
function namesOfTakers(streams: readonly StreamSettings[]): string[] {
  const takers = streams.filter(({ topics }) => topics.length > 0)
  return (takers.length > 0 ? takers : streams).map(({ name }) => name)
}

/** All that is done with the files before anything of them is open. */
function putInOrder({ dataDir, streams }: OpenLogOptions, segmentBytes: number): StartFindings {
  finishRestore(dataDir)
  const odd = setOddAside(dataDir, DATA_FILES)
  const failed = makeStreamFolders(
    dataDir,
    streams.map(({ name }) => name),
  )
  return repairAtStart({ dataDir, streams, segmentBytes, failed, odd })
}

function stateOf(options: OpenLogOptions, start: StartFindings, probe: ClockProbe): StateStore {
  const { dataDir, clock, logger } = options
  return openState({
    dataDir,
    clock,
    bootMin: start.bootMin,
    epochMin: start.epochMin,
    bootRow: (boot) => rowAtStart(boot, clock, probe),
    ...(logger && { logger }),
  })
}

function writerOf(
  options: OpenLogOptions,
  segmentBytes: number,
  failed: ReadonlyMap<string, unknown>,
): WriterThread {
  const { dataDir, streams, walBytesMax = WAL_BYTES_MAX, logger } = options
  const written = streams.map(({ name, partitions, ackAfter, lingerMs }) => ({
    name,
    partitions,
    ackAfter,
    lingerMs,
  }))
  const outOfService = streams.flatMap(({ name }, index) => (failed.has(name) ? [index] : []))
  return new WriterThread(
    { dataDir, streams: written, segmentBytes, walBytesMax, outOfService },
    logger,
  )
}

function repairsOf(options: OpenLogOptions, state: StateStore, writer: WriterThread): Repairs {
  const { dataDir, streams, logger } = options
  return new Repairs({
    dataDir,
    streams: streams.map(({ name }) => name),
    state,
    repair: (stream, file) => writer.repair(stream, file),
    retire: (stream, file) => writer.post({ kind: 'retire', stream, file }),
    logger,
  })
}

/**
 * A crash takes the end of a stream with it that is not synced at each commit: its positions and
 * offsets are given out again (S3), and a cursor may have read further than what was found.
 */
async function settleEnds(
  start: StartFindings,
  ends: ReadonlyMap<string, StreamEnd>,
  state: StateStore,
  { dataDir, streams, logger }: OpenLogOptions,
): Promise<void> {
  const isRepeated = start.wasUnclean && streams.some(({ ackAfter }) => ackAfter !== 'fsync')
  const takenBack = await state.settle(ends, isRepeated)
  writeNumbers(dataDir, state)
  if (takenBack.length === 0) return
  const names = takenBack.map(({ name, stream }) => `"${name}" of "${stream}"`).join(', ')
  logger?.warn(
    { epoch: state.epoch },
    `cursors were ahead of the end of their stream, which lost records in a stop that was not ` +
      `clean; they go on from its end: ${names}`,
  )
}

function watchClock(state: StateStore, probe: ClockProbe, options: OpenLogOptions): ClockWatch {
  const { clock, logger, clockCheckMs } = options
  return new ClockWatch({
    clock,
    probe,
    row: state.boots().get(state.boot) ?? bootRow(state.boot, clock, probe),
    save: (row) => state.saveBoot(row),
    logger,
    ...(clockCheckMs !== undefined && { intervalMs: clockCheckMs }),
  })
}

/** One line for each start, and one for each repair. */
function tellStart(start: StartFindings, state: StateStore, logger: Logger | undefined): void {
  for (const note of start.repaired) logger?.warn({ stream: note.stream }, repairSentence(note))
  const sentence = startSentence(start, state.boot, state.epoch)
  if (hasRepairs(start)) logger?.warn({ boot: state.boot }, sentence)
  else logger?.info({ boot: state.boot }, sentence)
}
