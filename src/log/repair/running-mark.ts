/**
 * Two tiny files beside `state.db`:
 *
 *   data/running   there while a gateway runs: one that is found at a start tells of an unclean
 *                  stop. After one, the segment that was appended to has a WAL; where it has none,
 *                  the WAL is lost, and with it commits of which nothing else knows.
 *   data/epoch     the epoch and the boot a second time, so that neither goes back when `state.db`
 *                  is lost.
 */
import fs from 'node:fs'
import path from 'node:path'
import { syncFolder, syncPath } from '../writer/segment-file.ts'

const RUNNING_FILE = 'running'
const EPOCH_FILE = 'epoch'

export function wasRunning(dataDir: string): boolean {
  return fs.existsSync(path.join(dataDir, RUNNING_FILE))
}

/**
 * Marks a start, once every stream's active segment is open. The folders are synced first: the mark
 * must not outlive the names of the WAL files that it promises.
 */
export function markRunning(dataDir: string, folders: readonly string[]): void {
  for (const folder of folders) syncFolder(folder)
  if (wasRunning(dataDir)) return
  const file = path.join(dataDir, RUNNING_FILE)
  fs.writeFileSync(file, '', { mode: 0o600 })
  syncFolder(dataDir)
}

/** A clean stop. */
export function unmarkRunning(dataDir: string): void {
  fs.rmSync(path.join(dataDir, RUNNING_FILE), { force: true })
}

export interface Numbers {
  readonly epoch: number
  readonly boot: number
}

/** As last written; zeros when the file is missing or makes no sense. */
export function readNumbers(dataDir: string): Numbers {
  const file = path.join(dataDir, EPOCH_FILE)
  const text = fs.existsSync(file) ? fs.readFileSync(file, 'latin1') : ''
  const [, epoch, boot] = /^epoch (\d{1,9})\nboot (\d{1,9})\n$/.exec(text) ?? []
  return { epoch: Number(epoch ?? 0), boot: Number(boot ?? 0) }
}

/** Writes both durably; without a change nothing is written. */
export function writeNumbers(dataDir: string, { epoch, boot }: Numbers): void {
  const known = readNumbers(dataDir)
  if (known.epoch === epoch && known.boot === boot) return
  const file = path.join(dataDir, EPOCH_FILE)
  fs.writeFileSync(`${file}.new`, `epoch ${epoch}\nboot ${boot}\n`, { mode: 0o600 })
  syncPath(`${file}.new`)
  fs.renameSync(`${file}.new`, file)
  syncFolder(dataDir)
}
