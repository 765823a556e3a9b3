import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../../src/base/random.ts'
import type { QoS } from '../../../src/log/log.ts'
import { topicMatches } from '../../../src/log/topics.ts'
import { type Subscription, SubscriptionTree } from '../../../src/mqtt/delivery/subscriptions.ts'

function subscription(
  filter: string,
  qos: QoS = 0,
  more: Partial<Subscription> = {},
): Subscription {
  return { filter, qos, noLocal: false, retainAsPublished: false, id: undefined, ...more }
}

describe('SubscriptionTree', () => {
  it('finds the same subscribers as trying every filter does', () => {
    const random = new SeededRandom(8731)
    const levels = ['a', 'b', '', '+', '__proto__', 'constructor', '$x']
    const name = (wild: boolean) =>
      Array.from({ length: 1 + random.below(4) }, () => {
        const level = random.pick(levels)
        return level === '+' && !wild ? 'c' : level
      }).join('/')
    const tree = new SubscriptionTree<number>()
    const held = new Map<string, number>()
    for (let i = 0; i < 2000; i++) {
      const filter = name(true) + random.pick(['', '', '/#'])
      const subscriber = random.below(5)
      if (random.oneIn(3)) {
        const was = held.delete(`${subscriber} ${filter}`)
        expect(tree.remove(subscriber, filter)).toBe(was)
      } else {
        tree.add(subscriber, subscription(filter))
        held.set(`${subscriber} ${filter}`, subscriber)
      }
      const topic = name(false)
      const expected = new Set(
        [...held]
          .filter(([key]) => topicMatches(key.slice(2), topic))
          .map(([, subscriberOf]) => subscriberOf),
      )
      const found = tree.match(topic).map(({ subscriber: one }) => one)
      expect(found.length, `seed ${random.seed}`).toBe(new Set(found).size)
      expect(new Set(found), `seed ${random.seed}: ${topic}`).toEqual(expected)
      expect(tree.size).toBe(held.size)
    }
  })

  it('joins overlapping subscriptions: highest QoS, all identifiers', () => {
    const tree = new SubscriptionTree<string>()
    tree.add('s', subscription('a/#', 1, { id: 7 }))
    tree.add('s', subscription('a/b', 2, { id: 9 }))
    tree.add('s', subscription('+/b', 0))
    expect(tree.match('a/b')).toEqual([
      expect.objectContaining({ subscriber: 's', qos: 2, ids: expect.arrayContaining([7, 9]) }),
    ])
  })

  it('leaves No Local subscriptions out for the own messages of the subscriber', () => {
    const tree = new SubscriptionTree<string>()
    tree.add('s', subscription('a', 2, { noLocal: true }))
    expect(tree.match('a')[0]?.ownQos).toBeUndefined()
    tree.add('s', subscription('#', 1))
    expect(tree.match('a')[0]).toMatchObject({ qos: 2, ownQos: 1 })
  })

  it('joins any number of overlapping subscriptions', () => {
    const tree = new SubscriptionTree<string>()
    const levels = 17
    for (let mask = 0; mask < 2 ** levels; mask++) {
      const filter = Array.from({ length: levels }, (_, i) => ((mask >> i) & 1 ? '+' : 'a'))
      tree.add('s', subscription(filter.join('/'), 1))
    }
    const topic = Array(levels).fill('a').join('/')
    expect(tree.match(topic)).toEqual([expect.objectContaining({ qos: 1, ownQos: 1 })])
  })

  it('replaces a subscription with the same filter', () => {
    const tree = new SubscriptionTree<string>()
    expect(tree.add('s', subscription('a', 2))).toBe(true)
    expect(tree.add('s', subscription('a', 0))).toBe(false)
    expect(tree.match('a')[0]?.qos).toBe(0)
    expect(tree.size).toBe(1)
  })
})
