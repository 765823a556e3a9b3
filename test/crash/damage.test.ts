/**
 * G5: flips bits, truncates, zeroes and deletes in every kind of file, and opens. It must boot,
 * append and read; what is missing must be exactly what the ledger says; nothing that comes back
 * may be wrong. `SLUICE_DAMAGE_ROUNDS` and `SLUICE_SEED` make it longer and different.
 */
import fs from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { SeededRandom } from '../../src/base/random.ts'
import type { EventLog } from '../../src/log/log.ts'
import { segmentNames } from '../../src/log/writer/recovery.ts'
import { append, copyAsCrashed, emptyFolder, open, readAll, stream } from '../log/given.ts'

const ROUNDS = Number(process.env['SLUICE_DAMAGE_ROUNDS'] ?? 40)
const SEED = Number(process.env['SLUICE_SEED'] ?? 2027)
const STREAMS = [stream('a', { partitions: 2 }), stream('b')]
const TINY = { segmentBytes: 24 * 1024, tailBytes: 4096, slabBytes: 4096, walBytesMax: 16 * 1024 }

/** By stream: what each position holds. */
type Model = ReadonlyMap<string, readonly string[]>

it(`boots after damage and accounts for all that is missing, ${ROUNDS} times`, async () => {
  const random = new SeededRandom(SEED)
  const { crashed, clean, model } = await build(random)
  const done: string[] = []
  let lost = 0
  for (let round = 0; round < ROUNDS; round++) {
    const dataDir = await copyAsCrashed(round % 2 === 0 ? crashed : clean)
    const what = harm(dataDir, random)
    done.push(what)
    lost += await audit(dataDir, model, what, `round ${round}: ${what}; seed ${SEED}`)
    fs.rmSync(dataDir, { recursive: true })
  }
  process.stdout.write(`damage: ${ROUNDS} rounds, ${lost} records lost and noted (seed ${SEED})\n`)
}, 900_000)

async function build(random: SeededRandom): Promise<{
  crashed: string
  clean: string
  model: Model
}> {
  const clean = await emptyFolder()
  const log = await open(clean, STREAMS, TINY)
  for (let i = 0; i < 160; i++) {
    const burst = Array.from({ length: 1 + random.below(8) }, (_, j) => {
      const size = random.below(20) === 0 ? 9000 : random.below(400)
      return append(log, i % 3 === 0 ? 'b/x' : `a/${j % 5}`, `${i}.${j} ${'x'.repeat(size)}`)
    })
    for (const { settled } of burst) expect(await settled).toBe('kept')
  }
  const model = new Map<string, readonly string[]>()
  for (const { name } of STREAMS) model.set(name, await readAll(log, name))
  const crashed = await copyAsCrashed(clean)
  await log.close()
  return { crashed, clean, model }
}

/** Harms one file at a random place, and says what it did. */
function harm(dataDir: string, random: SeededRandom): string {
  const files = fs
    .readdirSync(dataDir, { recursive: true, encoding: 'utf8' })
    .filter((name) => /(\.db|\.db-wal|epoch)$/.test(name))
    .sort()
  const name = files[random.below(files.length)] ?? ''
  const file = path.join(dataDir, name)
  const bytes = fs.readFileSync(file)
  const at = random.below(Math.max(1, bytes.length))
  switch (random.below(8)) {
    case 0:
      fs.writeFileSync(file, bytes.subarray(0, at))
      return `${name} is cut off at ${at}`
    case 1: {
      const end = Math.min(bytes.length, at + 1 + random.below(6000))
      fs.writeFileSync(file, bytes.fill(0, at, end))
      return `${name} is zero in [${at}, ${end})`
    }
    case 2: {
      // What nothing can tell from a log that began later: the oldest segment is gone.
      const isFirst = /0000000000000000\.db/.test(name)
      if (!isFirst) fs.rmSync(file)
      return isFirst ? 'nothing' : `${name} is deleted`
    }
    case 3:
      fs.writeFileSync(file, '')
      return `${name} is empty`
    default: {
      const flips = 1 + random.below(4)
      for (let i = 0; i < flips; i++) {
        const where = i === 0 ? at : random.below(Math.max(1, bytes.length))
        bytes[where] = (bytes[where] ?? 0) ^ (1 << random.below(8))
      }
      fs.writeFileSync(file, bytes)
      return `${name} has ${flips} bits flipped, the first at ${at}`
    }
  }
}

/** Opens, appends, reads and compares; how many records are gone. */
async function audit(dataDir: string, model: Model, what: string, round: string): Promise<number> {
  // The end of a WAL that is cut off, or damaged in its last transaction, cannot be known.
  const mayEndEarly = (name: string) => what.includes(`streams/${name}/`) && /-wal/.test(what)
  let lost = 0
  let log: EventLog
  try {
    log = await open(dataDir, STREAMS, TINY)
  } catch (cause) {
    throw new Error(`it does not boot: ${round}`, { cause })
  }
  for (const { name } of STREAMS) {
    const added = append(log, `${name}/new`, 'new')
    expect(await added.settled, round).toBe('kept')
    const was = model.get(name) ?? []
    const found = new Map<number, string>()
    for (const line of await readAll(log, name)) found.set(Number.parseInt(line, 10), line)
    const gaps = log.state.gaps.list({ stream: name })
    const isGap = (at: number) => gaps.some(({ first, end }) => first <= at && at < end)
    found.delete(added.record.position)
    for (const [at, line] of found) {
      expect(line, `wrong bytes: ${round}`).toBe(was[at])
      expect(isGap(at), `a gap covers ${at} of ${name}, which is there: ${round}`).toBe(false)
    }
    const reused = added.record.position < was.length
    if (reused) expect(mayEndEarly(name), `position given out twice: ${round}`).toBe(true)
    const end = Math.min(was.length, added.record.position)
    for (let at = 0; at < end; at++) {
      if (found.has(at)) continue
      lost++
      expect(isGap(at), `${at} of ${name} is missing without a gap: ${round}`).toBe(true)
    }
  }
  await log.close()
  expect(segmentNames(path.join(dataDir, 'streams/a')).length, round).toBeGreaterThan(0)
  return lost
}
