import { expect, test } from 'vitest'
import { sequence } from '../../firmware-sim/random.ts'
import { countOf, Ranges } from '../../firmware-sim/ranges.ts'

const seed = 4_211
const spanMost = 60

test(`holds what a plain set holds, whatever the order (seed ${seed})`, () => {
  const random = sequence(seed)
  for (let round = 0; round < 200; round += 1) {
    const [a, b] = [new Ranges(), new Ranges()]
    const [plainA, plainB] = [new Set<number>(), new Set<number>()]
    for (let i = 0; i < 80; i += 1) {
      const [ranges, plain] = random() < 0.5 ? [a, plainA] : [b, plainB]
      const value = Math.floor(random() * spanMost)
      expect(ranges.add(value)).toBe(!plain.has(value))
      plain.add(value)
    }
    expect(numbersIn(a.list())).toEqual([...plainA].sort((x, y) => x - y))
    expect(a.count).toBe(plainA.size)
    expect(a.highest).toBe(Math.max(...plainA))
    expect(numbersIn(a.without(b))).toEqual(
      [...plainA].filter((one) => !plainB.has(one)).sort((x, y) => x - y),
    )
    for (let i = 0; i <= spanMost; i += 1) expect(a.has(i)).toBe(plainA.has(i))
    expect(Ranges.of(a.list()).list()).toEqual(a.list())
    expect(countOf(a.list())).toBe(a.count)
  }
})

test('a million readings in order cost one range', () => {
  const ranges = new Ranges()
  for (let i = 0; i < 1_000_000; i += 1) ranges.add(i)
  expect(ranges.pieces).toBe(1)
  expect(ranges.list()).toEqual([[0, 1_000_000]])
})

test('refuses a list that is none of ascending ranges', () => {
  expect(() => Ranges.of([[5, 5]])).toThrow('does not lie behind')
  expect(() =>
    Ranges.of([
      [5, 9],
      [8, 12],
    ]),
  ).toThrow('does not lie behind 9')
  expect(() => Ranges.of([[Number.NaN, 3]])).toThrow('whole numbers')
})

function numbersIn(list: readonly (readonly [number, number])[]): number[] {
  return list.flatMap(([first, end]) => Array.from({ length: end - first }, (_, i) => first + i))
}
