/**
 * The contract of EventLog, one suite for every implementation. It cites the invariants of
 * src/log/log.ts. Call it at the top level of a test file.
 */
import { afterEach, describe, expect, it } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import {
  asPosition,
  type EventLog,
  type LogRecord,
  type PartitionKey,
  type StreamSettings,
} from '../../src/log/log.ts'
import { testRandomRun } from './event-log-random.ts'
import { testReads, testStarts } from './event-log-reads.ts'
import {
  append,
  appendAll,
  contentOf,
  type Given,
  type Message,
  messages,
  numbers,
  type OpenedLog,
  type OpenLog,
  partitionIn,
  payloads,
  positions,
  readAll,
  stream,
} from './event-log-support.ts'

export type { OpenedLog, OpenLog } from './event-log-support.ts'

export interface EventLogTraits {
  /** What was kept is there after a reopen (L4). */
  readonly durable: boolean
  /** Repeats a random run; without it each run has its own. */
  readonly seed?: number
}

export function testEventLog(name: string, open: OpenLog, traits: EventLogTraits): void {
  describe(`${name} keeps the contract of an event log`, () => {
    const opened: OpenedLog[] = []
    const clock = new ManualClock(1_700_000_000_000)

    const start = async (...streams: readonly StreamSettings[]): Promise<OpenedLog> => {
      const log = await open(streams, clock)
      opened.push(log)
      return log
    }
    const given = async (...streams: readonly StreamSettings[]): Promise<EventLog> =>
      (await start(...streams)).log

    afterEach(async () => {
      for (const log of opened.splice(0)) await log.clean()
    })

    describe('order', () => testOrder(given))
    describe('routes', () => testRoutes(given))
    describe('partitions', () => testPartitions(given))
    describe('records', () => testRecords(given))
    describe('reads', () => testReads(given))
    describe('starts and bounds', () => testStarts(given, clock))
    describe('reopen', () => testReopen(start, traits.durable))
    testRandomRun(start, clock, traits)
  })
}

function testOrder(given: Given): void {
  it('L1: positions of a stream and offsets of a partition are dense from 0', async () => {
    const log = await given(stream('s', { partitions: 3 }))
    const records = await appendAll(
      log,
      numbers(200).map((i) => ({ topic: `t/${i % 7}` })),
    )
    expect(positions(records)).toEqual(numbers(200))
    for (const partition of numbers(3)) {
      const own = records.filter((record) => record.partition === partition)
      expect(own.map((record) => Number(record.offset))).toEqual(numbers(own.length))
    }
  })

  it('L1: streams count on their own', async () => {
    const log = await given(stream('a', { topics: ['a'] }), stream('b', { topics: ['b'] }))
    const records = await appendAll(log, [{ topic: 'a' }, { topic: 'b' }, { topic: 'a' }])
    expect(positions(records)).toEqual([0, 0, 1])
  })

  it('L3: tells waiters in append order, and followers only afterwards', async () => {
    const log = await given(stream('s'))
    const events: string[] = []
    log.follow((records) => {
      for (const record of records) events.push(`follow ${record.position}`)
    })
    const appended = numbers(300).map((i) =>
      append(log, { topic: 't' }, () => events.push(`tell ${i}`)),
    )
    expect(events).toEqual([])
    for (const { settled } of appended) await settled
    await expect.poll(() => events.length).toBe(600)
    const told = events.filter((event) => event.startsWith('tell'))
    const followed = events.filter((event) => event.startsWith('follow'))
    expect(told).toEqual(numbers(300).map((i) => `tell ${i}`))
    expect(followed).toEqual(numbers(300).map((i) => `follow ${i}`))
    for (const i of numbers(300)) {
      expect(events.indexOf(`tell ${i}`)).toBeLessThan(events.indexOf(`follow ${i}`))
    }
  })

  it('L3: a waiter that appends gets its record behind the ones before', async () => {
    const log = await given(stream('s'))
    const second: { settled?: Promise<unknown> } = {}
    const first = append(log, { topic: 't', payload: 'first' }, () => {
      second.settled = append(log, { topic: 't', payload: 'second' }).settled
      log.flush()
    })
    await first.settled
    await second.settled
    expect(payloads(await readAll(log, 's'))).toEqual(['first', 'second'])
  })

  it('calls no follower that was removed, and none for what was kept before it came', async () => {
    const log = await given(stream('s'))
    await appendAll(log, messages(2))
    const seen: number[] = []
    const remove = log.follow((records) => seen.push(...positions(records)))
    await appendAll(log, messages(2))
    await expect.poll(() => seen).toEqual([2, 3])
    remove()
    await appendAll(log, messages(2))
    expect(seen).toEqual([2, 3])
  })

  it('counts what is not settled, and reports commits', async () => {
    const log = await given(stream('s'))
    let reported = 0
    log.onCommit((report) => {
      expect(report.stream).toBe('s')
      reported += report.records
    })
    const { record, settled } = append(log, { topic: 't', payload: 'x'.repeat(100) })
    expect(log.backlogBytes).toBe(record.sizeBytes)
    log.flush()
    await settled
    await expect.poll(() => log.backlogBytes).toBe(0)
    await expect.poll(() => reported).toBe(1)
  })

  it.each(['write', 'receive'] as const)(
    'keeps records of an ack_after = %s stream',
    async (rule) => {
      const log = await given(stream('s', { ackAfter: rule }))
      await appendAll(log, messages(50))
      expect(positions(await readAll(log, 's'))).toEqual(numbers(50))
      await expect.poll(() => log.backlogBytes).toBe(0)
    },
  )
}

function testRoutes(given: Given): void {
  it('sends a topic to the first stream with a filter that matches', async () => {
    const log = await given(
      stream('narrow', { topics: ['a/+/c', 'x'] }),
      stream('wide', { topics: ['a/#'] }),
    )
    expect(log.route('a/b/c')).toMatchObject({ streamIndex: 0, topic: 'a/b/c' })
    expect(log.route('a/b/c').stream?.name).toBe('narrow')
    expect(log.route('a/b/d')).toMatchObject({ streamIndex: 1 })
    expect(log.route('a').stream?.name).toBe('wide')
  })

  it('sends no topic that begins with $ to a filter that begins with a wildcard', async () => {
    const log = await given(stream('s', { topics: ['#', '+/x'] }))
    expect(log.route('$SYS/x')).toMatchObject({ stream: undefined, streamIndex: -1 })
    expect(log.route('/$x').streamIndex).toBe(0)
  })

  it('has a route without a stream for a topic that nothing takes', async () => {
    const log = await given(stream('s', { topics: ['a'] }), stream('none', { topics: [] }))
    const route = log.route('b')
    expect(route).toMatchObject({ stream: undefined, streamIndex: -1, partition: undefined })
    expect(Buffer.from(route.topicBytes).toString()).toBe('b')
  })

  it('has a built-in stream behind the others for what nothing takes', async () => {
    const log = await given(stream('s', { topics: ['a'] }))
    expect(log.streams.map(({ name }) => name)).toEqual(['s', 'default'])
    expect(log.streams[1]).toMatchObject({ topics: [], partitions: 1, ackAfter: 'fsync' })
    expect(log.route('b').stream).toBeUndefined()
    expect(log.fallbackRoute('a')).toBe(log.route('a'))
    const route = log.fallbackRoute('b')
    expect(route).toMatchObject({ topic: 'b', streamIndex: 1, partition: 0 })
    expect(route).toBe(log.fallbackRoute('b'))
    expect(route.ref).toBe(log.route('b').ref)
    expect(log.fallbackRoute('$SYS/x').stream?.name).toBe('default')
    const records = [append(log, { topic: 'b', payload: 'kept' }, undefined, route)]
    for (const { settled } of records) expect(await settled).toBe('kept')
    expect(payloads(await readAll(log, 'default'))).toEqual(['kept'])
    expect((await log.bounds('s')).end).toBe(0)
  })

  it('takes a configured stream of that name for the built-in one', async () => {
    const own = stream('default', { topics: ['a'], partitions: 3 })
    const log = await given(own, stream('s', { topics: ['b'] }))
    expect(log.streams.map(({ name }) => name)).toEqual(['default', 's'])
    expect(log.fallbackRoute('c').stream).toEqual(own)
    expect(log.fallbackRoute('c').streamIndex).toBe(0)
    expect(log.fallbackRoute('b').stream?.name).toBe('s')
  })

  it('shares the route of a topic, and tells topics apart by ref', async () => {
    const log = await given(stream('s'))
    expect(log.route('a')).toBe(log.route('a'))
    expect(log.route('a').ref).not.toBe(log.route('b').ref)
    for (const name of ['__proto__', 'constructor', 'hasOwnProperty']) {
      expect(log.route(name)).toMatchObject({ topic: name, streamIndex: 0 })
    }
  })
}

function testPartitions(given: Given): void {
  const placed = async (key: PartitionKey, all: readonly Message[]): Promise<number[]> => {
    const log = await given(stream('s', { partitions: 8, key }))
    return (await appendAll(log, all)).map((record) => record.partition)
  }
  /** Groups of messages that must share a partition, each twice, with the others between. */
  const expectGroups = async (key: PartitionKey, all: readonly Message[]): Promise<void> => {
    const found = await placed(key, [...all, ...all])
    expect(found.slice(0, all.length)).toEqual(found.slice(all.length))
    expect(new Set(found).size).toBeGreaterThan(2)
  }

  it('keeps a topic together', () =>
    expectGroups(
      { kind: 'topic' },
      numbers(30).map((i) => ({ topic: `t/${i}`, client: `c${i % 3}` })),
    ))

  it('keeps a publisher together', async () => {
    const all = numbers(60).map((i) => ({ topic: `t/${i}`, client: `c${i % 30}` }))
    const found = await placed({ kind: 'client' }, all)
    expect(found.slice(0, 30)).toEqual(found.slice(30))
    expect(new Set(found).size).toBeGreaterThan(2)
  })

  it('keeps a user property together, none being the empty one', async () => {
    const all = numbers(60).map((i) => ({ topic: `t/${i}`, key: `k${i % 30}` }))
    const found = await placed({ kind: 'user-property', name: 'k' }, [
      ...all,
      { topic: 'x' },
      { topic: 'y', key: '' },
    ])
    expect(found.slice(0, 30)).toEqual(found.slice(30, 60))
    expect(new Set(found).size).toBeGreaterThan(2)
    expect(found[60]).toBe(found[61])
  })

  it('keeps a topic level together, levels counting from 0', async () => {
    const all = numbers(60).map((i) => ({ topic: `devices/d${i % 30}/n${i}` }))
    const found = await placed({ kind: 'topic-level', level: 1 }, [
      ...all,
      { topic: 'short' },
      { topic: 'short' },
    ])
    expect(found.slice(0, 30)).toEqual(found.slice(30, 60))
    expect(new Set(found).size).toBeGreaterThan(2)
    expect(found[60]).toBe(found[61])
  })

  it('spreads without a key in turn', async () => {
    const found = await placed({ kind: 'round-robin' }, messages(32))
    for (const partition of numbers(8)) {
      expect(found.filter((other) => other === partition)).toHaveLength(4)
    }
  })

  it('knows the partition of a route where the topic decides it', async () => {
    const log = await given(
      stream('a', { topics: ['a/#'], partitions: 8 }),
      stream('b', { topics: ['b/#'], partitions: 8, key: { kind: 'client' } }),
    )
    const [record] = await appendAll(log, [{ topic: 'a/1' }])
    expect(log.route('a/1').partition).toBe(record?.partition)
    expect(log.route('b/1').partition).toBeUndefined()
  })
}

function testRecords(given: Given): void {
  const odd: readonly Message[] = [
    { topic: 't', payload: '' },
    { topic: 'käse/😀/日本', client: 'ü-😀', payload: 'text' },
    { topic: '\ufeffbom', client: '', payload: Buffer.from([0, 255, 128, 10]) },
    { topic: 't', qos: 0, payload: 'zero' },
    { topic: 't', qos: 2, retain: true, payload: 'two' },
    { topic: 't', qos: 2, packetId: 1, payload: 'first identifier' },
    { topic: 't', qos: 2, packetId: 65_535, will: true, payload: 'last identifier' },
    { topic: 't', retain: true, will: true, payload: 'will' },
    { topic: 't', properties: Buffer.from([0x23, 0, 1]), payload: '' },
    { topic: 't', properties: Buffer.alloc(300, 1), payload: 'x' },
    { topic: 't', payload: Buffer.alloc(300 * 1024, 'ab') },
    { topic: `long/${'x'.repeat(65_000)}`, payload: 'y' },
    { topic: '__proto__', client: 'constructor', payload: 'name' },
  ]

  it('gives every part of a record back as it was appended', async () => {
    const log = await given(stream('s', { partitions: 2 }))
    const records = await appendAll(log, odd)
    const read = await readAll(log, 's')
    for (const [i, message] of odd.entries()) {
      const expected = {
        topic: message.topic,
        client: message.client ?? 'client-1',
        qos: message.qos ?? 1,
        retain: message.retain ?? false,
        packetId: message.packetId ?? 0,
        will: message.will ?? false,
        properties: Buffer.from(message.properties ?? []).toString('base64'),
        payload: Buffer.from(message.payload ?? '').toString('base64'),
      }
      expect(contentOf(read[i] as LogRecord)).toMatchObject(expected)
    }
    expect(positions(read)).toEqual(positions(records))
    for (const record of read) {
      const topic = record.bytes.subarray(record.topicAt, record.topicEnd)
      expect(Buffer.from(topic).toString()).toBe(record.topic)
      expect(record.boot).toBe(log.boot)
    }
  })

  it('gives followers the same records', async () => {
    const log = await given(stream('s'))
    const seen: object[] = []
    log.follow((records) => seen.push(...records.map(contentOf)))
    await appendAll(log, odd)
    await expect.poll(() => seen.length).toBe(odd.length)
    expect(seen).toEqual((await readAll(log, 's')).map(contentOf))
  })

  it('has a recent record at hand once it is kept, and none beyond the end', async () => {
    const log = await given(stream('s'))
    const { record, settled } = append(log, { topic: 't', payload: 'x' })
    expect(log.recent('s', record.position)).toBeUndefined()
    await settled
    expect(log.recent('s', record.position)?.topic).toBe('t')
    expect(log.recent('s', asPosition(1))).toBeUndefined()
  })
}

function testReopen(
  start: (...streams: readonly StreamSettings[]) => Promise<OpenedLog>,
  durable: boolean,
): void {
  it.runIf(durable)('L4: has everything after a reopen, and goes on behind it', async () => {
    const opened = await start(stream('s', { partitions: 3 }))
    await appendAll(opened.log, messages(50, 'a'))
    await appendAll(opened.log, messages(50, 'b'))
    const before = (await readAll(opened.log, 's')).map(contentOf)
    const { boot } = opened.log
    const log = await opened.reopen()
    expect(log.boot).toBe(boot + 1)
    expect((await readAll(log, 's')).map(contentOf)).toEqual(before)
    const [next] = await appendAll(log, [{ topic: 'a' }])
    const own = before.filter((content) => partitionIn(content) === next?.partition)
    expect(next).toMatchObject({ position: 100, offset: own.length, boot: boot + 1 })
  })

  it.runIf(durable)('keeps what was appended and not flushed when it is closed', async () => {
    const opened = await start(stream('s'))
    const { settled } = append(opened.log, { topic: 't', payload: 'last' })
    const log = await opened.reopen()
    expect(await settled).toBe('kept')
    expect(payloads(await readAll(log, 's'))).toEqual(['last'])
  })
}
