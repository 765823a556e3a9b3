import { expect, test } from 'vitest'
import { editDistance, nearest } from '../../src/config/nearest.ts'

test.each([
  ['', '', 0],
  ['', 'abc', 3],
  ['abc', '', 3],
  ['abc', 'abc', 0],
  ['abc', 'abd', 1],
  ['abc', 'ab', 1],
  ['abc', 'abcd', 1],
  ['abc', 'acb', 1],
  ['kitten', 'sitting', 3],
  ['ca', 'abc', 3],
])('from %j to %j there are %d slips', (from, to, slips) => {
  expect(editDistance(from, to)).toBe(slips)
  expect(editDistance(to, from)).toBe(slips)
})

test('a slip finds the key that was meant', () => {
  const known = ['max_packet', 'max_connections', 'max_inflight', 'listener']
  expect(nearest('max_pakcet', known)).toBe('max_packet')
  expect(nearest('maxpacket', known)).toBe('max_packet')
  expect(nearest('max-inflight', known)).toBe('max_inflight')
  expect(nearest('Listeners', known)).toBe('listener')
})

test('a word of another kind finds nothing', () => {
  expect(nearest('port', ['host', 'address'])).toBeUndefined()
  expect(nearest('__proto__', ['name', 'topics'])).toBeUndefined()
  expect(nearest('x'.repeat(100_000), ['x'])).toBeUndefined()
})
