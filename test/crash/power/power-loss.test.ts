/**
 * G1 against power loss: real processes are recorded, disk images are built from the record, and
 * every image must open and hold what was acknowledged. How an image may look stands in image.ts.
 *
 * SLUICE_SEED chooses what is appended and how disks lose; the threads' timing is the machine's, so
 * the same seed records another journal each time. Where a fault is found the journal stays, and
 * the line that names it says how to see the same image again.
 * SLUICE_POWER_IMAGES asks for more images, 100 of each journal.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addTallies, EMPTY_TALLY, examine, type Tally } from './examination.ts'
import { type History, historyOf } from './history.ts'
import { parseJournal } from './journal.ts'
import { PROMISED } from './load.ts'
import {
  compileRecorder,
  type Recording,
  type RecordOptions,
  record,
  whyNoRecorder,
} from './record.ts'
import { replayDifferences } from './replay.ts'

const SEED = Number(process.env['SLUICE_SEED'] ?? 4711)
const IMAGES = Number(process.env['SLUICE_POWER_IMAGES'] ?? 36)
const JOURNALS = Math.max(3, Math.ceil(IMAGES / 100))
const RECORDS = 400
/** A planted fault loses in every second image at least; so many leave nothing to luck. */
const FEW_IMAGES = 10
/** The second note of a first start is that of the data directory itself. */
const MKDIR_NOTE = 2
const TIMEOUT_MS = 120_000 + IMAGES * 2000

const unable = whyNoRecorder()
const title = unable === undefined ? 'G1: power loss' : `G1: power loss (left out: ${unable})`
let folder = ''
let library = ''
let keepFolder = false

describe.skipIf(unable !== undefined)(title, () => {
  beforeAll(() => {
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sluice-power-'))
    library = compileRecorder(folder)
  })

  afterAll(() => {
    if (!keepFolder) fs.rmSync(folder, { recursive: true, force: true })
  })

  it(
    `loses nothing that was acknowledged: ${IMAGES} images of ${JOURNALS} journals`,
    async () => {
      let total = EMPTY_TALLY
      let operations = 0
      let removals = 0
      for (let i = 0; i < JOURNALS; i++) {
        const recording = await recordIn(`journal-${i}`, SEED + i)
        const { history, differences } = replayed(recording)
        expect(differences).toEqual([])
        operations += history.operations.length
        removals += history.marks.filter(({ line }) => line.startsWith('removing')).length
        const images = Math.ceil(IMAGES / JOURNALS)
        total = addTallies(total, await checked(recording, SEED + i, images, PROMISED))
      }
      const done = `${operations} operations, ${removals} segments removed`
      tell(`${JOURNALS} journals, ${done}, ${figures(total)} (seed ${SEED})`)
      expect(total.faults, `seed ${SEED}`).toEqual([])
      expect(total.lostRecords).toBe(0)
      expect(total.ackedRecords).toBeGreaterThan(0)
    },
    TIMEOUT_MS,
  )

  it(
    'keeps the folders of a start that died before it had synced them',
    async () => {
      const recording = await recordIn('folders', SEED, { deaths: [MKDIR_NOTE] })
      const tally = await checked(recording, SEED, FEW_IMAGES, PROMISED)
      expect(tally.faults, `seed ${SEED}`).toEqual([])
      expect(tally.ackedRecords).toBeGreaterThan(0)
    },
    TIMEOUT_MS,
  )

  it(
    'leaves of a backup and of a restore all or nothing',
    async () => {
      const recording = await recordIn('copies', SEED, { deaths: [], end: 'copy' })
      expect(replayed(recording).differences).toEqual([])
      const tally = await checked(recording, SEED, FEW_IMAGES, PROMISED)
      expect(tally.faults, `seed ${SEED}`).toEqual([])
    },
    TIMEOUT_MS,
  )

  describe('and it would be seen', () => {
    const planted: readonly [string, Partial<RecordOptions>, readonly string[]][] = [
      ['streams that commit without a sync had promised to keep', {}, ['write', 'receive']],
      ['syncs of folders were left out', { ignore: 'folders' }, PROMISED],
      ['all syncs were left out', { ignore: 'all' }, PROMISED],
    ]

    it.each(planted)(
      'if %s',
      async (fault, options, streams) => {
        const name = fault.replaceAll(' ', '-')
        const { journal } = await recordIn(name, SEED, { deaths: [], ...options })
        const range = { from: 0, to: FEW_IMAGES, streams }
        const tally = await examine({ journal, loadSeed: SEED, imageSeed: SEED, ...range })
        tell(`where ${fault}: ${figures(tally)}`)
        expect(tally.lostRecords).toBeGreaterThan(0)
      },
      TIMEOUT_MS,
    )
  })
})

function recordIn(
  name: string,
  seed: number,
  options: Partial<RecordOptions> = {},
): Promise<Recording> {
  const own = path.join(folder, name)
  fs.mkdirSync(own)
  return record({ library, folder: own, seed, records: RECORDS, ...options })
}

function replayed({ journal, disk }: Recording): { history: History; differences: string[] } {
  const history = historyOf(parseJournal(fs.readFileSync(journal)))
  const replay = `${disk}-replayed`
  const differences = replayDifferences(history, disk, replay)
  fs.rmSync(replay, { recursive: true })
  return { history, differences }
}

/** Has images checked, and says how to see one again where there are faults. */
async function checked(
  { journal, lives }: Recording,
  loadSeed: number,
  images: number,
  streams: readonly string[],
): Promise<Tally> {
  const range = { from: 0, to: images, streams }
  const tally = await examine({ journal, loadSeed, imageSeed: SEED, ...range })
  if (tally.faults.length > 0) {
    keepFolder = true
    tell(`faults in ${journal} (${lives}); one image again, by its number N and the next:`)
    tell(`  npx tsx test/crash/power/examine.ts ${journal} ${loadSeed} ${SEED} N N+1 ${streams}`)
  }
  return tally
}

function figures(tally: Tally): string {
  const { images, ackedRecords, lostRecords, durationMs } = tally
  const records = `${ackedRecords} acknowledged records checked, ${lostRecords} lost`
  return `${images} images, ${records}, ${Math.round(durationMs / images)} ms an image`
}

function tell(line: string): void {
  process.stdout.write(`power loss: ${line}\n`)
}
