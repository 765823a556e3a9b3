import { expect, it } from 'vitest'
import { SeededRandom } from '../../src/base/random.ts'
import { RangeSet } from '../../src/bridge/ranges.ts'
import { asPosition } from '../../src/log/log.ts'

const at = asPosition
const shown = (set: RangeSet) => [...set].map(({ first, end }) => [first, end])

/** A set, and the same as a plain set of numbers. */
function pair(rangesMax: number) {
  const set = new RangeSet(rangesMax)
  const model = new Set<number>()
  return { set, model }
}

it('joins ranges that touch, and cuts ranges in two', () => {
  const set = new RangeSet(10)
  set.add(at(5), at(9))
  set.add(at(3), at(5))
  set.add(at(20), at(30))
  expect(shown(set)).toEqual([
    [3, 9],
    [20, 30],
  ])
  set.remove(at(4), at(22))
  expect(shown(set)).toEqual([
    [3, 4],
    [22, 30],
  ])
  expect([set.size, set.ranges]).toEqual([9, 2])
  expect(set.first).toEqual({ first: 3, end: 4 })
  expect(set.last).toEqual({ first: 22, end: 30 })
  expect([3, 4, 21, 22, 29, 30].map((n) => set.contains(at(n)))).toEqual([
    true,
    false,
    false,
    true,
    true,
    false,
  ])
})

it('is empty for empty ranges', () => {
  const set = new RangeSet(1)
  set.add(at(5), at(5))
  set.remove(at(5), at(5))
  expect([set.size, set.first, set.last]).toEqual([0, undefined, undefined])
  expect(RangeSet.decode(set.encode(), 1).size).toBe(0)
})

it('does what a set of numbers does, and comes back from its bytes', () => {
  const seed = 20
  const random = new SeededRandom(seed)
  const { set, model } = pair(1000)
  for (let step = 0; step < 4000; step++) {
    const first = random.below(300)
    const end = first + random.below(20)
    const adds = random.oneIn(2)
    if (adds) set.add(at(first), at(end))
    else set.remove(at(first), at(end))
    for (let n = first; n < end; n++) adds ? model.add(n) : model.delete(n)
    const where = `seed ${seed}, step ${step}`
    expect(set.size, where).toBe(model.size)
    const probe = random.below(330)
    expect(set.contains(at(probe)), where).toBe(model.has(probe))
    if (step % 100 > 0) continue
    const all = shown(set).flatMap(([from = 0, to = 0]) =>
      Array.from({ length: to - from }, (_, index) => from + index),
    )
    expect(all, where).toEqual([...model].toSorted((a, b) => a - b))
    expect(shown(RangeSet.decode(set.encode(), 1000)), where).toEqual(shown(set))
  }
})

it('says more than is true when it is full, never less, and stays within its bound', () => {
  const seed = 21
  const random = new SeededRandom(seed)
  const { set, model } = pair(8)
  for (let step = 0; step < 4000; step++) {
    const first = random.below(2000)
    const end = first + random.below(40)
    if (random.oneIn(2)) {
      set.add(at(first), at(end))
      for (let n = first; n < end; n++) model.add(n)
    } else {
      set.remove(at(first), at(end))
      for (let n = first; n < end; n++) model.delete(n)
    }
    expect(set.ranges).toBeLessThanOrEqual(8)
    const sum = shown(set).reduce((total, [from = 0, to = 0]) => total + to - from, 0)
    expect(set.size, `seed ${seed}, step ${step}`).toBe(sum)
    if (step % 50 > 0) continue
    for (const n of model) {
      if (!set.contains(at(n))) expect.fail(`seed ${seed}, step ${step}: ${n} is missing`)
    }
  }
})

it('joins the two with the least between them', () => {
  const set = new RangeSet(3)
  for (const [first, end] of [
    [0, 10],
    [12, 20],
    [90, 99],
    [50, 51],
  ] as const) {
    set.add(at(first), at(end))
  }
  expect(shown(set)).toEqual([
    [0, 20],
    [50, 51],
    [90, 99],
  ])
})

it('takes a bite at the front in place, as a lane that drains does', () => {
  const set = new RangeSet(1)
  set.add(at(2 ** 50), at(2 ** 50 + 1000))
  for (let done = 0; done < 1000; done += 10) {
    set.remove(at(2 ** 50 + done), at(2 ** 50 + done + 10))
    expect(set.size).toBe(990 - done)
  }
})

it.each([
  ['an odd number of edges', [5]],
  ['a number that does not end', [5, 0x81]],
  ['an empty range', [5, 0]],
  ['a number past 2^53', Array.from({ length: 9 }, () => 0xff).concat(1, 1)],
])('does not read %s', (_what, bytes) => {
  expect(() => RangeSet.decode(Uint8Array.from(bytes), 9)).toThrow(
    expect.objectContaining({ code: 'state-damaged' }),
  )
})
