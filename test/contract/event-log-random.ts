/** A seeded run of mixed operations on an event log, compared with a plain array. */
import { expect, it } from 'vitest'
import type { ManualClock } from '../../src/base/clock.ts'
import { SeededRandom, systemRandom } from '../../src/base/random.ts'
import {
  asPosition,
  type EventLog,
  type LogRecord,
  type ReadQuery,
  type StreamSettings,
} from '../../src/log/log.ts'
import { topicMatches } from '../../src/log/topics.ts'
import type { EventLogTraits } from './event-log.ts'
import {
  type Appended,
  append,
  contentOf,
  type Message,
  numbers,
  type OpenedLog,
  partitionIn,
  readAll,
  stream,
} from './event-log-support.ts'

const OPERATIONS = 400
const topics = ['a', 'a/b', 'a/b/c', 'b/1', 'b/2', 'b/3', 'deep/er/and/deeper', 'ü/😀']
const filters = ['a/#', '+/b', 'b/+', '#', 'none/#', 'ü/😀']
/** Sizes around nothing, the usual, a page of SQLite, and one that takes overflow pages. */
const payloadSizes = [0, 1, 60, 256, 4_000, 70_000]

export function testRandomRun(
  start: (...streams: readonly StreamSettings[]) => Promise<OpenedLog>,
  clock: ManualClock,
  { durable, seed = systemRandom.below(2 ** 32) }: EventLogTraits,
): void {
  it(`matches a plain array over a random run from seed ${seed}`, async () => {
    const random = new SeededRandom(seed)
    const streams = [
      stream('a', { topics: ['a/#'], partitions: 3 }),
      stream('rest', { partitions: 2, key: { kind: 'client' }, ackAfter: 'write' }),
    ]
    const run = new RandomRun(await start(...streams), random, clock, durable)
    for (let i = 0; i < OPERATIONS; i++) await run.step()
    await run.compareAll()
  })
}

class RandomRun {
  private readonly opened: OpenedLog
  private readonly random: SeededRandom
  private readonly clock: ManualClock
  private readonly durable: boolean
  private readonly model = new Map<string, object[]>([
    ['a', []],
    ['rest', []],
  ])
  private log: EventLog
  private open: { appended: Appended; message: Message }[] = []

  constructor(opened: OpenedLog, random: SeededRandom, clock: ManualClock, durable: boolean) {
    this.opened = opened
    this.log = opened.log
    this.random = random
    this.clock = clock
    this.durable = durable
  }

  async step(): Promise<void> {
    const chance = this.random.below(100)
    if (chance < 60) return this.append()
    if (chance < 70) return this.log.flush()
    if (chance < 80) return this.settle()
    if (chance < 97) return this.compareSome()
    if (this.durable) await this.reopen()
  }

  async compareAll(): Promise<void> {
    await this.settle()
    for (const [name, expected] of this.model) {
      expect((await readAll(this.log, name)).map(contentOf)).toEqual(expected)
    }
  }

  private append(): void {
    this.clock.advance(this.random.below(20))
    for (let i = this.random.below(8); i >= 0; i--) {
      const qos = this.random.pick([0, 1, 2] as const)
      const message: Message = {
        topic: this.random.pick(topics),
        client: `c${this.random.below(5)}`,
        qos,
        retain: this.random.oneIn(5),
        packetId: qos === 2 ? 1 + this.random.below(65_535) : 0,
        will: this.random.oneIn(10),
        properties: Buffer.alloc(this.random.oneIn(3) ? this.random.below(50) : 0, 9),
        payload: Buffer.alloc(this.random.pick(payloadSizes), this.random.below(256)),
      }
      this.open.push({ appended: append(this.log, message), message })
    }
  }

  /**
   * Waits for what is open and puts it into the model, from what was asked and not from the log.
   */
  private async settle(): Promise<void> {
    for (const { appended, message } of this.open.splice(0)) {
      expect(await appended.settled).toBe('kept')
      const { record } = appended
      const own = this.model.get(record.stream) ?? []
      const offset = own.filter((other) => partitionIn(other) === record.partition).length
      own.push({
        stream: topicMatches('a/#', message.topic) ? 'a' : 'rest',
        position: own.length,
        partition: record.partition,
        offset,
        topic: message.topic,
        client: message.client,
        qos: message.qos,
        retain: message.retain,
        packetId: message.packetId,
        will: message.will,
        timeMs: record.timeMs,
        properties: Buffer.from(message.properties ?? []).toString('base64'),
        payload: Buffer.from(message.payload ?? '').toString('base64'),
      })
    }
  }

  private async compareSome(): Promise<void> {
    await this.settle()
    const name = this.random.pick([...this.model.keys()])
    const expected = this.model.get(name) ?? []
    const from = this.random.below(expected.length + 1)
    const query: Partial<ReadQuery> = {
      from: asPosition(from),
      recordsMax: this.random.pick([10, 30, 1000]),
      bytesMax: this.random.pick([5_000, 200_000, 1_000_000]),
      ...(this.random.oneIn(2) && { filters: this.pickFilters() }),
    }
    const read = await readAll(this.log, name, query)
    const { filters: picked } = query
    const wanted = (expected as LogRecord[])
      .slice(from)
      .filter(({ topic }) => picked?.some((filter) => topicMatches(filter, topic)) ?? true)
    expect(read.map(contentOf)).toEqual(wanted)
    expect((await this.log.bounds(name)).end).toBe(expected.length)
  }

  private pickFilters(): string[] {
    return numbers(this.random.below(3) + 1).map(() => this.random.pick(filters))
  }

  private async reopen(): Promise<void> {
    this.log = await this.opened.reopen()
    await this.settle()
  }
}
