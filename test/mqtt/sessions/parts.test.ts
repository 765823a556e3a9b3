import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../../src/base/random.ts'
import { asPosition } from '../../../src/log/log.ts'
import { topicMatches } from '../../../src/log/topics.ts'
import { Filters } from '../../../src/mqtt/delivery/filters.ts'
import type { Subscription } from '../../../src/mqtt/delivery/subscriptions.ts'
import { filtersOverlap } from '../../../src/mqtt/sessions/overlap.ts'
import { Session, sessionOfCursor } from '../../../src/mqtt/sessions/session.ts'
import {
  decodePlace,
  decodeSession,
  encodePlace,
  encodeSession,
} from '../../../src/mqtt/sessions/session-document.ts'
import { Wanted } from '../../../src/mqtt/sessions/wanted.ts'
import { record } from '../../support/record.ts'

const subscription = (filter: string, more: Partial<Subscription> = {}): Subscription => ({
  filter,
  qos: 1,
  noLocal: false,
  retainAsPublished: false,
  id: undefined,
  ...more,
})

describe('filtersOverlap', () => {
  it('agrees with a search for a topic that both match, seed 11', () => {
    const random = new SeededRandom(11)
    const pick = <T>(list: readonly T[]): T => list[random.below(list.length)] as T
    const words = ['', 'a', 'b', '$s']
    const topics: string[] = []
    for (const one of words) {
      topics.push(one)
      for (const two of words) {
        topics.push(`${one}/${two}`)
        for (const three of words) topics.push(`${one}/${two}/${three}`)
      }
    }
    const filter = (): string => {
      const levels = Array.from({ length: 1 + random.below(3) }, () => pick([...words, '+']))
      if (random.below(3) === 0) levels[levels.length - 1] = '#'
      return levels.join('/')
    }
    for (let i = 0; i < 5000; i++) {
      const [one, other] = [filter(), filter()]
      const meet = topics.some((topic) => topicMatches(one, topic) && topicMatches(other, topic))
      if (meet) expect(filtersOverlap(one, other), `${one} and ${other}`).toBe(true)
      else if (!one.startsWith('#') && !other.startsWith('#')) {
        expect(filtersOverlap(one, other), `${one} and ${other}`).toBe(false)
      }
    }
  })
})

describe('Wanted', () => {
  it('forgets a filter with the last session that has it', () => {
    const wanted = new Wanted()
    expect(wanted.has('a/b')).toBe(false)
    wanted.add(subscription('a/+'))
    wanted.add(subscription('a/+'))
    wanted.remove('a/+')
    expect(wanted.has('a/b')).toBe(true)
    wanted.remove('a/+')
    expect(wanted.has('a/b')).toBe(false)
  })
})

describe('Filters', () => {
  it('give a record only to filters that were there before it', () => {
    const filters = new Filters()
    filters.set(subscription('a/#', { id: 1 }), undefined)
    filters.set(subscription('+/b', { id: 2, qos: 2 }), new Map([['default', asPosition(10)]]))
    expect(filters.grant(record({ topic: 'a/b', position: 9 }))).toMatchObject({ ids: [1], qos: 1 })
    const both = filters.grant(record({ topic: 'a/b', position: 10 }))
    expect(both).toMatchObject({ ids: [1, 2], qos: 2 })
    expect(filters.grant(record({ topic: 'c/b', position: 9 }))).toBe(undefined)
    filters.forgetSince()
    expect(filters.grant(record({ topic: 'c/b', position: 9 }))).toMatchObject({ ids: [2] })
    filters.delete('+/b')
    expect(filters.grant(record({ topic: 'c/b', position: 10 }))).toBe(undefined)
  })

  it('keep what a filter was given before it is replaced [MQTT-3.8.4-3]', () => {
    const filters = new Filters()
    filters.set(subscription('a'), undefined)
    filters.set(subscription('a', { qos: 2 }), new Map([['default', asPosition(10)]]))
    expect(filters.grant(record({ topic: 'a', position: 5 }))).toMatchObject({ qos: 2 })
  })
})

describe('a stored session', () => {
  it('is the same after it was written and read', () => {
    const session = new Session('client', 3600, 10)
    session.filters.set(
      subscription('a/+', { qos: 2, noLocal: true, retainAsPublished: true, id: 9 }),
      new Map([['default', asPosition(7)]]),
    )
    session.next.set('default', asPosition(12))
    session.left = { boot: 3, monotonicUs: 5_000_000, timeMs: 1_763_700_000_000.5 }
    session.window.open(1, 'default', asPosition(8))
    const released = session.window.open(2, 'default', asPosition(9))
    session.window.pubrec(released)
    session.window.open(2, 'default', asPosition(10), false, () => undefined)
    expect(decodeSession(encodeSession(session))).toEqual({
      expiryS: 3600,
      filters: [...session.filters.list()],
    })
    const stored = decodePlace(encodePlace(session, 17))
    expect(stored).toMatchObject({ left: session.left, next: session.next, timeMs: 17 })
    expect(stored.lastPacketId).toBe(3)
    expect(stored.entries.map(({ packetId, awaited }) => [packetId, awaited])).toEqual([
      [1, 'puback'],
      [released, 'pubcomp'],
      [3, 'nothing'],
    ])
  })

  it('has a floor at the oldest record that is not settled', () => {
    const session = new Session('client', 3600, 10)
    session.next.set('default', asPosition(12))
    expect(session.floor('default')).toBe(12)
    const first = session.window.open(1, 'default', asPosition(8))
    session.window.open(2, 'default', asPosition(10))
    session.window.open(1, 'default', asPosition(1), true)
    expect(session.floor('default')).toBe(8)
    session.window.puback(first)
    expect(session.floor('default')).toBe(10)
    expect(session.floor('other')).toBe(undefined)
  })

  it('is known by the name of its cursor, whatever the client is called', () => {
    const name = new Session('a/b/session', 1, 1).cursorName('events')
    expect(sessionOfCursor(name)).toEqual(['a/b/session', 'events'])
    expect(sessionOfCursor('group/x/events')).toBe(undefined)
  })
})
