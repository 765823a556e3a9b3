/**
 * G5: what no crash leaves but people, tools and worn-out disks do: folders, dangling links,
 * foreign and half-made files, numbers that cannot be, in every place of a data directory. It must
 * boot, append and read; records may be missing only where a file of theirs was taken away, and
 * then with a gap. `SLUICE_DAMAGE_ROUNDS` and `SLUICE_SEED` make it longer and different.
 */
import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { expect, it } from 'vitest'
import { SeededRandom } from '../../src/base/random.ts'
import { append, copyAsCrashed, emptyFolder, keep, open, readAll, stream } from '../log/given.ts'

const ROUNDS = Number(process.env['SLUICE_DAMAGE_ROUNDS'] ?? 8)
const SEED = Number(process.env['SLUICE_SEED'] ?? 2028)
const STREAMS = [stream('a', { partitions: 2 }), stream('b')]
const TINY = { segmentBytes: 24 * 1024, tailBytes: 4096, slabBytes: 4096, walBytesMax: 16 * 1024 }

/** Does something odd and says what; `takes` when records of stream "a" may go with it. */
interface Oddity {
  readonly what: string
  readonly takes: boolean
}

/** Files that may stand in any folder, whether they do or not. */
const NAMES = [
  'state.db',
  'state.db-wal',
  'state.db-journal',
  'epoch',
  'epoch.new',
  'running',
  'running.new',
  'reserve',
  'gateway.lock',
  'quarantine',
  'quarantine/a',
  'quarantine/state',
  'quarantine/a/odd.json',
  'restoring',
  'streams/a/next.db',
  'streams/a/prepare.db',
  'streams/a/roll.db',
  'streams/a/roll.db-wal',
  'streams/a/salvage.db',
  'streams/a/salvage.db-journal',
  'streams/stray',
] as const

it(`boots with odd entries of all kinds, ${ROUNDS} times`, async () => {
  const random = new SeededRandom(SEED)
  const clean = await emptyFolder()
  const log = await open(clean, STREAMS, TINY)
  await keep(log, 'b/x', 20)
  for (let i = 0; i < 10; i++) await keep(log, 'a/x', 60)
  const model = await readAll(log, 'a')
  const crashed = await copyAsCrashed(clean)
  await log.close()
  for (let round = 0; round < ROUNDS; round++) {
    const dataDir = await copyAsCrashed(round % 2 === 0 ? crashed : clean)
    const oddities = Array.from({ length: 1 + random.below(3) }, () => makeOdd(dataDir, random))
    const what = oddities.map((each) => each.what).join('; ')
    const said = `round ${round}: ${what}; seed ${SEED}`
    await audit(
      dataDir,
      model,
      oddities.some(({ takes }) => takes),
      said,
    )
    fs.rmSync(dataDir, { recursive: true })
  }
}, 900_000)

function makeOdd(dataDir: string, random: SeededRandom): Oddity {
  switch (random.below(6)) {
    case 0:
      return oddState(path.join(dataDir, 'state.db'), random)
    case 1:
      return oddSegment(path.join(dataDir, 'streams/a'), random)
    default:
      return oddEntry(dataDir, random.pick(NAMES), random)
  }
}

/** Something else under a name. */
function oddEntry(dataDir: string, name: string, random: SeededRandom): Oddity {
  const entry = path.join(dataDir, name)
  const kind = random.pick(['a folder', 'a dangling link', 'garbage', 'empty', 'one byte'] as const)
  const above = path.dirname(entry)
  if (!fs.existsSync(above)) fs.mkdirSync(above, { recursive: true })
  if (!fs.statSync(above).isDirectory()) return { what: 'nothing', takes: false }
  fs.rmSync(entry, { recursive: true, force: true })
  switch (kind) {
    case 'a folder':
      fs.mkdirSync(path.join(entry, 'x'), { recursive: true })
      break
    case 'a dangling link':
      fs.symlinkSync(path.join(dataDir, 'no', 'where'), entry)
      break
    case 'garbage':
      fs.writeFileSync(entry, bytes(random, 10_000))
      break
    case 'empty':
      fs.writeFileSync(entry, '')
      break
    case 'one byte':
      fs.writeFileSync(entry, bytes(random, 1))
      break
    default:
      kind satisfies never
  }
  return { what: `${name} is ${kind}`, takes: false }
}

/** A state that another program, or a flipped bit, wrote. */
function oddState(file: string, random: SeededRandom): Oddity {
  const sql = random.pick([
    "UPDATE meta SET value = 9 WHERE key = 'format'",
    "UPDATE meta SET value = -5 WHERE key = 'epoch'",
    "UPDATE meta SET value = 'soon' WHERE key = 'epoch'",
    "UPDATE meta SET value = 1e300 WHERE key = 'gap_last'",
    'DELETE FROM meta',
    'DROP TABLE meta',
    'DROP TABLE boot',
    'DROP TABLE cursor',
    'DROP TABLE gap; CREATE TABLE gap (other)',
    'UPDATE boot SET boot = 9007199254740993',
    "UPDATE boot SET offset = 'x', quality = 7",
    "INSERT INTO cursor VALUES ('odd', 'a', -3, NULL, 0)",
    "INSERT INTO cursor VALUES ('odd', 'a', NULL, '{', 0)",
    "INSERT INTO cursor VALUES ('odd', 'a', NULL, '[1, 2]', 0)",
    "INSERT INTO cursor VALUES ('odd', 'a', NULL, '{\"x\": -1}', 0)",
    "INSERT INTO cursor VALUES ('odd', 'a', NULL, NULL, 0)",
    "INSERT INTO gap VALUES (7, 'a', NULL, 9, 3, 1, 1, 'policy', 0)",
    "INSERT INTO gap VALUES (7, 'a', NULL, -1, 3, 1, 1, 'policy', 0)",
    "INSERT INTO gap VALUES (9007199254740993, 'z', NULL, 0, 3, 1, 1, 'policy', 0)",
    'PRAGMA user_version = 77',
    'PRAGMA application_id = 77',
    'PRAGMA journal_mode = DELETE',
    'PRAGMA page_size = 512; PRAGMA journal_mode = DELETE; VACUUM',
  ])
  const isFile = fs.statSync(file, { throwIfNoEntry: false })?.isFile() === true
  if (!isFile || fs.readFileSync(file).length < 4096) return { what: 'nothing', takes: false }
  const db = new Database(file)
  try {
    db.exec(sql)
  } catch {
    return { what: 'nothing', takes: false }
  } finally {
    db.close()
  }
  return { what: sql, takes: false }
}

/** Segments that are half-made, foreign, doubled or gone. */
function oddSegment(folder: string, random: SeededRandom): Oddity {
  const names = fs.readdirSync(folder).filter((name) => /^\d{16}\.db$/.test(name))
  const name = random.pick(names.sort())
  const file = path.join(folder, name)
  const beyond = path.join(folder, '0000000000009000.db')
  switch (random.below(7)) {
    case 0:
      fs.rmSync(file)
      fs.mkdirSync(path.join(file, 'x'), { recursive: true })
      return { what: `${name} is a folder`, takes: true }
    case 1:
      fs.rmSync(file)
      fs.symlinkSync('nowhere', file)
      return { what: `${name} is a dangling link`, takes: true }
    case 2:
      fs.writeFileSync(beyond, '')
      return { what: 'an empty segment lies behind the last', takes: false }
    case 3:
      fs.writeFileSync(beyond, bytes(random, 9000))
      return { what: 'a segment of garbage lies behind the last', takes: false }
    case 4:
      if (fs.statSync(file).isFile()) fs.copyFileSync(file, beyond)
      return { what: `${name} lies behind the last a second time`, takes: false }
    case 5:
      fs.mkdirSync(`${file}-shm.x`, { recursive: true })
      fs.rmSync(`${file}-shm`, { force: true })
      fs.mkdirSync(`${file}-shm`, { recursive: true })
      return { what: `${name}-shm is a folder`, takes: false }
    default:
      fs.writeFileSync(`${file}-journal`, bytes(random, 3000))
      return { what: `${name} has a journal of garbage`, takes: false }
  }
}

function bytes(random: SeededRandom, count: number): Buffer {
  return Buffer.from(Uint8Array.from({ length: count }, () => random.below(256)))
}

async function audit(
  dataDir: string,
  model: readonly string[],
  takes: boolean,
  said: string,
): Promise<void> {
  const log = await open(dataDir, STREAMS, TINY).catch((cause: unknown) => {
    throw new Error(`it does not boot: ${said}`, { cause })
  })
  expect([...log.failures], said).toEqual([])
  for (const name of ['a', 'b']) expect(await append(log, `${name}/new`).settled, said).toBe('kept')
  expect(await readAll(log, 'b'), said).toHaveLength(21)
  const found = new Map<number, string>()
  for (const line of await readAll(log, 'a')) found.set(Number.parseInt(line, 10), line)
  const gaps = log.state.gaps.list({ stream: 'a' })
  for (const [at, line] of model.entries()) {
    const isGap = gaps.some(({ first, end }) => first <= at && at < end)
    if (takes && !found.has(at)) {
      // What nothing can tell from a log that began later: the oldest segment is gone.
      const isBeginning = ![...found.keys()].some((other) => other < at)
      expect(isGap || isBeginning, `${at} is missing without a gap: ${said}`).toBe(true)
    } else {
      expect(found.get(at), said).toBe(line)
    }
  }
  await log.close()
  const again = await open(dataDir, STREAMS, TINY).catch((cause: unknown) => {
    throw new Error(`it does not boot a second time: ${said}`, { cause })
  })
  expect(await readAll(again, 'b'), said).toHaveLength(21)
  await again.close()
}
