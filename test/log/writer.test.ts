import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { expect, it, onTestFinished, vi } from 'vitest'
import type { NewRecord } from '../../src/log/log.ts'
import { entryBytes, pack } from '../../src/log/pack.ts'
import { Routes } from '../../src/log/routes.ts'
import { segmentFileName } from '../../src/log/segment.ts'
import { Slab } from '../../src/log/slab.ts'
import type { Checkpointed } from '../../src/log/writer/protocol.ts'
import { segmentNames } from '../../src/log/writer/recovery.ts'
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

/** Databases whose statements fail while `fails` says so, before or after they were carried out. */
class FaultyDisk {
  fails: (sql: string) => 'before' | 'after' | undefined = () => undefined
  code = 'SQLITE_FULL'

  readonly open: OpenDatabase = (file) => {
    const db = new Database(file)
    const prepare = db.prepare.bind(db)
    const exec = db.exec.bind(db)
    db.prepare = ((sql: string) => {
      const statement = prepare(sql)
      const run = statement.run.bind(statement)
      statement.run = ((...values: unknown[]) =>
        this.around(sql, () => run(...values))) as typeof run
      return statement
    }) as typeof db.prepare
    db.exec = (sql: string) => this.around(sql, () => exec(sql))
    return db
  }

  private around<T>(sql: string, work: () => T): T {
    const fault = this.fails(sql)
    if (fault === 'before') throw new DiskFault(this.code)
    const done = work()
    if (fault === 'after') throw new DiskFault(this.code)
    return done
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

function checkpoint(caughtUp: boolean, code?: string): Checkpointed {
  const failure = code === undefined ? undefined : { code, message: 'the disk said no' }
  return { kind: 'checkpointed', stream: 0, file: segmentFileName(0), caughtUp, failure }
}

/** Positions on disk, as another program sees them. */
function onDisk(folder: string): number[] {
  const positions: number[] = []
  for (const name of segmentNames(folder)) {
    const db = new Database(path.join(folder, name), { readonly: true })
    positions.push(...(db.prepare('SELECT position FROM record').pluck().all() as number[]))
    db.close()
  }
  return positions
}

const upTo = (end: number): number[] => Array.from({ length: end }, (_, position) => position)

for (const [what, pattern] of [
  ['COMMIT', /^COMMIT/],
  ['BEGIN', /^BEGIN/],
  ['an insert', /^INSERT INTO record/],
] as const) {
  it(`W3: keeps what waits when ${what} fails, and writes it when the disk is back`, async () => {
    const folder = await emptyFolder()
    const disk = new FaultyDisk()
    const writer = writerOn(folder, disk.open)
    expect(writer.open().end).toBe(0)
    insert(writer, 0, 20)
    expect(writer.commit()?.records).toBe(20)

    disk.fails = (sql) => (pattern.test(sql) ? 'before' : undefined)
    insert(writer, 20, 20)
    expect(writer.commit()).toBeUndefined()
    expect(writer.failure).toBe('the disk said no (SQLITE_FULL)')
    insert(writer, 40, 5)
    expect(writer.commit()).toBeUndefined()
    const delays = [writer.retryDelayMs]
    for (let i = 0; i < 6; i++) {
      expect(writer.retry()).toBeUndefined()
      delays.push(writer.retryDelayMs)
    }
    expect(delays).toEqual([250, 500, 1000, 2000, 4000, 5000, 5000])
    expect(onDisk(folder)).toEqual(upTo(20))

    disk.fails = () => undefined
    expect(writer.retry()?.records).toBe(25)
    expect(writer.failure).toBeUndefined()
    insert(writer, 45, 1)
    expect(writer.commit()?.records).toBe(1)
    writer.close()
    expect(onDisk(folder)).toEqual(upTo(46))

    const again = writerOn(folder, disk.open)
    expect(again.open()).toEqual({ end: 46, offsets: [46] })
    again.close()
  })
}

it('W3: counts a failed commit that is on disk nevertheless, once, and only with the proof', async () => {
  const folder = await emptyFolder()
  const disk = new FaultyDisk()
  const writer = writerOn(folder, disk.open)
  writer.open()
  disk.code = 'SQLITE_IOERR_FSYNC'
  disk.fails = (sql) => (sql === 'COMMIT' ? 'after' : undefined)
  insert(writer, 0, 20)
  expect(writer.commit()).toBeUndefined()
  insert(writer, 20, 10)
  // The next try finds the 20, writes the 10, and its commit fails in the same way.
  expect(writer.retry()).toBeUndefined()
  expect(writer.failure).toContain('SQLITE_IOERR_FSYNC')
  insert(writer, 30, 1)
  disk.fails = () => undefined
  expect(writer.retry()?.records).toBe(31)
  writer.close()
  expect(onDisk(folder)).toEqual(upTo(31))
})

it.each(['before', 'after'] as const)(
  'W3: writes the WAL again when a sync failed %s the commit',
  async (when) => {
    const folder = await emptyFolder()
    const disk = new FaultyDisk()
    const writer = writerOn(folder, disk.open)
    writer.open()
    insert(writer, 0, 20)
    writer.commit()
    // A reader keeps the WAL where it is.
    const segment = path.join(folder, segmentFileName(0))
    const reader = new Database(segment, { readonly: true })
    reader.prepare('SELECT count(*) FROM record').get()
    disk.code = 'SQLITE_IOERR_FSYNC'
    disk.fails = (sql) => (sql === 'COMMIT' ? when : undefined)
    insert(writer, 20, 20)
    writer.commit()
    disk.fails = () => undefined
    const wal = fs.readFileSync(`${segment}-wal`)
    const written: [number, number][] = []
    const synced: number[] = []
    const writeSync = vi.spyOn(fs, 'writeSync')
    const fsyncSync = vi.spyOn(fs, 'fsyncSync')
    onTestFinished(() => {
      vi.restoreAllMocks()
    })
    writer.retry()
    for (const [fd, , , length, at] of writeSync.mock.calls as unknown as number[][]) {
      if (at !== undefined && at !== null) written.push([fd ?? -1, (length ?? 0) + at])
    }
    for (const [fd] of fsyncSync.mock.calls) synced.push(fd)
    expect(written.some(([fd, end]) => end === wal.length && synced.includes(fd))).toBe(true)
    expect(fs.readFileSync(`${segment}-wal`).subarray(32, wal.length)).toEqual(wal.subarray(32))
    expect(reader.prepare('SELECT count(*) FROM record').pluck().get()).toBe(40)
    reader.close()
    writer.close()
  },
)

it('W3: does not work again before a commit in the segment succeeds, even if nothing waits', async () => {
  const folder = await emptyFolder()
  const disk = new FaultyDisk()
  const writer = writerOn(folder, disk.open)
  writer.open()
  disk.fails = (sql) => (sql === 'COMMIT' ? 'after' : undefined)
  insert(writer, 0, 1)
  writer.commit()
  disk.fails = (sql) => (sql.includes('BEGIN') ? 'before' : undefined)
  expect(writer.retry()).toBeUndefined()
  expect(writer.failure).toBeDefined()
  disk.fails = () => undefined
  expect(writer.retry()?.records).toBe(1)
  writer.close()
})

it('W3: stays suspended, and says what is gone, when committed records are missing', async () => {
  const folder = await emptyFolder()
  const disk = new FaultyDisk()
  const writer = writerOn(folder, disk.open)
  writer.open()
  insert(writer, 0, 20)
  writer.commit()
  disk.fails = (sql) => (sql === 'COMMIT' ? 'before' : undefined)
  insert(writer, 20, 1)
  writer.commit()
  disk.fails = () => undefined
  const db = new Database(path.join(folder, segmentFileName(0)))
  db.exec('DELETE FROM record WHERE position >= 15')
  db.close()
  for (let i = 0; i < 3; i++) {
    expect(writer.retry()).toBeUndefined()
    expect(writer.lost).toBe(true)
    expect(writer.failure).toContain('the committed records [15, 20) are no longer in')
  }
  writer.close()
  expect(onDisk(folder)).toEqual(upTo(15))
})

it('W3: does not take a new, empty file for a segment that is gone', async () => {
  const folder = await emptyFolder()
  const disk = new FaultyDisk()
  const writer = writerOn(folder, disk.open)
  writer.open()
  insert(writer, 0, 20)
  writer.commit()
  disk.fails = (sql) => (sql === 'COMMIT' ? 'before' : undefined)
  insert(writer, 20, 1)
  writer.commit()
  disk.fails = () => undefined
  const hidden = path.join(await emptyFolder(), 'hidden')
  fs.renameSync(folder, hidden)
  fs.mkdirSync(folder)
  expect(writer.retry()).toBeUndefined()
  expect(writer.lost).toBe(true)
  expect(fs.readdirSync(folder)).toEqual([])
  // The medium is mounted again.
  fs.rmdirSync(folder)
  fs.renameSync(hidden, folder)
  expect(writer.retry()?.records).toBe(1)
  expect(writer.lost).toBe(false)
  writer.close()
  expect(onDisk(folder)).toEqual(upTo(21))
})

it('W3: needs no slab while it waits, whatever is written into it', async () => {
  const folder = await emptyFolder()
  const disk = new FaultyDisk()
  const writer = writerOn(folder, disk.open)
  writer.open()
  disk.fails = (sql) => (sql === 'COMMIT' ? 'before' : undefined)
  for (const first of [0, 500]) {
    const { memory, at } = entries(first, 500)
    for (const each of at) writer.insert(memory, each)
    writer.commit()
    memory.buffer.fill(0xff)
  }
  disk.fails = () => undefined
  expect(writer.retry()?.records).toBe(1000)
  writer.close()
  expect(onDisk(folder)).toEqual(upTo(1000))
})

it('writes a long wait in several transactions', async () => {
  const folder = await emptyFolder()
  const disk = new FaultyDisk()
  const writer = writerOn(folder, disk.open)
  writer.open()
  disk.fails = (sql) => (sql === 'BEGIN IMMEDIATE' ? 'before' : undefined)
  insert(writer, 0, 2500)
  disk.fails = () => undefined
  const counts = [writer.retry()?.records]
  while (writer.writeWaiting()) counts.push(writer.commit()?.records)
  expect(counts).toEqual([1024, 1024, 452])
  writer.close()
  expect(onDisk(folder)).toEqual(upTo(2500))
})

it('W2: waits when the next segment cannot be made, with the old one whole', async () => {
  const folder = await emptyFolder()
  const writer = writerOn(folder, (file) => new Database(file), 100)
  writer.open()
  insert(writer, 0, 20)
  expect(writer.commit()?.records).toBe(20)
  // A folder in the way of the new segment's name.
  const inTheWay = path.join(folder, segmentFileName(20))
  fs.mkdirSync(inTheWay)
  insert(writer, 20, 1)
  expect(writer.commit()).toBeUndefined()
  expect(writer.failure).toContain('SQLITE_CANTOPEN')
  expect(writer.retry()).toBeUndefined()
  fs.rmdirSync(inTheWay)
  expect(writer.retry()?.records).toBe(1)
  writer.close()
  expect(onDisk(folder)).toEqual(upTo(21))
})

/** Opens databases, except those that `refused` names; `opened` are all that it ever opened. */
function pickyDisk() {
  const opened: Database.Database[] = []
  const disk = { refused: '', opened }
  const open: OpenDatabase = (file) => {
    if (path.basename(file) === disk.refused) throw new DiskFault('SQLITE_CANTOPEN')
    const db = new Database(file)
    opened.push(db)
    return db
  }
  return { disk, open }
}

it('W3: ends a roll that failed behind its rename, with nothing more in the old segment', async () => {
  const folder = await emptyFolder()
  const { disk, open } = pickyDisk()
  const writer = writerOn(folder, open)
  writer.open()
  insert(writer, 0, 20)
  writer.commit()
  // The old segment is far from full: it would be written on.
  writer.retire(segmentFileName(0))
  disk.refused = segmentFileName(20)
  writer.retireDue()
  expect(writer.failure).toContain('SQLITE_CANTOPEN')
  expect(segmentNames(folder)).toContain(segmentFileName(20))
  insert(writer, 20, 1)
  expect(writer.retry()).toBeUndefined()
  disk.refused = ''
  writer.orders = []
  expect(writer.retry()?.records).toBe(1)
  expect(writer.orders).toEqual([{ kind: 'seal', stream: 0, file: segmentFileName(0) }])
  insert(writer, 21, 20)
  writer.commit()
  writer.close()
  expect(onDisk(folder)).toEqual(upTo(41))
  const old = new Database(path.join(folder, segmentFileName(0)), { readonly: true })
  expect(old.prepare('SELECT max(position) FROM record').pluck().get()).toBe(19)
  old.close()
  expect(disk.opened.filter((db) => db.open)).toEqual([])
})

it('W3: a segment is as full after a hiccup as it was before', async () => {
  const ends: (string | undefined)[] = []
  for (const hasHiccup of [false, true]) {
    const folder = await emptyFolder()
    const disk = new FaultyDisk()
    const writer = writerOn(folder, disk.open, 200_000)
    writer.open()
    for (let first = 0; first < 3000; first += 100) {
      disk.fails = (sql) => (hasHiccup && first === 1800 && sql === 'COMMIT' ? 'before' : undefined)
      insert(writer, first, 100)
      writer.commit()
      disk.fails = () => undefined
      if (writer.failure !== undefined) expect(writer.retry()?.records).toBe(100)
    }
    writer.close()
    ends.push(segmentNames(folder)[1])
  }
  expect(ends[0]).toBeDefined()
  expect(ends[1]).toBe(ends[0])
})

it('W3: leaves no database open that it cannot use', async () => {
  const folder = await emptyFolder()
  const { disk, open } = pickyDisk()
  const writer = writerOn(folder, (file) => {
    const db = open(file)
    const prepare = db.prepare.bind(db)
    db.prepare = ((sql: string) => {
      if (disk.refused === 'rows' && sql === 'COMMIT') throw new DiskFault('SQLITE_IOERR')
      return prepare(sql)
    }) as typeof db.prepare
    return db
  })
  disk.refused = 'rows'
  expect(() => writer.open()).toThrow('the disk said no')
  expect(disk.opened.length).toBeGreaterThan(0)
  expect(disk.opened.filter((db) => db.open)).toEqual([])
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
  writer.checkpointed(checkpoint(false))
  writer.restartWal()
  commitEach(50, 1)
  expect(fs.statSync(wal).size).toBeGreaterThan(before)
  const grown = fs.statSync(wal).size
  writer.checkpointed(checkpoint(true))
  writer.restartWal()
  commitEach(51, 40)
  expect(fs.statSync(wal).size).toBe(grown)
  writer.close()
})

it('commits nothing after a failed checkpoint until one has succeeded', async () => {
  const folder = await emptyFolder()
  const disk = new FaultyDisk()
  let checkpointFails = true
  const open: OpenDatabase = (file) => {
    const db = disk.open(file)
    const pragma = db.pragma.bind(db)
    db.pragma = ((sql: string, options?: Database.PragmaOptions) => {
      if (sql.startsWith('wal_checkpoint') && checkpointFails) throw new DiskFault('SQLITE_IOERR')
      return pragma(sql, options)
    }) as typeof db.pragma
    return db
  }
  const writer = writerOn(folder, open)
  writer.open()
  insert(writer, 0, 2)
  expect(writer.commit()?.records).toBe(2)
  insert(writer, 2, 1)
  writer.checkpointed(checkpoint(false, 'SQLITE_IOERR_FSYNC'))
  expect(writer.failure).toContain('SQLITE_IOERR_FSYNC')
  expect(writer.commit()).toBeUndefined()
  expect(writer.retry()).toBeUndefined()
  expect(writer.failure).toContain('SQLITE_IOERR')
  checkpointFails = false
  expect(writer.retry()?.records).toBe(1)
  expect(writer.failure).toBeUndefined()
  expect(onDisk(folder)).toEqual([0, 1, 2])
  writer.close()
})

it('leaves a segment that is to be retired although its first try failed', async () => {
  const folder = await emptyFolder()
  const disk = new FaultyDisk()
  const writer = writerOn(folder, disk.open)
  writer.open()
  insert(writer, 0, 2)
  writer.commit()
  // The next segment cannot be made, so nothing is renamed.
  disk.fails = (sql) => (sql.includes('CREATE TABLE') ? 'before' : undefined)
  writer.retire(segmentFileName(0))
  writer.retireDue()
  expect(writer.failure).toContain('SQLITE_FULL')
  disk.fails = () => undefined
  writer.retry()
  expect(writer.failure).toBeUndefined()
  writer.retireDue()
  expect(segmentNames(folder)).toEqual([segmentFileName(0), segmentFileName(2)])
  writer.close()
})
