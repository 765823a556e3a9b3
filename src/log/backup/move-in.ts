/**
 * The last step of a restore: from the folder where the work was done to the names of a data
 * directory, which has none of them yet.
 *
 * M1. The mark says that the work is whole, and is durable before anything moves. From then on the
 *     move is finished, by the next start if need be, before anything else looks at the directory:
 *     after a power loss there is nothing, or all of the restored log.
 * M2. Each name is synced before the next one moves, so that what a start without this step would
 *     find is safe as well: the epoch first and the state last, because a start on streams alone
 *     makes a state from them, with a new epoch, and a start on a state alone would begin at 0.
 */
import fs from 'node:fs'
import path from 'node:path'
import { failPoint } from '../../base/fail-point.ts'
import { syncFolder, syncPath } from '../writer/segment-file.ts'

/** Where the work is done, inside the new data directory: a rename then never crosses disks. */
export const WORK_FOLDER = 'restoring'
const MARK = 'complete'
const NAMES = ['epoch', 'streams', 'state.db'] as const

/** Moves what the work folder holds, durably. */
export function moveIn(dataDir: string): void {
  const work = path.join(dataDir, WORK_FOLDER)
  const mark = path.join(work, MARK)
  fs.writeFileSync(mark, '', { mode: 0o600 })
  syncPath(mark)
  syncFolder(work)
  syncFolder(dataDir)
  finishRestore(dataDir)
}

/** Goes on with a move that was cut off; what is moved already is not moved again. */
export function finishRestore(dataDir: string): void {
  const work = path.join(dataDir, WORK_FOLDER)
  if (!fs.existsSync(path.join(work, MARK))) return
  // Never over a log that is there: somebody has put the two together by hand.
  const isThere = (name: string) => name !== 'epoch' && fs.existsSync(path.join(dataDir, name))
  if (NAMES.some((name) => isThere(name) && fs.existsSync(path.join(work, name)))) return
  for (const name of NAMES) {
    const from = path.join(work, name)
    if (!fs.existsSync(from)) continue
    fs.renameSync(from, path.join(dataDir, name))
    syncFolder(dataDir)
    syncFolder(work)
    failPoint('restore:name-moved')
  }
  dropWork(dataDir)
}

/** Deletes the work folder; its mark first, so that nobody goes on with a half of it. */
export function dropWork(dataDir: string): void {
  const work = path.join(dataDir, WORK_FOLDER)
  if (!fs.existsSync(work)) return
  fs.rmSync(path.join(work, MARK), { force: true })
  syncFolder(work)
  fs.rmSync(work, { recursive: true, force: true })
  syncFolder(dataDir)
}

/** Whether the restore is whole, so that the next start ends it. */
export function isWhole(dataDir: string): boolean {
  return fs.existsSync(path.join(dataDir, WORK_FOLDER, MARK))
}
