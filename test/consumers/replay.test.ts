import { describe, expect, it } from 'vitest'
import type { MissedRange, ReplayOptions } from '../../src/consumers/consumers.ts'
import type { Replay } from '../../src/consumers/replay.ts'
import { asOffset, asPartition } from '../../src/log/log.ts'
import { appendText } from '../support/append.ts'
import { propertyOf, TestMember } from '../support/member.ts'
import { type Given, given, numbered, stream, turns } from './given.ts'

async function replay(
  { consumers }: Given,
  member: TestMember,
  more: Partial<ReplayOptions> = {},
): Promise<Replay> {
  const begun = await consumers.replay({
    member,
    stream: 's',
    qos: 1,
    withProperties: true,
    start: { kind: 'earliest' },
    onGap: () => undefined,
    onFailure: (reason) => {
      throw new Error(reason)
    },
    ...more,
  })
  member.onRoomy = () => begun.roomy()
  await turns()
  return begun
}

async function drain(member: TestMember): Promise<void> {
  do await turns()
  while (member.settleAll() > 0)
}

describe('a replay', () => {
  it('gives history and then live records, each once and in order', async () => {
    const g = await given([stream('s', { partitions: 1 })])
    await appendText(g.log, 's/a', numbered(5000))
    const a = new TestMember('a', 64)
    await replay(g, a)
    for (let n = 5000; n < 5400; n += 40) {
      for (let i = 0; i < 700; i++) a.settle()
      await appendText(g.log, 's/a', numbered(40, n))
    }
    await drain(a)
    expect(a.texts).toEqual(numbered(5400))
    expect(a.sent.at(-1)?.how.qos).toBe(1)
  })

  it('says on each message where it is from', async () => {
    const g = await given([stream('s', { partitions: 1 })])
    await appendText(g.log, 's/a', ['x', 'y'])
    const a = new TestMember('a')
    await replay(g, a)
    const said = ['stream', 'partition', 'offset', 'time'].map((name) =>
      propertyOf(a.sent[1], name),
    )
    expect(said).toEqual(['s', '0', '1', String(g.clock.now())])
  })

  it('is paced by its window', async () => {
    const g = await given([stream('s', { partitions: 1 })])
    await appendText(g.log, 's/a', numbered(100))
    const a = new TestMember('a', 8)
    await replay(g, a)
    expect(a.sent).toHaveLength(8)
    a.settle()
    expect(a.sent).toHaveLength(9)
  })

  it('with a filter and a partition gives only those', async () => {
    const g = await given([stream('s')])
    for (let i = 0; i < 64; i++) await appendText(g.log, `s/${i % 16}`, [String(i)])
    const [a, b] = [new TestMember('a', 100), new TestMember('b', 100)]
    await replay(g, a, { filter: 's/3' })
    await replay(g, b, { partition: asPartition(2) })
    for (let i = 64; i < 96; i++) await appendText(g.log, `s/${i % 16}`, [String(i)])
    await turns()
    expect(a.texts).toEqual(['3', '19', '35', '51', '67', '83'])
    expect(b.sent.length).toBeGreaterThan(0)
    expect(b.sent.map(({ record }) => record.offset)).toEqual(b.sent.map((_, index) => index))
    expect(b.sent.every(({ record }) => record.partition === 2)).toBe(true)
  })

  it('begins at an offset, at the end, or fails for an offset that is not there', async () => {
    const g = await given([stream('s', { partitions: 1 })])
    await appendText(g.log, 's/a', numbered(10))
    const [a, b] = [new TestMember('a', 100), new TestMember('b', 100)]
    const at = (offset: number) =>
      ({ kind: 'offset', partition: asPartition(0), offset: asOffset(offset) }) as const
    await replay(g, a, { start: at(7) })
    await replay(g, b, { start: { kind: 'latest' } })
    await appendText(g.log, 's/a', ['10'])
    await turns()
    expect(a.texts).toEqual(['7', '8', '9', '10'])
    expect(b.texts).toEqual(['10'])
    await expect(replay(g, a, { start: at(99) })).rejects.toMatchObject({ code: 'start-invalid' })
    await expect(replay(g, a, { stream: 'none' })).rejects.toMatchObject({ code: 'stream-unknown' })
  })

  it('with a cursor goes on where acknowledgements ended, in order', async () => {
    const g = await given([stream('s', { partitions: 1 })])
    await appendText(g.log, 's/a', numbered(20))
    const cursor = 'replay/a/$stream/s'
    const a = new TestMember('a', 10)
    const first = await replay(g, a, { cursor })
    // 0 to 3 and then 5: the place is at 4.
    for (const index of [0, 0, 0, 0, 1]) a.settle(index)
    a.goAway()
    g.consumers.endReplay(first)
    const again = new TestMember('a', 100)
    await replay(g, again, { cursor, start: { kind: 'latest' } })
    expect(again.texts).toEqual(numbered(16, 4))
  })

  it('does not keep another replay waiting', async () => {
    const g = await given([stream('s', { partitions: 1 })])
    await appendText(g.log, 's/a', numbered(3000))
    const [stuck, free] = [new TestMember('a', 1), new TestMember('b', 100)]
    await replay(g, stuck)
    await replay(g, free)
    await drain(free)
    expect(free.texts).toHaveLength(3000)
    expect(stuck.texts).toHaveLength(1)
  })

  it('tells what damage took, before what is behind it', async () => {
    const g = await given([stream('s', { partitions: 1 })])
    await appendText(g.log, 's/a', numbered(10))
    const missed: MissedRange[] = []
    const a = new TestMember('a', 100)
    const read = g.log.read.bind(g.log)
    // As a salvaged segment reads: positions 3 to 5 are not there any more.
    g.log.read = async (query) => {
      const page = await read(query)
      const records = page.records.filter(({ offset }) => offset < 3 || offset >= 6)
      return { ...page, records }
    }
    await replay(g, a, { onGap: (range) => missed.push(range) })
    expect(a.texts).toEqual(['0', '1', '2', '6', '7', '8', '9'])
    expect(missed).toMatchObject([{ stream: 's', first: 3, end: 6, records: 3 }])
  })
})
