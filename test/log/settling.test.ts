import path from 'node:path'
import Database from 'better-sqlite3'
import { expect, it, vi } from 'vitest'
import type { EventLog, LogRecord } from '../../src/log/log.ts'
import { asPosition } from '../../src/log/log.ts'
import { append, emptyFolder, keep, open, readAll, stream } from './given.ts'

/** Appends one record and notes in `told` when its waiter hears. */
function appendNoted(log: EventLog, topic: string, told: string[]): LogRecord {
  const bytes = new TextEncoder().encode('noted')
  return log.append({
    route: log.route(topic),
    client: log.client('c'),
    qos: 1,
    retain: false,
    key: undefined,
    bytes,
    propertiesAt: 0,
    propertiesEnd: 0,
    payloadAt: 0,
    payloadEnd: bytes.length,
    waiter: {
      settled: (outcome, record) => told.push(`${record.stream} ${record.position} ${outcome}`),
    },
  })
}

function expected(name: string, count: number, outcome = 'kept'): string[] {
  return Array.from({ length: count }, (_, position) => `${name} ${position} ${outcome}`)
}

it('L3: tells waiters in append order, then followers, each record once', async () => {
  const streams = [stream('a'), stream('b', { ackAfter: 'receive' }), stream('c')]
  const log = await open(await emptyFolder(), streams, { slabBytes: 4096 })
  const told: string[] = []
  const followed: string[] = []
  log.follow((records) => {
    for (const record of records) {
      const line = `${record.stream} ${record.position} kept`
      expect(told.includes(line)).toBe(true)
      expect(log.recent(record.stream, record.position)).toBe(record)
      followed.push(line)
    }
  })
  for (let i = 0; i < 300; i++) {
    for (const { name } of streams) {
      const { position } = appendNoted(log, `${name}/x`, told)
      expect(log.recent(name, position)).toBeUndefined()
    }
  }
  expect(told).toEqual([])
  await vi.waitFor(() => expect(followed).toHaveLength(900))
  for (const { name } of streams) {
    const own = (lines: string[]): string[] => lines.filter((line) => line.startsWith(`${name} `))
    expect(own(told)).toEqual(expected(name, 300))
    expect(own(followed)).toEqual(expected(name, 300))
  }
  expect(log.backlogBytes).toBe(0)
})

it('L3: keeps the order when a waiter appends and flushes', async () => {
  const log = await open(await emptyFolder(), [stream('a', { ackAfter: 'receive' })])
  const told: string[] = []
  const bytes = new Uint8Array(0)
  const waiter = {
    settled(outcome: string, record: LogRecord): void {
      told.push(`a ${record.position} ${outcome}`)
      if (record.position >= 10) return
      appendNoted(log, 'a/x', told)
      log.flush()
    },
  }
  for (let i = 0; i < 10; i++) {
    log.append({
      route: log.route('a/x'),
      client: log.client('c'),
      qos: 0,
      retain: true,
      key: undefined,
      bytes,
      propertiesAt: 0,
      propertiesEnd: 0,
      payloadAt: 0,
      payloadEnd: 0,
      waiter,
    })
  }
  log.flush()
  expect(told).toEqual(expected('a', 20))
})

it("L2: settles 'receive' with the flush, before the disk, and never inside append", async () => {
  const log = await open(await emptyFolder(), [stream('a', { ackAfter: 'receive' }), stream('b')])
  const told: string[] = []
  for (let i = 0; i < 200; i++) appendNoted(log, 'a/x', told)
  appendNoted(log, 'b/x', told)
  expect(told).toEqual([])
  log.flush()
  expect(told).toEqual(expected('a', 200))
  const { records } = await log.read({
    stream: 'a',
    from: asPosition(150),
    recordsMax: 10,
    bytesMax: 1e6,
  })
  expect(records.map((record) => record.position)).toEqual([
    150, 151, 152, 153, 154, 155, 156, 157, 158, 159,
  ])
  await vi.waitFor(() => expect(log.backlogBytes).toBe(0))
})

it('L5: takes tail memory back, and still reads every record, in every ack rule', async () => {
  for (const ackAfter of ['fsync', 'receive'] as const) {
    const log = await open(await emptyFolder(), [stream('a', { ackAfter })], {
      slabBytes: 1024,
      tailBytes: 8 * 1024,
    })
    const first = (await keep(log, 'a/x', 1))[0]
    for (let i = 0; i < 10; i++) {
      await keep(log, 'a/x', 50)
      // What is told under 'receive' stays in the tail until it is on disk.
      await vi.waitFor(() => expect(log.backlogBytes).toBe(0))
    }
    expect(log.recent('a', asPosition(0))).toBeUndefined()
    expect(first?.inMemory).toBe(false)
    const recent = log.recent('a', asPosition(500))
    expect(new TextDecoder().decode(recent?.payload.slice())).toBe('a/x 49')
    const lines = await readAll(log, 'a')
    expect(lines).toHaveLength(501)
    expect(lines[500]).toBe('500/0/500 a/x 49')
  }
})

it('keeps a record that is larger than a slab', async () => {
  const dataDir = await emptyFolder()
  const log = await open(dataDir, [stream('a')], { slabBytes: 1024, tailBytes: 2048 })
  const large = 'x'.repeat(300_000)
  for (let i = 0; i < 3; i++) {
    const { settled } = append(log, 'a/large', large)
    await keep(log, 'a/small', 20)
    expect(await settled).toBe('kept')
  }
  await log.close()
  const lines = await readAll(await open(dataDir, [stream('a')]), 'a')
  expect(lines).toHaveLength(63)
  expect(lines[21]).toBe(`21/0/21 ${large}`)
})

it('lets commits of a stream that lingers wait for company, and no other stream with them', async () => {
  const lingerMs = 150
  const log = await open(await emptyFolder(), [stream('slow', { lingerMs }), stream('fast')])
  const commits: [string, number][] = []
  log.onCommit(({ stream: name, records }) => commits.push([name, records]))
  const began = performance.now()
  const first = append(log, 'slow/x')
  for (let i = 0; i < 5; i++) {
    append(log, 'slow/x')
    expect(await append(log, 'fast/x').settled).toBe('kept')
  }
  expect(commits.every(([name]) => name === 'fast')).toBe(true)
  expect(await first.settled).toBe('kept')
  expect(performance.now() - began).toBeGreaterThanOrEqual(lingerMs - 1)
  expect(commits.at(-1)).toEqual(['slow', 6])
})

it('commits what lingers when it closes', async () => {
  const dataDir = await emptyFolder()
  const log = await open(dataDir, [stream('a', { lingerMs: 60_000 })])
  const { settled } = append(log, 'a/x')
  await log.close()
  expect(await settled).toBe('kept')
  expect(await readAll(await open(dataDir, [stream('a')]), 'a')).toHaveLength(1)
})

it('refuses everything after a write failed, for that stream only, and tells once', async () => {
  const dataDir = await emptyFolder()
  const log = await open(dataDir, [stream('a'), stream('b')])
  await keep(log, 'a/x', 3)
  const failures: string[] = []
  const followed: number[] = []
  log.onFailure((name, reason) => failures.push(`${name}: ${reason}`))
  log.follow((records) => {
    for (const record of records) if (record.stream === 'a') followed.push(record.position)
  })
  // Somebody drops the table: the next insert cannot work.
  const db = new Database(path.join(dataDir, 'streams/a/0000000000000000.db'))
  db.exec('DROP TABLE record')
  db.close()
  const lost = [append(log, 'a/x'), append(log, 'a/y')]
  for (const { settled } of lost) expect(await settled).toBe('refused')
  expect(await append(log, 'a/z').settled).toBe('refused')
  expect(lost[0]?.record.inMemory).toBe(false)
  await keep(log, 'b/x', 2000)
  expect(failures).toEqual([expect.stringContaining('a: no such table: record')])
  expect([...log.failures.keys()]).toEqual(['a'])
  expect(followed).toEqual([])
  expect(log.recent('a', asPosition(3))).toBeUndefined()
  expect(log.backlogBytes).toBe(0)
})
