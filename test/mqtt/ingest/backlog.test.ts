import path from 'node:path'
import Database from 'better-sqlite3'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Access } from '../../../src/access/access.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { Consumers } from '../../../src/consumers/consumers.ts'
import { openLog } from '../../../src/log/open.ts'
import { createMqttFrontEnd } from '../../../src/mqtt/front-end.ts'
import { Backlog } from '../../../src/mqtt/ingest/backlog.ts'
import type { Publisher } from '../../../src/mqtt/ingest/publisher.ts'
import { eventually, everything, testSettings } from '../../support/front-end.ts'
import { collectingLogger } from '../../support/logger.ts'
import { RawClient } from '../../support/raw-client.ts'
import { tempDir } from '../../support/temp-dir.ts'

/** Streams of one topic each, on real files; `fail` makes one of them unwritable. */
async function frontEnd(names: readonly string[], maxPublishBacklogBytes: number) {
  const dataDir = tempDir()
  const logger = collectingLogger()
  const streams = names.map((name) => ({ ...everything, name, topics: [name] }))
  const log = await openLog({ dataDir, streams, clock: systemClock })
  const consumers = await Consumers.start({ log, clock: systemClock, logger, queues: [] })
  const mqtt = createMqttFrontEnd({
    consumers,
    version: '1.2.3',
    log,
    access: new Access(undefined, { clock: systemClock, logger }),
    clock: systemClock,
    logger,
    settings: { ...testSettings, maxPublishBacklogBytes },
  })
  const port = (await mqtt.listen())[0]?.port ?? 0
  const clients: RawClient[] = []
  onTestFinished(async () => {
    for (const client of clients) client.end()
    await mqtt.close()
    await consumers.close()
    await log.close()
  })
  const rename = (name: string, from: string, to: string): void => {
    const db = new Database(path.join(dataDir, `streams/${name}/0000000000000000.db`))
    db.exec(`ALTER TABLE ${from} RENAME TO ${to}`)
    db.close()
  }
  return {
    log,
    mqtt,
    fail: (name: string) => rename(name, 'record', 'hidden'),
    repair: (name: string) => rename(name, 'hidden', 'record'),
    connect: async () => {
      const client = await RawClient.connect(port)
      clients.push(client)
      return client
    },
  }
}

function publish(client: RawClient, topic: string, count: number, sizeBytes: number): void {
  for (let messageId = 1; messageId <= count; messageId++) {
    client.publish(topic, Buffer.alloc(sizeBytes), { qos: 1, messageId })
  }
}

it('holds back who publishes to a stream that fails, and nobody else', async () => {
  const { log, mqtt, fail, repair, connect } = await frontEnd(['bad', 'good'], 512 * 1024)
  const stuck = await Promise.all([connect(), connect(), connect()])
  const busy = await connect()
  publish(busy, 'good', 1, 10)
  await busy.packet('puback')
  fail('bad')
  for (const client of stuck) publish(client, 'bad', 300, 1000)
  await eventually(() => mqtt.stats.pausedPublishers === stuck.length, 'all to "bad" are paused')
  expect([...log.failures.keys()]).toEqual(['bad'])
  expect(log.backlogBytes).toBeGreaterThan(200 * 1024)
  for (let round = 0; round < 5; round++) {
    const before = busy.of('puback').length
    publish(busy, 'good', 200, 1000)
    await busy.until(() => busy.of('puback').length === before + 200, 'its acks')
  }
  expect(stuck.every((client) => client.of('puback').length === 0)).toBe(true)
  expect(log.failures.size).toBe(1)
  repair('bad')
  for (const client of stuck) {
    await client.until(() => client.of('puback').length === 300, 'the acks of what waited')
  }
  expect(mqtt.stats.pausedPublishers).toBe(0)
})

describe('the shares of streams', () => {
  const publisher = (resumed: () => void) => ({ resume: resumed }) as unknown as Publisher

  /** Fills a stream packet by packet, as its publishers do while it takes any. */
  const fill = (backlog: Backlog, stream: string, packetBytes: number): number => {
    let bytes = 0
    while (!backlog.isFull(stream)) {
      backlog.add(stream, packetBytes)
      bytes += packetBytes
    }
    return bytes
  }

  it('leave room for the others, however many fail, and stay within the limit together', () => {
    const streams = Array.from({ length: 20 }, (_, i) => `s${i}`)
    const backlog = new Backlog(1_000_000, streams.length)
    let sum = 0
    for (const stream of streams) {
      const bytes = fill(backlog, stream, 100)
      expect(bytes).toBeGreaterThanOrEqual(1_000_000 / 80)
      sum += bytes
    }
    expect(fill(new Backlog(1_000_000, 1), 's', 100)).toBe(750_000)
    expect(sum).toBeLessThan(1_250_000)
  })

  it('go on at half of the share', () => {
    const backlog = new Backlog(1000, 2)
    let resumed = 0
    const bytes = fill(backlog, 'a', 10)
    backlog.hold(
      publisher(() => resumed++),
      'a',
    )
    while (resumed === 0) backlog.remove('a', 10)
    backlog.remove('a', 10)
    expect(resumed).toBe(1)
    expect(fill(backlog, 'a', 10)).toBeLessThan(bytes)
    expect(fill(backlog, 'a', 10)).toBe(0)
  })

  it('let nobody go on who has left', () => {
    const backlog = new Backlog(1000, 2)
    const gone = publisher(() => expect.unreachable('a publisher that left is not resumed'))
    const bytes = fill(backlog, 'a', 10)
    backlog.hold(gone, 'a')
    backlog.forget(gone)
    backlog.remove('a', bytes)
  })
})
