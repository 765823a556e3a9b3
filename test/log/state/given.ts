/** Setup for tests of the state on real files, with a disk that can be full or broken. */
import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { onTestFinished } from 'vitest'
import { ManualClock } from '../../../src/base/clock.ts'
import { asPosition } from '../../../src/log/log.ts'
import type { LogSource } from '../../../src/log/state/placing.ts'
import { fileSink } from '../../../src/log/state/sink.ts'
import { StateFile } from '../../../src/log/state/state-file.ts'
import { type OpenStateOptions, openState, type StateStore } from '../../../src/log/state/store.ts'
import { collectingLogger } from '../../support/logger.ts'
import { tempDir } from '../../support/temp-dir.ts'

export const START_MS = 1_700_000_000_000

/** A log of one stream that ends at 1,000 and answers every question. */
const source: LogSource = {
  read: () => Promise.reject(new Error('nothing is read')),
  locate: async (_, start) => asPosition(start.kind === 'latest' ? 1000 : 0),
  bounds: () => Promise.reject(new Error('nobody asks for bounds')),
}

export function open(dataDir: string, more: Partial<OpenStateOptions> = {}): StateStore {
  const state = openState({ dataDir, clock: new ManualClock(START_MS), flushMs: 1e6, ...more })
  onTestFinished(() => state.close())
  state.attach(source)
  return state
}

/** The data directory after a crash at this moment, opened anew. */
export function reopenCopy(dataDir: string): StateStore {
  const copy = tempDir()
  for (const name of ['state.db', 'state.db-wal']) {
    const file = path.join(dataDir, name)
    if (fs.existsSync(file)) fs.copyFileSync(file, path.join(copy, name))
  }
  return open(copy)
}

/** A store that writes on this thread to a disk that fails as the test says. */
export function onBadDisk() {
  const dataDir = tempDir()
  const disk = {
    /** Every statement fails. */
    broken: false,
    /** The database cannot grow while the reserve is there, and while `usable` is false. */
    full: false,
    usable: true,
    freeBytes: 1e9,
  }
  const isReserved = () => fs.existsSync(path.join(dataDir, 'reserve'))
  const openDatabase = (file: string): Database.Database => {
    const db = new Database(file)
    if (disk.full && (isReserved() || !disk.usable)) db.pragma('max_page_count = 1')
    const prepare = db.prepare.bind(db)
    db.prepare = ((sql: string) => {
      if (disk.broken) throw Object.assign(new Error('disk I/O error'), { code: 'SQLITE_IOERR' })
      return prepare(sql)
    }) as typeof db.prepare
    return db
  }
  const seams = { open: openDatabase, freeBytes: () => disk.freeBytes }
  const logger = collectingLogger()
  const start = (more: Partial<OpenStateOptions> = {}) => {
    const sink = fileSink(new StateFile(dataDir, seams))
    return open(dataDir, { seams, sink, logger, ...more })
  }
  return { dataDir, disk, logger, isReserved, start, state: start() }
}
