import { expect, test } from 'vitest'
import { parseLine } from '../../firmware-sim/csv.ts'

const good = '8, 1747029616618, 17, 3, 16.84, 88.003, 176.84, 475.9, 1, 4, 0, 1'

test('a line is read field by field', () => {
  expect(parseLine(good)).toEqual({
    kind: 'reading',
    reading: {
      entry: 8,
      recordedMs: 1747029616618,
      node: '3',
      temperature: 16.84,
      humidity: 88.003,
      light1: 176.84,
      light2: 475.9,
      occupants: 1,
      activity: 'work',
      doorOpen: false,
      windowOpen: true,
    },
  })
})

test('an empty line is none, and a carriage return does no harm', () => {
  expect(parseLine('  ')).toEqual({ kind: 'empty' })
  expect(parseLine(`${good}\r`)).toEqual(parseLine(good))
})

test.each([
  ['a field is missing', '8, 1747029616618, 17, 3, 16.84', '5 fields instead of 12'],
  ['a number is a word', good.replace('16.84', 'warm'), 'temperature is "warm"'],
  ['a number is empty', good.replace('88.003', ''), 'relative humidity is ""'],
  ['a time is infinite', good.replace('1747029616618', 'Infinity'), 'absolute time is "Infinity"'],
  ['an activity is unknown', good.replace(', 4, 0, 1', ', 5, 0, 1'), 'activity is "5"'],
  ['a door is neither', good.replace(', 4, 0, 1', ', 4, 2, 1'), 'door is "2"'],
  ['a node would be a topic filter', good.replace(', 3, ', ', 3/#, '), 'node id is "3/#"'],
])('when %s the reason is told', (_, line, reason) => {
  expect(parseLine(line)).toEqual({ kind: 'bad', reason })
})
