import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../../src/base/random.ts'
import { topicMatches } from '../../../src/log/topics.ts'
import { TopicIndex } from '../../../src/mqtt/retained/topic-index.ts'

function matched(index: TopicIndex<string>, filter: string): string[] {
  return [...index.match(filter)].filter((entry) => entry !== undefined).sort()
}

function indexOf(...topics: string[]): TopicIndex<string> {
  const index = new TopicIndex<string>()
  for (const topic of topics) index.set(topic, topic)
  return index
}

describe('the index of retained topics', () => {
  it('finds a topic by each kind of filter', () => {
    const index = indexOf('a', 'a/b', 'a/b/c', 'a//c', 'b', '/a')
    expect(matched(index, 'a/b')).toEqual(['a/b'])
    expect(matched(index, 'a/#')).toEqual(['a', 'a/b', 'a/b/c', 'a//c'].sort())
    expect(matched(index, '+/b')).toEqual(['a/b'])
    expect(matched(index, 'a/+/c')).toEqual(['a//c', 'a/b/c'])
    expect(matched(index, '+')).toEqual(['a', 'b'])
    expect(matched(index, '/+')).toEqual(['/a'])
    expect(matched(index, '#')).toHaveLength(6)
    expect(matched(index, 'c/#')).toEqual([])
  })

  it('keeps topics with $ from filters that begin with a wildcard', () => {
    const index = indexOf('$SYS/a', 'x/$y')
    expect(matched(index, '#')).toEqual(['x/$y'])
    expect(matched(index, '+/a')).toEqual([])
    expect(matched(index, '$SYS/#')).toEqual(['$SYS/a'])
    expect(matched(index, 'x/+')).toEqual(['x/$y'])
  })

  it('replaces, deletes and counts', () => {
    const index = indexOf('a/b', 'a/c')
    index.set('a/b', 'other')
    expect(index.size).toBe(2)
    expect(index.get('a/b')).toBe('other')
    expect(index.get('a')).toBeUndefined()
    expect(index.delete('a')).toBe(false)
    expect(index.delete('a/b')).toBe(true)
    expect(index.delete('a/b')).toBe(false)
    expect(index.size).toBe(1)
    expect([...index.match('#')]).toEqual([undefined, 'a/c'])
    index.delete('a/c')
    expect([...index.match('#')]).toEqual([])
  })

  it('takes names that mean something to objects', () => {
    const index = indexOf('__proto__/x', 'constructor')
    expect(index.get('toString')).toBeUndefined()
    expect(matched(index, '#')).toEqual(['__proto__/x', 'constructor'])
  })

  it('goes on with a walk while topics come and go', () => {
    const index = indexOf('a/1', 'a/2', 'a/3', 'b/1')
    const seen: string[] = []
    for (const entry of index.match('#')) {
      if (entry === undefined) continue
      seen.push(entry)
      index.delete(entry)
      if (seen.length === 1) index.set('a/4', 'a/4')
    }
    expect(new Set(seen)).toEqual(new Set(['a/1', 'a/2', 'a/3', 'a/4', 'b/1']))
  })

  it('agrees with plain matching, for any topics and filters', () => {
    const seed = Math.floor(performance.now() * 1000)
    const random = new SeededRandom(seed)
    const level = (more: readonly string[]) => random.pick(['a', 'b', 'c', '', '$s', ...more])
    const name = (more: readonly string[]) =>
      Array.from({ length: 1 + random.below(4) }, () => level(more)).join('/')
    const topics = new Set<string>()
    const index = new TopicIndex<string>()
    for (let i = 0; i < 3000; i++) {
      const topic = name([])
      if (random.below(3) === 0) {
        expect(index.delete(topic), `seed ${seed}`).toBe(topics.delete(topic))
      } else if (topic !== '') {
        index.set(topic, topic)
        topics.add(topic)
      }
      const filter = random.below(2) === 0 ? name(['+']) : `${name(['+'])}/#`
      const wanted = [...topics].filter((one) => topicMatches(filter, one)).sort()
      expect(matched(index, filter), `seed ${seed}: ${filter}`).toEqual(wanted)
      expect(index.size).toBe(topics.size)
    }
  })
})
