import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  asOffset,
  asPartition,
  asPosition,
  type LogRecord,
  type ReadQuery,
} from '../../src/log/log.ts'
import { type LogReader, openLogReader } from '../../src/log/reader/log-reader.ts'
import { SegmentBuilder, temporaryDir } from '../support/segment-builder.ts'

let dataDir: string
let reader: LogReader | undefined
const builders: SegmentBuilder[] = []

beforeEach(() => {
  dataDir = temporaryDir()
})

afterEach(() => {
  reader?.close()
  reader = undefined
  for (const builder of builders.splice(0)) builder.close()
  fs.rmSync(dataDir, { recursive: true, force: true })
})

function stream(name: string, partitions = 1, firstPosition = 0): SegmentBuilder {
  const builder = new SegmentBuilder(dataDir, name, partitions, firstPosition)
  builders.push(builder)
  return builder
}

function open(dir = dataDir): LogReader {
  reader?.close()
  reader = openLogReader(dir)
  return reader
}

function query(from: number, more: Partial<ReadQuery> = {}): ReadQuery {
  return { stream: 's', from: asPosition(from), recordsMax: 1000, bytesMax: 1 << 20, ...more }
}

function payloads(records: readonly LogRecord[]): string[] {
  return records.map((record) => Buffer.from(record.payload).toString())
}

const many = (count: number, from = 0) =>
  Array.from({ length: count }, (_, i) => ({ payload: `p${from + i}` }))

describe('the log reader', () => {
  it('gives a record back as it was stored', () => {
    stream('s', 2).add({
      partition: 1,
      topic: 'ä/😀',
      client: 'c-1',
      qos: 2,
      retain: true,
      timeMs: 4711,
      properties: Buffer.from([0x01, 0x01]),
      payload: 'hello',
    })
    const { records, next, end } = open().read(query(0))
    expect([records.length, next, end]).toEqual([1, 1, 1])
    const record = records[0] as LogRecord
    expect(record).toMatchObject({
      stream: 's',
      position: 0,
      partition: 1,
      offset: 0,
      topic: 'ä/😀',
      client: 'c-1',
      qos: 2,
      retain: true,
      timeMs: 4711,
      boot: 3,
    })
    expect(payloads(records)).toEqual(['hello'])
    expect([...record.properties]).toEqual([1, 1])
    expect(Buffer.from(record.bytes.subarray(record.topicAt, record.topicEnd)).toString()).toBe(
      'ä/😀',
    )
  })

  it('reads on beside a writer that goes on, over sealed and live segments', () => {
    const builder = stream('s')
      .add(...many(3))
      .seal()
      .begin()
      .add(...many(2, 3))
    const log = open()
    expect(payloads(log.read(query(1)).records)).toEqual(['p1', 'p2', 'p3', 'p4'])
    builder.add(...many(2, 5))
    expect(payloads(log.read(query(5)).records)).toEqual(['p5', 'p6'])
  })

  it('lets a segment be sealed between two reads', () => {
    const builder = stream('s').add(...many(2))
    const log = open()
    log.read(query(0))
    builder.seal()
    expect(fs.existsSync(path.join(builder.folder, '0000000000000000.db-wal'))).toBe(false)
    expect(payloads(log.read(query(0)).records)).toEqual(['p0', 'p1'])
  })

  it('shows nothing from a given end on', () => {
    stream('s').add(...many(5))
    const { records, next, end } = open().read(query(0), asPosition(3))
    expect([records.length, next, end]).toEqual([3, 3, 3])
  })

  it('moves on through records that a filter does not match, a bounded number at a time', () => {
    stream('s').add(...many(45_000), { topic: 'wanted', payload: 'x' })
    const log = open()
    const nexts: number[] = []
    const found: string[] = []
    for (let next = 0; next < 45_001; ) {
      const page = log.read(query(next, { filters: ['wanted'] }))
      expect(page.next).toBeGreaterThan(next)
      next = page.next
      nexts.push(next)
      found.push(...payloads(page.records))
    }
    expect(nexts).toEqual([20_000, 40_000, 45_001])
    expect(found).toEqual(['x'])
  })

  it('finds a topic by a filter after it first appears behind an earlier page', () => {
    const builder = stream('s').add({ topic: 'a/1' }, { topic: 'b' })
    const log = open()
    expect(log.read(query(0, { filters: ['a/#'] })).records).toHaveLength(1)
    builder.add({ topic: 'a/2' }, { topic: '$a/3' }, { topic: 'a' })
    const topics = log.read(query(1, { filters: ['a/#'] })).records.map((record) => record.topic)
    expect(topics).toEqual(['a/2', 'a'])
  })

  it('begins at the next segment when one is deleted', () => {
    const builder = stream('s')
      .add(...many(3))
      .seal()
      .begin()
      .add(...many(3, 3))
    const log = open()
    expect(log.read(query(0)).records).toHaveLength(6)
    fs.rmSync(path.join(builder.folder, '0000000000000000.db'))
    const page = log.read(query(0))
    expect(payloads(page.records)).toEqual(['p3', 'p4', 'p5'])
    expect(log.bounds('s')).toMatchObject({ first: 3, end: 6, segments: 1 })
  })

  it('takes a segment without rows for the end', () => {
    stream('s', 2).add({ partition: 1, timeMs: 7 }).seal().begin()
    const log = open()
    expect(log.read(query(0))).toMatchObject({ next: 1, end: 1 })
    expect(log.locate('s', { kind: 'time', timeMs: 8 })).toBe(1)
    expect(log.bounds('s')).toMatchObject({
      first: 0,
      end: 1,
      segments: 2,
      firstTimeMs: 7,
      lastTimeMs: 7,
      partitions: [
        { partition: 0, first: 0, end: 0 },
        { partition: 1, first: 0, end: 1 },
      ],
    })
  })

  it('ignores the files that are no segments', () => {
    const builder = stream('s').add(...many(1))
    for (const name of ['next.db', 'prepare.db', '0000000000000009.db.bak', '12.db', 'notes.txt']) {
      fs.writeFileSync(path.join(builder.folder, name), 'not a database')
    }
    expect(open().bounds('s')).toMatchObject({ segments: 1, end: 1 })
  })
})

describe('bounds and starts over several segments', () => {
  beforeEach(() => {
    const builder = stream('s', 3, 100)
    for (let segment = 0; segment < 6; segment++) {
      builder.begin()
      for (let i = 0; i < 4; i++) {
        const position = 100 + segment * 4 + i
        builder.add({ partition: position % 2, timeMs: position * 10, payload: `p${position}` })
      }
      if (segment < 5) builder.seal()
    }
    // Retention: the stream begins with the second segment.
    fs.rmSync(path.join(builder.folder, '0000000000000100.db'))
  })

  it('tells where the stream and its partitions begin and end', () => {
    const bounds = open().bounds('s')
    expect(bounds).toMatchObject({
      first: 104,
      end: 124,
      segments: 5,
      firstTimeMs: 1040,
      lastTimeMs: 1230,
      partitions: [
        { partition: 0, first: 2, end: 12 },
        { partition: 1, first: 2, end: 12 },
        { partition: 2, first: 0, end: 0 },
      ],
    })
    const folder = path.join(dataDir, 'streams', 's')
    const onDisk = fs
      .readdirSync(folder)
      .filter((name) => !name.endsWith('-shm'))
      .reduce((sum, name) => sum + fs.statSync(path.join(folder, name)).size, 0)
    expect(bounds.sizeBytes).toBe(onDisk)
  })

  it('finds every offset of every partition', () => {
    const log = open()
    for (let position = 104; position < 124; position++) {
      const start = {
        kind: 'offset',
        partition: asPartition(position % 2),
        offset: asOffset(Math.floor((position - 100) / 2)),
      } as const
      expect(log.locate('s', start)).toBe(position)
    }
  })

  it('begins at the first offset for an earlier one, at the end for the next one', () => {
    const log = open()
    const at = (partition: number, offset: number) =>
      log.locate('s', {
        kind: 'offset',
        partition: asPartition(partition),
        offset: asOffset(offset),
      })
    expect(at(1, 0)).toBe(105)
    expect(at(1, 12)).toBe(124)
    expect(at(2, 0)).toBe(124)
    expect(() => at(1, 13)).toThrow('[2, 12)')
    expect(() => at(2, 1)).toThrow('[0, 0)')
  })

  it('finds the first record at or after a time', () => {
    const log = open()
    const at = (timeMs: number) => log.locate('s', { kind: 'time', timeMs })
    for (let position = 104; position < 124; position++) {
      expect(at(position * 10)).toBe(position)
      expect(at(position * 10 + 1)).toBe(position + 1)
    }
    expect(at(0)).toBe(104)
  })

  it('reads one partition across segments', () => {
    const page = open().read(query(0, { partition: asPartition(1) }))
    expect(page.records.map((record) => Number(record.offset))).toEqual([
      2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
    ])
    expect(page.next).toBe(124)
  })
})

describe('troubles', () => {
  function codeOf(work: () => unknown): string {
    try {
      work()
    } catch (thrown) {
      return (thrown as { code?: string }).code ?? String(thrown)
    }
    return 'nothing was thrown'
  }

  it('gives the records before a damaged one, then names file and position', () => {
    stream('s')
      .add(...many(4))
      .exec("UPDATE record SET payload = 'q2' WHERE position = 2")
    const log = open()
    const page = log.read(query(0))
    expect([page.records.length, page.next]).toEqual([2, 2])
    expect(codeOf(() => log.read(query(2)))).toBe('record-damaged')
    expect(() => log.read(query(2))).toThrow(/position 2 in .*0000000000000000\.db/)
    expect(payloads(log.read(query(3)).records)).toEqual(['p3'])
  })

  it('does not pass over a record that is missing', () => {
    stream('s')
      .add(...many(4))
      .exec('DELETE FROM record WHERE position = 1')
    const log = open()
    expect(log.read(query(0)).next).toBe(1)
    expect(codeOf(() => log.read(query(1)))).toBe('record-damaged')
  })

  it('takes a record whose topic is gone for damaged', () => {
    stream('s').add({ topic: 'a' }).exec('DELETE FROM topic')
    expect(codeOf(() => open().read(query(0)))).toBe('record-damaged')
  })

  it('refuses a segment of another format', () => {
    stream('s')
      .add(...many(1))
      .exec('PRAGMA user_version = 99')
    expect(codeOf(() => open().read(query(0)))).toBe('format-unknown')
  })

  it('refuses a database that is none of ours and a file that is no database', () => {
    const { folder } = stream('s')
    const file = path.join(folder, '0000000000000000.db')
    new Database(file).exec('CREATE TABLE t (x)').close()
    expect(codeOf(() => open().bounds('s'))).toBe('format-unknown')
    fs.writeFileSync(file, 'x'.repeat(8192))
    expect(codeOf(() => open().bounds('s'))).toBe('record-damaged')
  })

  it('knows no stream without a folder, and no path outside', () => {
    stream('s').add(...many(1))
    expect(open().streams()).toEqual(['s'])
    expect(codeOf(() => open().bounds('other'))).toBe('stream-unknown')
    expect(codeOf(() => open().bounds('../streams/s'))).toBe('stream-unknown')
  })

  it('says why a folder is no data directory', () => {
    expect(() => openLogReader(path.join(dataDir, 'absent'))).toThrow('does not exist')
    expect(() => openLogReader(dataDir)).toThrow('has no folder "streams"')
    expect(codeOf(() => openLogReader(dataDir))).toBe('data-dir-unusable')
  })

  it('reads an empty stream', () => {
    stream('s')
    const log = open()
    expect(log.read(query(5))).toEqual({ records: [], next: 0, end: 0 })
    expect(log.locate('s', { kind: 'latest' })).toBe(0)
    expect(log.bounds('s')).toMatchObject({ first: 0, end: 0, segments: 0, partitions: [] })
  })
})

describe('a copied data directory', () => {
  function copyWithoutSharedMemory(): string {
    const copy = path.join(dataDir, 'copy')
    fs.cpSync(path.join(dataDir, 'streams'), path.join(copy, 'streams'), {
      recursive: true,
      filter: (file) => !file.endsWith('-shm'),
    })
    return copy
  }

  it('is read with what stands in the WAL, also without the shared memory file', () => {
    stream('s')
      .add(...many(3))
      .seal()
      .begin()
      .add(...many(2, 3))
    const page = open(copyWithoutSharedMemory()).read(query(0))
    expect(payloads(page.records)).toEqual(['p0', 'p1', 'p2', 'p3', 'p4'])
  })

  it('says what to do when SQLite cannot make the shared memory file', () => {
    stream('s').add(...many(3))
    const copy = copyWithoutSharedMemory()
    // What a read-only folder does, also to a privileged user: a link that may not be followed.
    fs.symlinkSync('/nonexistent/shm', path.join(copy, 'streams', 's', '0000000000000000.db-shm'))
    expect(() => open(copy).read(query(0))).toThrow('copy the directory to where you may write')
  })
})
