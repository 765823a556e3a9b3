/**
 * Builds images from a journal and checks them, one line of JSON each. A process of its own: a bug
 * in the log ends it, and whoever started it knows at which image.
 *
 *   examine.ts <journal> <load seed> <image seed> <from> <to> <streams that promise, with commas>
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { SeededRandom } from '../../../src/base/random.ts'
import { checkImage, promisedBy } from './check.ts'
import { checkCopies } from './check-copies.ts'
import { historyOf } from './history.ts'
import { randomCut, writeImage } from './image.ts'
import { parseJournal } from './journal.ts'
import { Load } from './load.ts'

const [file = '', loadSeed, imageSeed, from, to, streams = ''] = process.argv.slice(2)
const history = historyOf(parseJournal(fs.readFileSync(file)))
const load = new Load(Number(loadSeed))

for (let image = Number(from); image < Number(to); image++) {
  const began = performance.now()
  const random = new SeededRandom(Number(imageSeed) ^ Math.imul(image + 1, 0x9e3779b1))
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sluice-image-'))
  try {
    const cut = randomCut(history, random)
    writeImage(history, cut, random, folder)
    const lines = history.marks.filter(({ at }) => at < cut.at).map(({ line }) => line)
    const promised = promisedBy(lines, streams.split(','))
    const checked = await checkImage(path.join(folder, 'data'), promised, load)
    const faults = [...checked.faults]
    await checkCopies(folder, lines, faults)
    const durationMs = performance.now() - began
    process.stdout.write(`${JSON.stringify({ image, cut, durationMs, ...checked, faults })}\n`)
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}
