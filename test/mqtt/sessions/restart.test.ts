import { describe, expect, it } from 'vitest'
import { asPosition } from '../../../src/log/log.ts'
import { numbered, present, Site } from './given.ts'

const CURSOR = 'session/keeper/default'
const texts = (payloads: readonly string[]) => payloads.map((payload) => payload.trim())

describe('a session across restarts', () => {
  it('goes on with its subscriptions, options and place', async () => {
    const site = await new Site().start()
    const first = await site.keeper()
    first.send({
      cmd: 'subscribe',
      messageId: 5,
      subscriptions: [{ topic: 'a/+', qos: 1, nl: true, rap: true }],
      properties: { subscriptionIdentifier: 77 },
    } as never)
    await first.packet('suback')
    await site.publish('a/b', ['seen'])
    await first.packet('publish')
    await site.leave(first)
    await site.publish('a/b', ['missed'])
    await site.restart()
    await site.publish('a/b', ['after'])
    const second = await site.keeper()
    expect(present(second)).toBe(true)
    second.publish('a/b', 'own', { qos: 1, messageId: 1 })
    await second.until(() => second.payloads.length >= 2, 'both')
    await second.ping()
    expect(second.payloads).toEqual(['missed', 'after'])
    expect(second.publishes[0]?.properties?.subscriptionIdentifier).toBe(77)
  })

  it('keeps its place in a stream that is still empty', async () => {
    const site = await new Site().start()
    const first = await site.keeper()
    await first.subscribe('a', 1)
    await site.leave(first)
    await site.restart()
    await site.publish('a', ['first of all'])
    const second = await site.keeper()
    await second.until(() => second.payloads.length >= 1, 'the first message of the stream')
    expect(second.payloads).toEqual(['first of all'])
  })

  it('sends again what was in flight', async () => {
    const site = await new Site({ maxInflight: 3 }).start()
    const first = await site.keeper({ acks: false })
    await first.subscribe('a', 2)
    await site.publish('a', numbered(10))
    await first.until(() => first.publishes.length === 3, 'a full window')
    await site.restart()
    const second = await site.keeper()
    await second.until(() => second.payloads.length >= 10, 'all')
    await second.ping()
    expect(second.payloads).toEqual(numbered(10))
    expect(second.publishes.map(({ dup }) => dup).slice(0, 4)).toEqual([true, true, true, false])
    expect(second.publishes.slice(0, 3).map(({ messageId }) => messageId)).toEqual(
      first.publishes.map(({ messageId }) => messageId),
    )
  })

  it('has cursors that say how far it is', async () => {
    const site = await new Site({ maxInflight: 3 }).start()
    const first = await site.keeper({ acks: false })
    await first.subscribe('a', 1)
    await site.publish('a', numbered(10))
    await first.until(() => first.publishes.length === 3, 'a full window')
    const second = first.publishes[1]?.messageId
    first.send({ cmd: 'puback', messageId: second } as never)
    await site.leave(first)
    const { cursors } = site.run.log.state
    expect(cursors.get(CURSOR)?.place).toEqual({ kind: 'stream', next: 0 })
    expect((await cursors.lag(CURSOR)).records).toBe(10)
    const all = await site.keeper()
    await all.until(() => all.publishes.length === 9, 'the rest')
    await all.ping()
    await site.leave(all)
    expect(cursors.get(CURSOR)?.place).toEqual({ kind: 'stream', next: 10 })
  })

  it('goes where its cursor is put', async () => {
    const site = await new Site().start()
    const first = await site.keeper()
    await first.subscribe('a', 1)
    await site.publish('a', numbered(10))
    await first.until(() => first.publishes.length === 10, 'all')
    const { cursors } = site.run.log.state
    await cursors.seek(CURSOR, { kind: 'earliest' })
    await first.until(() => first.publishes.length === 20, 'all again')
    expect(first.payloads).toEqual([...numbered(10), ...numbered(10)])
    await site.leave(first)
    await cursors.seek(CURSOR, { kind: 'latest' })
    await site.publish('a', ['new'])
    const second = await site.keeper()
    await second.packet('publish')
    expect(second.payloads).toEqual(['new'])
  })

  it('has a gap for what retention removed meanwhile', async () => {
    const site = await new Site({}, undefined, 64 * 1024).start()
    const first = await site.keeper()
    await first.subscribe('a', 1)
    await site.leave(first)
    await site.publish('a', numbered(1000), 200)
    const { state } = site.run.log
    const cursor = CURSOR
    const range = { first: asPosition(0), end: asPosition(600) }
    await state.gaps.add([
      { stream: 'default', cursor, ...range, records: 600, sizeBytes: 1, reason: 'retention' },
    ])
    const second = await site.keeper()
    await second.until(() => second.publishes.length >= 400, 'what is left')
    await second.ping()
    expect(texts(second.payloads)).toEqual(numbered(400, 600))
  })

  it('passes over what is older than it may lag, as a gap of its own', async () => {
    const site = await new Site({ maxSessionQueueMs: 3_600_000 }).start()
    const first = await site.keeper()
    await first.subscribe('a', 1)
    await site.leave(first)
    await site.publish('a', numbered(5))
    site.clock.advance(3_000_000)
    await site.publish('a', numbered(5, 5))
    site.clock.advance(3_000_000)
    await site.run.mqtt.maintainSessions()
    expect(site.run.log.state.gaps.list({ cursor: CURSOR })).toMatchObject([
      { first: 0, end: 5, records: 5, reason: 'policy' },
    ])
    const second = await site.keeper()
    await second.until(() => second.publishes.length >= 5, 'the rest')
    await second.ping()
    expect(second.payloads).toEqual(numbered(5, 5))
  })
})
