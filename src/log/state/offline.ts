/**
 * The state of a data directory for commands: read beside a running gateway or in a copy, and
 * changed while no gateway runs.
 */
import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import type { Clock } from '../../base/clock.ts'
import { codeOf, messageOf, SluiceError } from '../../base/errors.ts'
import { takeDataDir } from '../data-dir.ts'
import type { StreamBounds } from '../log.ts'
import { type LogReader, openLogReader } from '../reader/log-reader.ts'
import type { Cursors, Gaps } from '../state.ts'
import type { LogSource } from './placing.ts'
import { fileSink, memorySink } from './sink.ts'
import { isDamage, STATE_FILE, StateFile } from './state-file.ts'
import { StateStore } from './store.ts'
import { emptyImage, readImage, type StateImage } from './tables.ts'

/** How long a read waits for a lock, which a gateway holds for a moment at its start and end. */
const BUSY_WAIT_MS = 5000

export interface StateView {
  readonly epoch: number
  readonly cursors: Pick<Cursors, 'get' | 'list' | 'lag'>
  readonly gaps: Pick<Gaps, 'list' | 'totals'> & { readonly forgotten: number }
}

/**
 * What `state.db` says now: a running gateway writes lazy commits every few seconds. A data
 * directory without one has an empty state. Bounds are read once a stream and view.
 * Throws `state-damaged`, `format-unknown`, `storage`.
 */
export function viewState(dataDir: string, reader: LogReader, clock: Clock): StateView {
  const state = new StateStore({ image: imageIn(dataDir), sink: memorySink(), clock })
  state.attach(sourceOf(reader))
  return state
}

/**
 * Takes the data directory, which must be there, and runs `work` on its state; every change is on
 * disk when its promise resolves. Rejects with `data-dir-locked` while a gateway runs.
 */
export async function changeState<T>(
  dataDir: string,
  clock: Clock,
  work: (state: StateStore, reader: LogReader) => Promise<T>,
): Promise<T> {
  const reader = openLogReader(dataDir)
  try {
    const lock = takeDataDir(dataDir)
    try {
      const file = new StateFile(dataDir)
      const state = new StateStore({ image: file.read(), sink: fileSink(file), clock })
      state.attach(sourceOf(reader))
      try {
        return await work(state, reader)
      } finally {
        await state.close()
      }
    } finally {
      lock.release()
    }
  } finally {
    reader.close()
  }
}

/** A reader as cursors ask the log. */
function sourceOf(reader: LogReader): LogSource {
  const known = new Map<string, StreamBounds>()
  return {
    read: async (query) => reader.read(query),
    locate: async (stream, start) => reader.locate(stream, start),
    bounds: async (stream) => {
      const bounds = known.get(stream) ?? reader.bounds(stream)
      known.set(stream, bounds)
      return bounds
    },
  }
}

function imageIn(dataDir: string): StateImage {
  const file = path.join(dataDir, STATE_FILE)
  if (!fs.existsSync(file)) return emptyImage
  try {
    const db = new Database(file, { readonly: true, timeout: BUSY_WAIT_MS })
    try {
      return readImage(db, file)
    } finally {
      db.close()
    }
  } catch (thrown) {
    throw explained(file, thrown)
  }
}

function explained(file: string, thrown: unknown): unknown {
  const code = codeOf(thrown)
  if (code === undefined || thrown instanceof SluiceError) return thrown
  if (isDamage(code)) {
    const message = `${file} is damaged: ${messageOf(thrown)}`
    return new SluiceError('state-damaged', message, { cause: thrown })
  }
  const why =
    code === 'SQLITE_CANTOPEN' || code.startsWith('SQLITE_READONLY')
      ? 'reading it needs its folder to be writable; copy the directory to where you may write'
      : messageOf(thrown)
  return new SluiceError('storage', `${file} cannot be read: ${why}`, { cause: thrown })
}
