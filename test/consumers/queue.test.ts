import { describe, expect, it } from 'vitest'
import { type QueueSettings, streamOfQueue } from '../../src/consumers/consumers.ts'
import type { Queue } from '../../src/consumers/queue.ts'
import { changedBlock, findUserProperty } from '../../src/consumers/user-properties.ts'
import type { EventLog } from '../../src/log/log.ts'
import { append, payloads, readAll } from '../contract/event-log-support.ts'
import { appendText } from '../support/append.ts'
import { propertyOf, TestMember } from '../support/member.ts'
import { type Given, given, numbered, stream, turns } from './given.ts'

const jobs: QueueSettings = {
  name: 'jobs',
  topics: ['jobs/#'],
  ackTimeoutMs: 30_000,
  maxDeliveries: 3,
  deadLetter: 'dead',
  priority: { kind: 'user-property', name: 'priority' },
}

const withQueue = (settings = jobs): Promise<Given> =>
  given([streamOfQueue(settings), stream('dead', { topics: [], partitions: 1 })], {
    queues: [settings],
  })

function queueOf({ consumers }: Given): Queue {
  const queue = consumers.queue('jobs')
  if (queue === undefined) throw new Error('there is no queue')
  return queue
}

async function join(g: Given, member: TestMember): Promise<void> {
  const queue = queueOf(g)
  member.onRoomy = () => queue.roomy()
  const onGap = () => undefined
  queue.join({ member, qos: 1, subscriptionIds: [], withProperties: true, onGap })
  await turns()
}

function leave(g: Given, member: TestMember): void {
  member.goAway()
  queueOf(g).left(member)
}

const put = (log: EventLog, count: number, from = 0) =>
  appendText(log, 'jobs/a', numbered(count, from))

async function putWith(log: EventLog, priority: string, payload: string): Promise<void> {
  const properties = changedBlock(new Uint8Array(0), '-', [['priority', priority]])
  await append(log, { topic: 'jobs/a', properties, payload }).settled
}

async function again(g: Given): Promise<Given> {
  await g.consumers.close()
  const next = await given([], { log: g.log, queues: [jobs] })
  return { ...next, clock: g.clock }
}

describe('a work queue', () => {
  it('gives each message to one consumer, in turn among those with room', async () => {
    const g = await withQueue()
    const [a, b] = [new TestMember('a', 2), new TestMember('b', 100)]
    await join(g, a)
    await join(g, b)
    await put(g.log, 8)
    await turns()
    expect([...a.texts, ...b.texts].sort()).toEqual(numbered(8))
    expect(a.texts).toHaveLength(2)
  })

  it('counts deliveries, and marks those after the first', async () => {
    const g = await withQueue()
    const [a, b] = [new TestMember('a'), new TestMember('b')]
    await join(g, a)
    await put(g.log, 3)
    await turns()
    expect(a.sent.map(({ how }) => how.dup)).toEqual([false, false, false])
    expect(propertyOf(a.sent[0], 'delivery-count')).toBe('1')
    leave(g, a)
    await join(g, b)
    expect(b.texts).toEqual(numbered(3))
    expect(b.sent.every(({ how }) => how.dup)).toBe(true)
    expect(propertyOf(b.sent[0], 'delivery-count')).toBe('2')
  })

  it('gives a message to another after the ack timeout; a late ack still counts', async () => {
    const g = await withQueue()
    const [a, b] = [new TestMember('a', 1), new TestMember('b', 1)]
    await join(g, a)
    await put(g.log, 2)
    await turns()
    g.clock.advance(29_999)
    g.consumers.tick()
    await join(g, b)
    expect(b.texts).toEqual(['1'])
    g.clock.advance(2)
    g.consumers.tick()
    b.settle()
    await turns()
    expect(b.texts).toEqual(['1', '0'])
    a.settle()
    leave(g, b)
    expect(queueOf(g).info().depth).toBe(0)
    expect(a.texts).toEqual(['0'])
  })

  it('puts what was delivered too often away, with why, from where and when', async () => {
    const g = await withQueue()
    const a = new TestMember('a')
    await join(g, a)
    await put(g.log, 1)
    for (let i = 0; i < 3; i++) {
      await turns()
      a.settle(0, 'refused')
    }
    await turns(20)
    const [dead, ...more] = await readAll(g.log, 'dead')
    expect(more).toEqual([])
    expect(payloads(dead === undefined ? [] : [dead])).toEqual(['0'])
    const said = ['reason', 'queue', 'stream', 'offset', 'deliveries', 'first-delivered'].map(
      (name) => findUserProperty(dead?.properties ?? new Uint8Array(0), `dead-${name}`),
    )
    expect(said).toEqual(['refused', 'jobs', 'jobs', '0', '3', String(g.clock.now())])
    expect(dead?.topic).toBe('jobs/a')
    expect(queueOf(g).info()).toMatchObject({ depth: 0, deadLetters: 1, redeliveries: 2 })
    expect(await queueOf(g).redrive()).toEqual({ records: 1, stopped: undefined })
    await turns()
    expect(a.texts).toEqual(['0', '0', '0', '0'])
    expect(propertyOf(a.sent[3], 'delivery-count')).toBe('1')
    expect(a.sent[3]?.record.properties).toHaveLength(0)
    expect(await queueOf(g).redrive()).toEqual({ records: 0, stopped: undefined })
  })

  it('without a dead-letter stream notes a gap', async () => {
    const { deadLetter: _, ...settings } = jobs
    const g = await withQueue({ ...settings, maxDeliveries: 1 })
    const a = new TestMember('a')
    await join(g, a)
    await put(g.log, 1)
    await turns()
    a.settle(0, 'refused')
    await turns(20)
    expect(g.log.state.gaps.list({ cursor: 'queue/jobs' })).toMatchObject([
      { first: 0, end: 1, records: 1, reason: 'policy' },
    ])
    expect(queueOf(g).info().depth).toBe(0)
  })

  it('gives by priority among what waits, and the lowest in the end', async () => {
    const g = await withQueue()
    for (const [priority, text] of [
      ['9', 'low'],
      ['0', 'high'],
      ['x', 'none'],
      ['5', 'five'],
    ] as const) {
      await putWith(g.log, priority, text)
    }
    const a = new TestMember('a', 1)
    await join(g, a)
    await turns()
    expect(a.texts).toEqual(['high'])
    g.clock.advance(50_001)
    await putWith(g.log, '0', 'late')
    await turns()
    while (a.settleAll() > 0) await turns()
    expect(a.texts).toEqual(['high', 'none', 'five', 'late', 'low'])
    g.clock.advance(1)
    await putWith(g.log, '9', 'old low')
    await turns()
    await putWith(g.log, '9', 'low 2')
    await turns()
    g.clock.advance(90_001)
    await putWith(g.log, '0', 'fresh')
    await turns()
    a.settleAll()
    expect(a.texts.slice(-2)).toEqual(['low 2', 'fresh'])
  })

  it('goes on after a restart with what is not settled, and its counts', async () => {
    const g = await withQueue()
    const a = new TestMember('a', 100)
    await join(g, a)
    await put(g.log, 10)
    await turns()
    for (const index of [0, 3, 4, 4]) a.settle(index)
    const open = a.inflight.map(({ text }) => text)
    const later = await again(g)
    const b = new TestMember('b', 100)
    await join(later, b)
    await turns()
    expect(b.texts).toEqual(open)
    expect(b.sent.every((sent) => propertyOf(sent, 'delivery-count') === '2')).toBe(true)
  })

  it('puts a message away once when it stops between the copy and its progress', async () => {
    const g = await withQueue()
    const a = new TestMember('a')
    await join(g, a)
    await put(g.log, 1)
    await turns()
    const { documents } = g.log.state
    const putNow = documents.putNow.bind(documents)
    const put2 = documents.put.bind(documents)
    let writes = 0
    // The crash: nothing is written after the intent.
    documents.putNow = async (ops) => (writes++ === 0 ? putNow(ops) : undefined)
    documents.put = () => undefined
    for (let i = 0; i < 3; i++) {
      await turns()
      a.settle(0, 'refused')
    }
    await turns(20)
    await g.consumers.close()
    documents.putNow = putNow
    documents.put = put2
    await g.log.state.cursors.seek('queue/jobs', { kind: 'earliest' })
    const later = await again(g)
    const b = new TestMember('b')
    await join(later, b)
    await turns(20)
    expect(b.texts).toEqual([])
    expect(await readAll(g.log, 'dead')).toHaveLength(1)
  })

  it('says how deep it is and how old', async () => {
    const g = await withQueue()
    await put(g.log, 5)
    g.clock.advance(7000)
    await turns()
    expect(queueOf(g).info()).toMatchObject({ depth: 5, oldestAgeMs: 7000, inflight: 0 })
    const a = new TestMember('a', 2)
    await join(g, a)
    expect(queueOf(g).info()).toMatchObject({
      depth: 5,
      inflight: 2,
      consumers: [{ clientId: 'a', inflight: 2 }],
    })
  })
})
