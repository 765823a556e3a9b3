import { describe, expect, it } from 'vitest'
import type { GroupEvent } from '../../src/consumers/consumers.ts'
import type { Group } from '../../src/consumers/group.ts'
import { appendText } from '../support/append.ts'
import { propertyOf, TestMember } from '../support/member.ts'
import { type Given, given, joining, numbered, stream, turns } from './given.ts'

const EARLIEST = { kind: 'earliest' } as const

async function join({ consumers }: Given, member: TestMember, filter?: string): Promise<Group> {
  const more = filter === undefined ? {} : { filter }
  const joined = await consumers.joinGroup('g', 's', joining(member, more), EARLIEST)
  if (joined.kind !== 'joined') throw new Error(joined.sentence)
  member.onRoomy = () => joined.group.roomy(member)
  await turns()
  return joined.group
}

/** Enough topics that each of four partitions has some. */
async function appendSpread({ log }: Given, count: number, from = 0): Promise<void> {
  for (const text of numbered(count, from)) await appendText(log, `s/${Number(text) % 16}`, [text])
}

const partitionsOf = (group: Group, member: TestMember): readonly number[] =>
  group.info().members.find(({ clientId }) => clientId === member.clientId)?.partitions ?? []

describe('a consumer group', () => {
  it('divides the partitions and gives each record to one member', async () => {
    const g = await given([stream('s')])
    const [a, b] = [new TestMember('a', 1000), new TestMember('b', 1000)]
    const group = await join(g, a)
    await join(g, b)
    expect([...partitionsOf(group, a), ...partitionsOf(group, b)].sort()).toEqual([0, 1, 2, 3])
    expect(partitionsOf(group, a)).toHaveLength(2)
    await appendSpread(g, 200)
    await turns()
    expect([...a.texts, ...b.texts].sort()).toEqual(numbered(200).sort())
    expect(a.sent.every(({ record }) => partitionsOf(group, a).includes(record.partition))).toBe(
      true,
    )
  })

  it('says on each message where it is from', async () => {
    const g = await given([stream('s')])
    const a = new TestMember('a')
    await join(g, a)
    await appendText(g.log, 's/1', ['x'])
    await turns()
    const [sent] = a.sent
    expect(propertyOf(sent, 'stream')).toBe('s')
    expect(propertyOf(sent, 'partition')).toBe(String(sent?.record.partition))
    expect(propertyOf(sent, 'offset')).toBe('0')
    expect(propertyOf(sent, 'time')).toBe(String(g.clock.now()))
  })

  it('begins with what was there before its first member', async () => {
    const g = await given([stream('s')])
    await appendSpread(g, 50)
    const a = new TestMember('a', 1000)
    await join(g, a)
    expect([...a.texts].sort()).toEqual(numbered(50).sort())
  })

  it('gives what a leaver did not acknowledge to the others, and only that', async () => {
    const g = await given([stream('s')])
    const [a, b] = [new TestMember('a', 1000), new TestMember('b', 1000)]
    const group = await join(g, a)
    await appendSpread(g, 40)
    await turns()
    const acked = [0, 0, 3, 5].map((index) => a.settle(index)?.text)
    await join(g, b)
    a.goAway()
    g.consumers.leaveGroup(group, a)
    await turns()
    expect([...b.texts].sort()).toEqual(
      numbered(40)
        .filter((n) => !acked.includes(n))
        .sort(),
    )
    expect(b.sent.every(({ how }) => how.dup)).toBe(true)
  })

  it('hands a partition over only when what is out of it is settled', async () => {
    const g = await given([stream('s')])
    const [a, b] = [new TestMember('a', 4), new TestMember('b', 1000)]
    const group = await join(g, a)
    await appendSpread(g, 64)
    await turns()
    await join(g, b)
    const out = new Set(a.inflight.map(({ record }) => record.partition))
    expect(b.sent.some(({ record }) => out.has(record.partition))).toBe(false)
    a.settleAll()
    await turns()
    expect(partitionsOf(group, a)).toHaveLength(2)
    expect(partitionsOf(group, b)).toHaveLength(2)
    while (a.settleAll() + b.settleAll() > 0) await turns()
    expect([...a.texts, ...b.texts].sort()).toEqual(numbered(64).sort())
  })

  it('goes on after a restart where acknowledgements ended', async () => {
    const g = await given([stream('s')])
    const a = new TestMember('a', 1000)
    await join(g, a)
    await appendSpread(g, 30)
    await turns()
    for (let i = 0; i < 20; i++) a.settle()
    await g.consumers.close()
    const later = await given([], { log: g.log })
    const b = new TestMember('b', 1000)
    await join({ ...later, log: g.log }, b)
    expect([...b.texts].sort()).toEqual(a.inflight.map(({ text }) => text).sort())
  })

  it('takes the partitions of a member that acknowledges nothing, and says so', async () => {
    const events: GroupEvent[] = []
    const g = await given([stream('s')], { onEvent: (event) => events.push(event) })
    const [a, b] = [new TestMember('a'), new TestMember('b', 1000)]
    const group = await join(g, a)
    await join(g, b)
    await appendSpread(g, 40)
    await turns()
    g.clock.advance(29_000)
    b.settleAll()
    g.consumers.tick()
    expect(partitionsOf(group, a)).toHaveLength(2)
    g.clock.advance(1_500)
    g.consumers.tick()
    await turns()
    expect(partitionsOf(group, b)).toHaveLength(4)
    expect(events.map(({ kind, clientId }) => `${kind} ${clientId}`)).toContain('stalled a')
    b.settleAll()
    await turns()
    expect(new Set(b.texts).size).toBe(40)
    a.settle()
    await turns()
    expect(events.at(-1)).toMatchObject({ kind: 'recovered', clientId: 'a' })
    expect(partitionsOf(group, a)).toHaveLength(2)
  })

  it('refuses a member with another filter, with a sentence', async () => {
    const g = await given([stream('s')])
    await join(g, new TestMember('a'), 's/1')
    const b = joining(new TestMember('b'), { filter: 's/2' })
    const outcome = await g.consumers.joinGroup('g', 's', b, EARLIEST)
    expect(outcome).toEqual({
      kind: 'refused',
      sentence: 'the group "g" reads "s/1" of its stream, not "s/2"',
    })
  })

  it('with a filter passes over the rest, and its cursor with it', async () => {
    const g = await given([stream('s')])
    const a = new TestMember('a', 1000)
    const group = await join(g, a, 's/1')
    await appendSpread(g, 64)
    await turns()
    expect(a.texts).toEqual(['1', '17', '33', '49'])
    expect(group.info().lag).toBeGreaterThan(0)
    a.settleAll()
    g.consumers.tick()
    expect(group.info().lag).toBe(0)
  })

  it('lets more members than partitions wait', async () => {
    const g = await given([stream('s', { partitions: 1 })])
    const [a, b] = [new TestMember('a', 1000), new TestMember('b', 1000)]
    const group = await join(g, a)
    await join(g, b)
    await appendSpread(g, 10)
    await turns()
    expect(b.sent).toEqual([])
    a.goAway()
    g.consumers.leaveGroup(group, a)
    await turns()
    expect(b.texts).toEqual(numbered(10))
  })

  it('goes back when its cursor is moved by hand', async () => {
    const g = await given([stream('s')])
    const a = new TestMember('a', 1000)
    await join(g, a)
    await appendSpread(g, 20)
    await turns()
    a.settleAll()
    g.consumers.tick()
    await g.log.state.cursors.seek('group/g/s', { kind: 'earliest' })
    await turns()
    expect(a.sent).toHaveLength(40)
  })
})
