/**
 * Two tiny files beside `state.db`:
 *
 *   data/running   there while a gateway runs: one that is found at a start tells of an unclean
 *                  stop. It names the segments that were appended to when it was written, a line
 *                  each: those had a WAL then, and have one after an unclean stop. Where there is
 *                  none it is lost, and with it commits of which nothing else knows.
 *   data/epoch     the epoch and the boot a second time, so that neither goes back when `state.db`
 *                  is lost.
 */
import fs from 'node:fs'
import path from 'node:path'
import { streamFolder } from '../segment.ts'
import { segmentNames } from '../writer/recovery.ts'
import { syncFolder, syncPath } from '../writer/segment-file.ts'

const RUNNING_FILE = 'running'
const EPOCH_FILE = 'epoch'

/** Of a stop that was not clean: the segments that had a WAL, as `<stream>/<file>`. */
export function runningSegments(dataDir: string): ReadonlySet<string> | undefined {
  const file = path.join(dataDir, RUNNING_FILE)
  if (!fs.existsSync(file)) return undefined
  return new Set(fs.readFileSync(file, 'utf8').split('\n'))
}

/**
 * Marks a start, once every stream's active segment is open. The folders are synced first: the mark
 * must not outlive the names of the WAL files that it promises.
 */
export function markRunning(dataDir: string, streams: readonly string[]): void {
  const active = streams.map((stream) => {
    const folder = streamFolder(dataDir, stream)
    syncFolder(folder)
    return `${stream}/${segmentNames(folder).at(-1) ?? ''}\n`
  })
  writeDurably(path.join(dataDir, RUNNING_FILE), active.join(''))
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
  writeDurably(path.join(dataDir, EPOCH_FILE), `epoch ${epoch}\nboot ${boot}\n`)
}

function writeDurably(file: string, text: string): void {
  fs.writeFileSync(`${file}.new`, text, { mode: 0o600 })
  syncPath(`${file}.new`)
  fs.renameSync(`${file}.new`, file)
  syncFolder(path.dirname(file))
}
