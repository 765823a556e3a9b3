import fs from 'node:fs'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { asOffset, asPartition, asPosition, type ReadQuery } from '../../src/log/log.ts'
import { openLogReader } from '../../src/log/reader/log-reader.ts'
import { ReaderThread } from '../../src/log/reader/thread.ts'
import { contentOf } from '../contract/event-log-support.ts'
import { SegmentBuilder, temporaryDir } from '../support/segment-builder.ts'

let dataDir: string
let thread: ReaderThread
let builder: SegmentBuilder

beforeEach(() => {
  dataDir = temporaryDir()
  builder = new SegmentBuilder(dataDir, 's', 2)
  thread = new ReaderThread(dataDir)
})

afterEach(async () => {
  await thread.close()
  builder.close()
  fs.rmSync(dataDir, { recursive: true, force: true })
})

const query: ReadQuery = {
  stream: 's',
  from: asPosition(0),
  recordsMax: 1000,
  bytesMax: 1 << 24,
}

function fill(): void {
  for (let i = 0; i < 100; i++) {
    builder.add({
      partition: i % 2,
      topic: `ü/${i % 7}`,
      client: `c${i % 3}`,
      properties: Buffer.alloc(i % 4, 1),
      payload: Buffer.alloc(i * 50, i),
    })
    if (i === 50) builder.seal().begin()
  }
}

describe('the reader thread', () => {
  it('answers as the reader does, in the order of the questions', async () => {
    fill()
    const log = openLogReader(dataDir)
    const start = { kind: 'offset', partition: asPartition(1), offset: asOffset(7) } as const
    const order: string[] = []
    const [page, position, bounds] = await Promise.all([
      thread.read(query, asPosition(90)).finally(() => order.push('read')),
      thread.locate('s', start).finally(() => order.push('locate')),
      thread.bounds('s').finally(() => order.push('bounds')),
    ])
    expect(order).toEqual(['read', 'locate', 'bounds'])
    const expected = log.read(query, asPosition(90))
    expect([page.next, page.end]).toEqual([90, 90])
    expect(page.records.map(contentOf)).toEqual(expected.records.map(contentOf))
    expect(position).toBe(log.locate('s', start))
    expect(bounds).toEqual(log.bounds('s'))
    log.close()
  })

  it('hands a page of its own to each read', async () => {
    fill()
    const first = await thread.read(query, asPosition(100))
    const content = first.records.map(contentOf)
    const second = await thread.read(query, asPosition(100))
    expect(second.records[0]?.bytes.buffer).not.toBe(first.records[0]?.bytes.buffer)
    expect(first.records.map(contentOf)).toEqual(content)
  })

  it('hands on errors with their code and goes on', async () => {
    builder.add({}, { payload: 'x' }).exec("UPDATE record SET payload = 'y' WHERE position = 1")
    await expect(thread.bounds('other')).rejects.toMatchObject({
      name: 'SluiceError',
      code: 'stream-unknown',
      retry: 'never',
    })
    await expect(
      thread.read({ ...query, from: asPosition(1) }, asPosition(2)),
    ).rejects.toMatchObject({ code: 'record-damaged', message: expect.stringContaining('1 in ') })
    expect((await thread.read(query, asPosition(1))).records).toHaveLength(1)
  })

  it('says so when the data directory is not there', async () => {
    const absent = new ReaderThread(path.join(dataDir, 'absent'))
    await expect(absent.bounds('s')).rejects.toMatchObject({ code: 'data-dir-unusable' })
    await absent.close()
  })

  it('answers what was asked before it is closed', async () => {
    fill()
    const asked = thread.read(query, asPosition(100))
    await thread.close()
    expect((await asked).records).toHaveLength(100)
  })

  it('closes also when nothing was ever asked, and twice', async () => {
    const idle = new ReaderThread(dataDir)
    await idle.close()
    await idle.close()
    await expect(idle.bounds('s')).rejects.toThrow('is asked before it is closed')
  })
})
