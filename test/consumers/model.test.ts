import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { it, onTestFinished } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import type { EventLog } from '../../src/log/log.ts'
import { MemoryLog } from '../../src/log/memory.ts'
import { openLog } from '../../src/log/open.ts'
import { NOON_MS, stream } from './given.ts'
import { type Durable, GroupRun } from './model.ts'

const SEEDS = Number(process.env['SLUICE_CONSUMER_SEEDS'] ?? 8)
const FIRST_SEED = Number(process.env['SLUICE_SEED'] ?? 1)

/** The log stays as it is: restarts are of the consumers alone. */
function inMemory(log: EventLog): Durable {
  const same = async (): Promise<Durable> => inMemory(log)
  return { log, reopen: same, crash: same }
}

/** Real files: a crash is what a copy of them, made while the gateway runs, opens as. */
async function onDisk(clock: ManualClock, dataDir: string): Promise<Durable> {
  const log = await openLog({ dataDir, streams: [stream('s')], clock, tailBytes: 64 * 1024 })
  const copied = async (): Promise<Durable> => {
    const folder = await emptyFolder()
    // In a process of its own: closing a database file here would drop SQLite's locks on it.
    execFileSync('cp', ['-r', `${dataDir}/.`, folder])
    const opened = await onDisk(clock, folder)
    onTestFinished(() => log.close())
    return opened
  }
  const reopened = async (): Promise<Durable> => {
    await log.close()
    return onDisk(clock, dataDir)
  }
  return { log, reopen: reopened, crash: copied }
}

async function emptyFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'sluice-consumers-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

it.each(Array.from({ length: SEEDS }, (_, index) => FIRST_SEED + index))(
  'a group gives every record and no settled one twice: seed %i',
  async (seed) => {
    const clock = new ManualClock(NOON_MS)
    await new GroupRun(seed, clock, inMemory(new MemoryLog([stream('s')], clock))).run(120)
  },
)

it.each([0, 1].map((each) => FIRST_SEED + each))(
  'and so it does on disk, through restarts and crashes: seed %i',
  async (seed) => {
    const clock = new ManualClock(NOON_MS)
    await new GroupRun(seed, clock, await onDisk(clock, await emptyFolder())).run(80)
  },
)
