import { expect, it } from 'vitest'
import type { ManualClock } from '../../src/base/clock.ts'
import {
  asOffset,
  asPartition,
  asPosition,
  type EventLog,
  type LogRecord,
} from '../../src/log/log.ts'
import {
  append,
  appendAll,
  contentOf,
  type Given,
  messages,
  numbers,
  payloads,
  positions,
  readAll,
  readPage,
  stream,
} from './event-log-support.ts'

/** Pages: their limits, partitions and filters. */
export function testReads(given: Given): void {
  it('ends a page at its number of records', async () => {
    const log = await given(stream('s'))
    await appendAll(log, messages(10))
    const page = await readPage(log, 's', { from: asPosition(2), recordsMax: 3 })
    expect([positions(page.records), page.next, page.end]).toEqual([[2, 3, 4], 5, 10])
  })

  it('ends a page with the record that passes its bytes', async () => {
    const log = await given(stream('s'))
    await appendAll(
      log,
      numbers(6).map(() => ({ topic: 't', payload: 'x'.repeat(1000) })),
    )
    const page = await readPage(log, 's', { bytesMax: 2500 })
    expect([positions(page.records), page.next]).toEqual([[0, 1, 2], 3])
    expect(positions((await readPage(log, 's', { bytesMax: 1 })).records)).toEqual([0])
  })

  it('is caught up when next is the end', async () => {
    const log = await given(stream('s'))
    expect(await readPage(log, 's')).toEqual({ records: [], next: 0, end: 0 })
    await appendAll(log, messages(3))
    expect(await readPage(log, 's', { from: asPosition(3) })).toEqual({
      records: [],
      next: 3,
      end: 3,
    })
  })

  it('shows nothing that is not kept yet', async () => {
    const log = await given(stream('s'))
    await appendAll(log, messages(2))
    const { settled } = append(log, { topic: 't' })
    const page = readPage(log, 's')
    expect((await page).end).toBeLessThanOrEqual(3)
    expect((await page).records).toHaveLength((await page).end)
    await settled
    expect(await readAll(log, 's')).toHaveLength(3)
  })

  it('reads one partition, in offset order', async () => {
    const log = await given(stream('s', { partitions: 4, key: { kind: 'round-robin' } }))
    const all = await appendAll(log, messages(40))
    for (const partition of numbers(4).map(asPartition)) {
      const own = all.filter((record) => record.partition === partition)
      const read = await readAll(log, 's', { partition, recordsMax: 3 })
      expect(read.map(contentOf)).toMatchObject(
        own.map(({ position, offset }) => ({ position, offset, partition })),
      )
    }
  })

  it('reads what a filter matches, and moves on where nothing does', async () => {
    const log = await given(stream('s'))
    const topics = ['a/b', 'a', 'b/a', 'a/b/c', 'a/b']
    await appendAll(
      log,
      numbers(50).map((i) => ({ topic: topics[i % topics.length] ?? 'a' })),
    )
    const read = await readAll(log, 's', { filters: ['a/+'], recordsMax: 7 })
    expect(read.map((record) => record.topic)).toEqual(numbers(20).map(() => 'a/b'))
    expect(await readAll(log, 's', { filters: ['c/#'] })).toEqual([])
    const page = await readPage(log, 's', { filters: ['c/#'] })
    expect([page.next, page.end]).toEqual([50, 50])
  })

  it('gives what one of several filters matches, each record once', async () => {
    const log = await given(stream('s', { topics: ['#', '$x/#'] }))
    const topics = ['a/b', 'c', '$x/y', 'a/b/c', 'd', 'e', 'a']
    await appendAll(
      log,
      topics.map((topic) => ({ topic })),
    )
    const found = async (...filters: string[]) =>
      (await readAll(log, 's', { filters, recordsMax: 2 })).map((record) => record.topic)
    expect(await found('a/b', 'a/+', 'c')).toEqual(['a/b', 'c'])
    expect(await found('+/b', 'a/#')).toEqual(['a/b', 'a/b/c', 'a'])
    expect(await found('#', '$x/#')).toEqual(topics)
    expect(await found('+/y', '#')).toEqual(topics.filter((topic) => topic !== '$x/y'))
    expect(await found()).toEqual([])
  })

  it('gives pages that stay as they are', async () => {
    const log = await given(stream('s'))
    await appendAll(log, messages(3))
    const page = await readPage(log, 's')
    await appendAll(log, messages(500))
    expect(payloads(page.records)).toEqual(['p0', 'p1', 'p2'])
  })

  it('refuses a stream it does not have', async () => {
    const log = await given(stream('s'))
    const unknown = { code: 'stream-unknown' }
    await expect(readPage(log, 'other')).rejects.toMatchObject(unknown)
    await expect(log.locate('other', { kind: 'earliest' })).rejects.toMatchObject(unknown)
    await expect(log.bounds('other')).rejects.toMatchObject(unknown)
  })
}

/** Where readers begin, and what a stream says of itself. */
export function testStarts(given: Given, clock: ManualClock): void {
  /** 20 records in 2 partitions, 100 ms apart. */
  const filled = async (): Promise<{ log: EventLog; records: LogRecord[] }> => {
    const log = await given(stream('s', { partitions: 2, key: { kind: 'round-robin' } }))
    const records: LogRecord[] = []
    for (const message of messages(20)) {
      clock.advance(100)
      records.push(...(await appendAll(log, [message])))
    }
    return { log, records }
  }

  it('locates earliest and latest', async () => {
    const { log } = await filled()
    expect(await log.locate('s', { kind: 'earliest' })).toBe(0)
    expect(await log.locate('s', { kind: 'latest' })).toBe(20)
  })

  it('locates the first record at or after a time', async () => {
    const { log, records } = await filled()
    for (const { position, timeMs } of records) {
      expect(await log.locate('s', { kind: 'time', timeMs })).toBe(position)
      expect(await log.locate('s', { kind: 'time', timeMs: timeMs + 1 })).toBe(position + 1)
    }
    expect(await log.locate('s', { kind: 'time', timeMs: 0 })).toBe(0)
  })

  it('locates an offset, and takes the next one for the end', async () => {
    const { log, records } = await filled()
    for (const { position, partition, offset } of records) {
      expect(await log.locate('s', { kind: 'offset', partition, offset })).toBe(position)
    }
    const next = { kind: 'offset', partition: asPartition(1), offset: asOffset(10) } as const
    expect(await log.locate('s', next)).toBe(20)
  })

  it('refuses an offset beyond the end', async () => {
    const { log } = await filled()
    const at = (partition: number, offset: number) =>
      log.locate('s', {
        kind: 'offset',
        partition: asPartition(partition),
        offset: asOffset(offset),
      })
    await expect(at(1, 11)).rejects.toMatchObject({ code: 'start-invalid' })
    await expect(at(7, 1)).rejects.toMatchObject({ code: 'start-invalid' })
  })

  it('tells the bounds of stream and partitions', async () => {
    const { log, records } = await filled()
    const bounds = await log.bounds('s')
    expect(bounds).toMatchObject({
      stream: 's',
      first: 0,
      end: 20,
      partitions: [
        { partition: 0, first: 0, end: 10 },
        { partition: 1, first: 0, end: 10 },
      ],
      firstTimeMs: records[0]?.timeMs,
      lastTimeMs: records.at(-1)?.timeMs,
    })
    expect(bounds.segments).toBeGreaterThan(0)
    expect(bounds.sizeBytes).toBeGreaterThan(0)
  })

  it('tells the bounds of an empty stream', async () => {
    const log = await given(stream('s', { partitions: 2 }))
    expect(await log.bounds('s')).toMatchObject({
      first: 0,
      end: 0,
      partitions: [
        { partition: 0, first: 0, end: 0 },
        { partition: 1, first: 0, end: 0 },
      ],
      firstTimeMs: undefined,
      lastTimeMs: undefined,
    })
    expect(await log.locate('s', { kind: 'time', timeMs: 0 })).toBe(0)
  })
}
