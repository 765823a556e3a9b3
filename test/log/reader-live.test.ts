import fs from 'node:fs'
import path from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { asPosition, type EventLog } from '../../src/log/log.ts'
import { openLog } from '../../src/log/open.ts'
import { type LogReader, openLogReader } from '../../src/log/reader/log-reader.ts'
import { appendAll, contentOf, readAll, stream } from '../contract/event-log-support.ts'
import { temporaryDir } from '../support/segment-builder.ts'

let log: EventLog | undefined
let reader: LogReader | undefined
const dataDir = temporaryDir()

afterEach(async () => {
  reader?.close()
  await log?.close()
  fs.rmSync(dataDir, { recursive: true, force: true })
})

it('follows a running log through its segments and never keeps one from being sealed', async () => {
  const opened = await openLog({
    dataDir,
    streams: [stream('s', { partitions: 3 })],
    clock: systemClock,
    segmentBytes: 32 * 1024,
    tailBytes: 64 * 1024,
    walBytesMax: 16 * 1024,
  })
  log = opened
  const beside = openLogReader(dataDir)
  reader = beside
  const seen: object[] = []
  let from = asPosition(0)
  const readOn = () => {
    const page = beside.read({ stream: 's', from, recordsMax: 100, bytesMax: 1 << 20 })
    seen.push(...page.records.map(contentOf))
    from = page.next
    beside.bounds('s')
  }
  for (let round = 0; round < 60; round++) {
    const payload = Buffer.alloc(500, round)
    const messages = Array.from({ length: 10 }, (_, i) => ({ topic: `t/${i}`, payload }))
    await appendAll(opened, messages)
    readOn()
  }
  expect(seen).toEqual((await readAll(opened, 's')).map(contentOf))
  expect(seen).toHaveLength(600)

  const folder = path.join(dataDir, 'streams', 's')
  const segments = fs.readdirSync(folder).filter((name) => /^\d+\.db$/.test(name))
  expect(segments.length).toBeGreaterThan(5)
  const isUnsealed = (name: string) => fs.existsSync(path.join(folder, `${name}-wal`))
  // While the reader goes on asking, and without it being closed.
  await expect
    .poll(() => {
      readOn()
      return segments.sort().slice(0, -1).filter(isUnsealed)
    })
    .toEqual([])
})
