/** Compiles the recorder and runs the recorded processes; the result is a journal. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { SeededRandom } from '../../../src/base/random.ts'
import { historyOf } from './history.ts'
import { randomCut, writeImage } from './image.ts'
import { parseJournal } from './journal.ts'
import { writePrelude } from './prelude.ts'

const RECORDER = fileURLToPath(new URL('./recorder.c', import.meta.url))
const CHILD = fileURLToPath(new URL('./child.ts', import.meta.url))

/** Why nothing can be recorded here; undefined when it can. */
export function whyNoRecorder(): string | undefined {
  if (process.platform !== 'linux') return 'LD_PRELOAD is for Linux'
  if (spawnSync('cc', ['--version']).status !== 0) return 'there is no C compiler "cc"'
  return undefined
}

/** The compiled library. */
export function compileRecorder(folder: string): string {
  const library = path.join(folder, 'recorder.so')
  execFileSync('cc', ['-O2', '-Wall', '-shared', '-fPIC', '-pthread', '-o', library, RECORDER])
  return library
}

/**
 * Ways to die, after so many operations at most: while folders are made, while segments are, at
 * work. 0: by its own hand, at the end of its records.
 */
const DIE_BEFORE = [1, 25, 120, 3000]

export interface Recording {
  readonly journal: string
  /** The directory that was recorded, as the last process left it. */
  readonly disk: string
  readonly lives: string
}

export type End = 'die' | 'close' | 'copy'

export interface RecordOptions {
  readonly library: string
  /** Empty; for everything that the recording makes. */
  readonly folder: string
  readonly seed: number
  readonly records: number
  /**
   * After how many operations each process but the last dies (0: at the end of its records), with
   * no power loss between them. Default: the seed says.
   */
  readonly deaths?: readonly number[]
  /** How the last process ends; the seed says without it. "copy": a backup and a restore follow. */
  readonly end?: End
  /** A planted fault: syncs of folders, or all, are left out. */
  readonly ignore?: 'folders' | 'all'
}

/**
 * One to three processes, one after the other on the same data directory: each but the last dies,
 * at a place of its own or at any operation, often while it still opens. Between two of them half
 * of the time the power goes too, so that the next one starts on an image. The last one dies or
 * closes. A planted fault needs its deaths said: an image that does not open is for the checks.
 */
export async function record(options: RecordOptions): Promise<Recording> {
  const random = new SeededRandom(options.seed)
  let disk = path.join(options.folder, 'disk')
  let journal = path.join(options.folder, 'journal')
  fs.mkdirSync(disk)
  const seeded = Array.from({ length: random.below(3) }, () => deathOf(random))
  const deaths = options.deaths ?? seeded
  const told: string[] = []
  for (const [life, dieAt] of [...deaths, 0].entries()) {
    const last = life === deaths.length
    const end = last ? (options.end ?? random.pick(['die', 'close'])) : 'die'
    const firstId = life * 1_000_000
    const records = Math.ceil(options.records / (deaths.length + 1))
    await live(options, { disk, journal, end, dieAt, firstId, records })
    told.push(dieAt > 0 ? `dies at ${dieAt}` : end)
    if (last || options.deaths !== undefined || random.oneIn(2)) continue
    const next = { disk: `${disk}-${life}`, journal: `${journal}-${life}` }
    cutPower(journal, next, random)
    disk = next.disk
    journal = next.journal
    told.push('power goes')
  }
  return { journal, disk, lives: told.join(', ') }
}

function deathOf(random: SeededRandom): number {
  return random.below(random.pick(DIE_BEFORE))
}

interface Life {
  readonly disk: string
  readonly journal: string
  readonly end: End
  readonly dieAt: number
  readonly firstId: number
  readonly records: number
}

function live(options: RecordOptions, life: Life): Promise<void> {
  const { disk, journal, end, dieAt, firstId, records } = life
  const marks = path.join(options.folder, 'marks')
  const env = {
    ...process.env,
    LD_PRELOAD: options.library,
    POWER_ROOT: disk,
    POWER_JOURNAL: journal,
    POWER_MARKS: marks,
    POWER_DIE_AT: String(dieAt),
    POWER_IGNORE: options.ignore ?? '',
  }
  const args = [path.join(disk, 'data'), marks, options.seed, firstId, records, end]
  return run(args.map(String), env, end === 'die' || dieAt > 0)
}

function cutPower(
  journal: string,
  next: { readonly disk: string; readonly journal: string },
  random: SeededRandom,
): void {
  const history = historyOf(parseJournal(fs.readFileSync(journal)))
  const cut = randomCut(history, random)
  fs.mkdirSync(next.disk)
  writeImage(history, cut, random, next.disk)
  const lines = history.marks.filter(({ at }) => at < cut.at).map(({ line }) => line)
  writePrelude(next.journal, next.disk, lines)
}

function run(args: readonly string[], env: NodeJS.ProcessEnv, mayDie: boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', CHILD, ...args], {
      env,
      stdio: ['ignore', 'inherit', 'pipe'],
    })
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      if (code === 0 || (mayDie && signal === 'SIGKILL')) resolve()
      else reject(new Error(`the recorded process ended with ${signal ?? code}:\n${stderr}`))
    })
  })
}
