import { describe, expect, it } from 'vitest'
import { hashOf, Partitioner, partitionOf } from '../../src/log/partition.ts'

describe('the hash of a key', () => {
  it('is FNV-1a: these values are on disk everywhere and never change', () => {
    // The published values of the algorithm for these inputs.
    expect(hashOf('')).toBe(0x811c9dc5)
    expect(hashOf('a')).toBe(0xe40c292c)
    expect(hashOf('foobar')).toBe(0xbf9cf968)
  })

  it('reads the bytes of UTF-8, whatever their number per character', () => {
    for (const text of ['ü', 'ß/€', '日本語', '😀', 'a😀b', '\ud800', '\udc00x', '\ufeff']) {
      let hash = 0x811c9dc5
      for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193)
      expect([text, hashOf(text)]).toEqual([text, hash >>> 0])
    }
  })

  it('spreads numbered names evenly', () => {
    const counts = [0, 0, 0, 0]
    for (let i = 0; i < 1000; i++) {
      const partition = partitionOf(`device-${i}`, 4)
      counts[partition] = (counts[partition] ?? 0) + 1
    }
    for (const count of counts) expect(Math.abs(count - 250)).toBeLessThan(50)
  })
})

describe('the partitioner', () => {
  it('takes the level of the topic, or all of it where there is no such level', () => {
    const partitioner = new Partitioner({ kind: 'topic-level', level: 1 }, 64)
    expect(partitioner.fixed('devices/d7/telemetry')).toBe(partitionOf('d7', 64))
    expect(partitioner.fixed('devices')).toBe(partitionOf('devices', 64))
    expect(partitioner.fixed('devices/')).toBe(partitionOf('', 64))
    const first = new Partitioner({ kind: 'topic-level', level: 0 }, 64)
    expect(first.fixed('/d7')).toBe(partitionOf('', 64))
  })

  it('decides by the topic for topic keys only', () => {
    expect(new Partitioner({ kind: 'topic' }, 64).fixed('a/b')).toBe(partitionOf('a/b', 64))
    for (const key of [
      { kind: 'client' },
      { kind: 'user-property', name: 'k' },
      { kind: 'round-robin' },
    ] as const) {
      expect(new Partitioner(key, 64).fixed('a/b')).toBeUndefined()
    }
  })

  it('picks by client, by property, or in turn', () => {
    expect(new Partitioner({ kind: 'client' }, 64).pick('c1', 'k')).toBe(partitionOf('c1', 64))
    const byProperty = new Partitioner({ kind: 'user-property', name: 'k' }, 64)
    expect(byProperty.pick('c1', 'k')).toBe(partitionOf('k', 64))
    expect(byProperty.pick('c1', undefined)).toBe(partitionOf('', 64))
    const inTurn = new Partitioner({ kind: 'round-robin' }, 3)
    expect([0, 1, 2, 3].map(() => Number(inTurn.pick('c1', undefined)))).toEqual([0, 1, 2, 0])
  })
})
