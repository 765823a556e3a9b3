import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { expect, it } from 'vitest'
import type { NewRecord } from '../../src/log/log.ts'
import { entryBytes, pack } from '../../src/log/pack.ts'
import { Routes } from '../../src/log/routes.ts'
import { Slab } from '../../src/log/slab.ts'
import type { OpenDatabase } from '../../src/log/writer/segment-file.ts'
import { type SlabMemory, slabMemory } from '../../src/log/writer/segment-rows.ts'
import { StreamWriter } from '../../src/log/writer/stream-writer.ts'
import { emptyFolder, stream } from './given.ts'

class DiskFault extends Error {
  readonly code: string
  constructor(code: string) {
    super('the disk said no')
    this.code = code
  }
}

/** Databases whose statements fail while `when` says so. */
class FaultyDisk {
  fails: (sql: string) => boolean = () => false

  readonly open: OpenDatabase = (file) => {
    const db = new Database(file)
    const prepare = db.prepare.bind(db)
    db.prepare = ((sql: string) => {
      const statement = prepare(sql)
      const run = statement.run.bind(statement)
      statement.run = ((...values: unknown[]) => {
        if (this.fails(sql)) throw new DiskFault('SQLITE_FULL')
        return run(...values)
      }) as typeof statement.run
      return statement
    }) as typeof db.prepare
    return db
  }
}

const settings = stream('a')

function writerOn(folder: string, open: OpenDatabase, segmentBytes = 1e6): StreamWriter {
  return new StreamWriter({
    index: 0,
    stream: settings,
    folder,
    segmentBytes,
    walBytesMax: 1e6,
    open,
  })
}

/** Entries of consecutive positions in one slab, with where each begins. */
function entries(first: number, count: number): { memory: SlabMemory; at: number[] } {
  const slab = new Slab(1, 1 << 20)
  const routes = new Routes([settings])
  const bytes = new TextEncoder().encode('payload')
  const at: number[] = []
  for (let position = first; position < first + count; position++) {
    const record: NewRecord = {
      route: routes.route('a/x'),
      client: routes.client('c'),
      qos: 1,
      retain: false,
      key: undefined,
      bytes,
      propertiesAt: 0,
      propertiesEnd: 0,
      payloadAt: 0,
      payloadEnd: bytes.length,
      waiter: { settled: () => undefined },
    }
    const sizeBytes = entryBytes(record)
    const offset = position
    const placing = {
      streamIndex: 0,
      position,
      partition: 0,
      offset,
      timeMs: 5,
      monotonicUs: 6,
      boot: 1,
    }
    pack(slab, slab.used, sizeBytes, record, placing)
    at.push(slab.used)
    slab.used += sizeBytes
  }
  return { memory: slabMemory(slab.shared), at }
}

function insert(writer: StreamWriter, first: number, count: number): void {
  const { memory, at } = entries(first, count)
  for (const each of at) writer.insert(memory, each)
}

for (const [what, pattern] of [
  ['COMMIT', /^COMMIT/],
  ['BEGIN', /^BEGIN/],
  ['an insert', /^INSERT INTO record/],
] as const) {
  it(`W3: halts for good when ${what} fails, and what was committed stays`, async () => {
    const folder = await emptyFolder()
    const disk = new FaultyDisk()
    const writer = writerOn(folder, disk.open)
    expect(writer.open().end).toBe(0)
    insert(writer, 0, 20)
    expect(writer.commit()?.records).toBe(20)

    disk.fails = (sql) => pattern.test(sql)
    insert(writer, 20, 20)
    expect(writer.commit()).toBeUndefined()
    expect(writer.failure).toBe('the disk said no (SQLITE_FULL)')
    disk.fails = () => false
    insert(writer, 20, 20)
    expect(writer.commit()).toBeUndefined()
    writer.close()

    const again = writerOn(folder, disk.open)
    expect(again.open()).toEqual({ end: 20, offsets: [20] })
    again.close()
  })
}

it('W2: halts when the next segment cannot be made, with the old one whole', async () => {
  const folder = await emptyFolder()
  const writer = writerOn(folder, (file) => new Database(file), 100)
  writer.open()
  insert(writer, 0, 20)
  expect(writer.commit()?.records).toBe(20)
  // A folder in the way of the new segment's name.
  fs.mkdirSync(path.join(folder, '0000000000000020.db'))
  insert(writer, 20, 1)
  expect(writer.commit()).toBeUndefined()
  expect(writer.failure).toMatch(/EISDIR|ENOTEMPTY|EEXIST/)
  writer.close()
})

it('W1: a position that does not come next is a bug, not a storage failure', async () => {
  const writer = writerOn(await emptyFolder(), (file) => new Database(file))
  writer.open()
  insert(writer, 0, 1)
  expect(() => insert(writer, 2, 1)).toThrow('W1: position 2')
})

it('W4: orders the next segment at half, a checkpoint at the mark, the seal at the roll', async () => {
  const folder = await emptyFolder()
  const writer = new StreamWriter({
    index: 0,
    stream: settings,
    folder,
    segmentBytes: 9_000,
    walBytesMax: 12_000,
    open: (file) => new Database(file),
  })
  writer.open()
  const kinds: string[] = []
  for (let position = 0; position < 120; position += 10) {
    insert(writer, position, 10)
    writer.commit()
    for (const order of writer.orders.splice(0)) kinds.push(`${position} ${order.kind}`)
  }
  expect(kinds.map((kind) => kind.split(' ')[1])).toEqual(['checkpoint', 'prepare', 'seal'])
  writer.release('0000000000000000.db')
  writer.close()
  const files = fs.readdirSync(folder)
  expect(files).toContain('0000000000000000.db')
  expect(files.filter((name) => /^\d+\.db$/.test(name))).toHaveLength(2)
})

it('writes columns, names once, and a checksum over what the entry says', async () => {
  const folder = await emptyFolder()
  const writer = writerOn(folder, (file) => new Database(file))
  writer.open()
  insert(writer, 0, 40)
  writer.commit()
  writer.close()
  const db = new Database(path.join(folder, '0000000000000000.db'), { readonly: true })
  expect(db.prepare('SELECT * FROM topic').all()).toEqual([{ id: 1, name: 'a/x' }])
  expect(db.prepare('SELECT count(*) FROM record').pluck().get()).toBe(40)
  expect(db.prepare('SELECT * FROM record WHERE position = 33').get()).toMatchObject({
    partition: 0,
    offset: 33,
    topic: 1,
    client: 1,
    flags: 1,
    boot: 1,
    time: 5,
    monotonic: 6,
    properties: null,
    payload: Buffer.from('payload'),
  })
  expect(db.prepare('SELECT count(DISTINCT checksum) FROM record').pluck().get()).toBe(40)
  expect(db.prepare('SELECT * FROM partition').all()).toEqual([
    { partition: 0, first_offset: 0, end_offset: null },
  ])
  db.close()
})

it('W4: moves the end of the WAL after the keeper, so that the WAL is used anew', async () => {
  const folder = await emptyFolder()
  const writer = writerOn(folder, (file) => new Database(file))
  writer.open()
  const wal = path.join(folder, '0000000000000000.db-wal')
  const commitEach = (first: number, count: number): void => {
    for (let position = first; position < first + count; position++) {
      insert(writer, position, 1)
      writer.commit()
    }
  }
  commitEach(0, 50)
  const before = fs.statSync(wal).size
  writer.checkpointed(false)
  writer.restartWal()
  commitEach(50, 1)
  expect(fs.statSync(wal).size).toBeGreaterThan(before)
  const grown = fs.statSync(wal).size
  writer.checkpointed(true)
  writer.restartWal()
  commitEach(51, 40)
  expect(fs.statSync(wal).size).toBe(grown)
  writer.close()
})
