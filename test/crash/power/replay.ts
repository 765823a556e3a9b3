/**
 * Whether the recorder saw everything: its notes, replayed in full, must give the directory that
 * the processes left. A way to the disk that it does not know would show here.
 */
import fs from 'node:fs'
import path from 'node:path'
import { SeededRandom } from '../../../src/base/random.ts'
import type { History } from './history.ts'
import { NO_CUT, writeImage } from './image.ts'

/** Paths that differ; shared memory left aside, which is mapped and not written. */
export function replayDifferences(history: History, disk: string, folder: string): string[] {
  fs.mkdirSync(folder)
  writeImage(history, NO_CUT, new SeededRandom(0), folder)
  const paths = new Set([...filesIn(disk), ...filesIn(folder)])
  return [...paths].filter((file) => !sameFile(path.join(disk, file), path.join(folder, file)))
}

function filesIn(folder: string): string[] {
  return fs
    .readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => !name.endsWith('-shm'))
}

function sameFile(one: string, other: string): boolean {
  if (!fs.existsSync(one) || !fs.existsSync(other)) return false
  if (fs.statSync(one).isDirectory()) return fs.statSync(other).isDirectory()
  return fs.readFileSync(one).equals(fs.readFileSync(other))
}
