import { describe, expect, it, onTestFinished } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import { Consumers } from '../../src/consumers/consumers.ts'
import type { Shared } from '../../src/consumers/shared.ts'
import { asPosition, LogRecord } from '../../src/log/log.ts'
import { MemoryLog } from '../../src/log/memory.ts'
import { topicMatches } from '../../src/log/topics.ts'
import { appendText } from '../support/append.ts'
import { TestMember } from '../support/member.ts'
import { NOON_MS, numbered, stream, turns } from './given.ts'

const FILTER = 's/#'

async function givenShared(durable = false, over?: MemoryLog) {
  const clock = new ManualClock(NOON_MS)
  const log = over ?? new MemoryLog([stream('s', { partitions: 1 }), stream('t')], clock)
  const consumers = await Consumers.start({ log, clock, queues: [] })
  let dropped = 0
  const onDropped = () => dropped++
  const shared = await consumers.shared({ group: 'g', filter: FILTER, durable, onDropped })
  // As the router does: each kept record that the filter matches.
  const unfollow = log.follow((records) => {
    for (const one of records) if (topicMatches(FILTER, one.topic)) shared.offer(one)
  })
  onTestFinished(async () => {
    await consumers.close()
  })
  return { log, consumers, shared, unfollow, dropped: () => dropped }
}

function join(shared: Shared, member: TestMember, qos: 0 | 1 = 1): void {
  member.onRoomy = () => shared.roomy()
  shared.join({ member, qos, retainAsPublished: false, subscriptionIds: [] })
}

describe('a shared subscription', () => {
  it('gives each message to one member, in turn among those with room', async () => {
    const { log, shared } = await givenShared()
    const [a, b, c] = [new TestMember('a', 2), new TestMember('b', 100), new TestMember('c', 100)]
    for (const member of [a, b, c]) join(shared, member)
    await appendText(log, 's/1', numbered(20))
    await appendText(log, 't/1', ['not matched'])
    expect([a.sent.length, b.sent.length, c.sent.length]).toEqual([2, 9, 9])
    expect([...a.texts, ...b.texts, ...c.texts].sort()).toEqual(numbered(20).sort())
  })

  it('gives what a leaver did not settle to the others', async () => {
    const { log, shared } = await givenShared()
    const [a, b] = [new TestMember('a', 100), new TestMember('b', 100)]
    join(shared, a)
    await appendText(log, 's/1', numbered(10))
    a.settle(3)
    join(shared, b)
    a.goAway()
    shared.left(a)
    expect(b.texts).toEqual(numbered(10).filter((n) => n !== '3'))
    expect(b.sent[0]?.how.dup).toBe(true)
  })

  it('reads the log for what no longer fits, without a hole or a repeat', async () => {
    const { log, shared } = await givenShared()
    const a = new TestMember('a', 10)
    join(shared, a)
    await appendText(log, 's/1', numbered(6000))
    for (let n = 6000; n < 6100; n += 10) {
      for (let i = 0; i < 700; i++) a.settle()
      await appendText(log, 's/1', numbered(10, n))
    }
    do await turns()
    while (a.settleAll() > 0)
    expect(a.texts).toEqual(numbered(6100))
  })

  it('reads again what the tail took back', async () => {
    const { log, shared } = await givenShared()
    const [a, b] = [new TestMember('a', 3), new TestMember('b', 100)]
    join(shared, a)
    await appendText(log, 's/1', numbered(6))
    // As when the tail needs the memory: what is out and what waits is evicted; pages are copies.
    const read = log.read.bind(log)
    log.read = async (query) => {
      const page = await read(query)
      return { ...page, records: page.records.map(copyOf) }
    }
    for (let position = 0; position < 6; position++) {
      const kept = log.recent('s', asPosition(position))
      if (kept !== undefined) kept.inMemory = false
    }
    join(shared, b)
    a.goAway()
    shared.left(a)
    await turns(20)
    expect(new Set(b.texts)).toEqual(new Set(numbered(6)))
  })

  it('with cursors goes on after a restart where it was settled', async () => {
    const g = await givenShared(true)
    const a = new TestMember('a', 100)
    join(g.shared, a)
    await turns()
    await appendText(g.log, 's/1', numbered(10))
    for (let i = 0; i < 4; i++) a.settle()
    a.goAway()
    g.shared.left(a)
    await appendText(g.log, 's/1', numbered(5, 10))
    g.unfollow()
    await g.consumers.close()
    const later = await givenShared(true, g.log)
    const b = new TestMember('b', 100)
    join(later.shared, b)
    await turns()
    expect(b.texts).toEqual(numbered(11, 4))
    await appendText(g.log, 's/1', ['15'])
    expect(b.texts.at(-1)).toBe('15')
  })

  it('drops and counts QoS 0 messages that no longer fit', async () => {
    const { shared, dropped } = await givenShared()
    const { record } = await import('../support/record.ts')
    for (let i = 0; i < 4100; i++) shared.offer(record({ stream: '', qos: 0, payload: 'x' }))
    expect(dropped()).toBe(4)
  })
})

function copyOf(one: LogRecord): LogRecord {
  return Object.assign(Object.create(LogRecord.prototype), one, { inMemory: true })
}
