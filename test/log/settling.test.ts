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

/** Makes the stream's segment unwritable as any program could; returns its repair. */
function hideTable(dataDir: string, name: string): () => void {
  const rename = (from: string, to: string): void => {
    const db = new Database(path.join(dataDir, `streams/${name}/0000000000000000.db`))
    db.exec(`ALTER TABLE ${from} RENAME TO ${to}`)
    db.close()
  }
  rename('record', 'hidden')
  return () => rename('hidden', 'record')
}

it('L1-L4: after a write failed its stream waits, alone, and loses nothing', async () => {
  for (const ackAfter of ['fsync', 'receive'] as const) {
    const dataDir = await emptyFolder()
    const log = await open(dataDir, [stream('a', { ackAfter }), stream('b')], {
      slabBytes: 4096,
      tailBytes: 16 * 1024,
    })
    await keep(log, 'a/x', 3)
    await vi.waitFor(() => expect(log.backlogBytes).toBe(0))
    const changes: string[] = []
    const told: string[] = []
    const followed: string[] = []
    log.onFailure((name, reason) => changes.push(`${name}: ${reason}`))
    log.onResume((name, waited) => changes.push(`${name} after ${waited}`))
    const unfollow = log.follow((records) => {
      for (const record of records) {
        if (record.stream !== 'a') continue
        const payload = new TextDecoder().decode(record.payload)
        expect(payload).toBe('noted')
        followed.push(`a ${record.position} kept`)
      }
    })
    const repair = hideTable(dataDir, 'a')
    appendNoted(log, 'a/x', told)
    await vi.waitFor(() => expect([...log.failures.keys()]).toEqual(['a']))
    const before = [...told]
    for (let i = 4; i < 400; i++) {
      expect(appendNoted(log, 'a/x', told).position).toBe(i)
      // The other stream writes much more than the tail holds, over the slabs they share.
      await keep(log, 'b/x', 5)
    }
    expect(told).toEqual(before)
    expect(changes).toEqual([expect.stringContaining('a: no such table: record')])
    expect(log.recent('a', asPosition(300))).toBeUndefined()
    repair()
    await vi.waitFor(() => expect(told).toHaveLength(397), { timeout: 20_000 })
    expect(told).toEqual(expected('a', 400).slice(3))
    expect(followed).toEqual(told)
    expect(changes.slice(1)).toEqual(['a after 397'])
    expect(log.failures.size).toBe(0)
    unfollow()
    await keep(log, 'a/x', 2)
    await vi.waitFor(() => expect(log.backlogBytes).toBe(0))
    await log.close()
    const lines = await readAll(await open(dataDir, [stream('a'), stream('b')]), 'a')
    expect(lines.map((line) => line.split('/')[0])).toEqual(
      Array.from({ length: 402 }, (_, i) => `${i}`),
    )
  }
})

it('refuses what waits when it is closed before the storage is back', async () => {
  const dataDir = await emptyFolder()
  const log = await open(dataDir, [stream('a'), stream('b')])
  await keep(log, 'a/x', 3)
  hideTable(dataDir, 'a')
  const lost = [append(log, 'a/x'), append(log, 'a/y')]
  await vi.waitFor(() => expect(log.failures.size).toBe(1))
  await keep(log, 'b/x', 10)
  await log.close()
  for (const { settled } of lost) expect(await settled).toBe('refused')
  expect(lost[0]?.record.inMemory).toBe(false)
  expect(log.backlogBytes).toBe(0)
})

it('writes what waits with the last try when it is closed', async () => {
  const dataDir = await emptyFolder()
  const log = await open(dataDir, [stream('a')])
  await keep(log, 'a/x', 3)
  const repair = hideTable(dataDir, 'a')
  const { settled } = append(log, 'a/x')
  await vi.waitFor(() => expect(log.failures.size).toBe(1))
  repair()
  await log.close()
  expect(await settled).toBe('kept')
})
