import { describe, expect, it } from 'vitest'
import { filterFault, topicFault, topicMatches } from '../../src/log/topics.ts'

const LONGEST = 'x'.repeat(65_535)

describe('topic filters', () => {
  it.each(['a', '/', '#', '+', 'a/#', '/#', '+/+', '+/a/#', 'a//b', ' ', '$share/g/a', LONGEST])(
    'accepts "%.20s"',
    (filter) => {
      expect(filterFault(filter)).toBeUndefined()
    },
  )

  it.each([
    ['', 'empty'],
    ['a#', '#'],
    ['a/#/b', '#'],
    ['##', '#'],
    ['a+/b', '+'],
    ['a/+b', '+'],
    ['++', '+'],
    ['a\u0000', 'null'],
    [`${LONGEST}x`, 'longer'],
    ['ü'.repeat(32_768), 'longer'],
  ])('refuses "%.20s"', (filter, why) => {
    expect(filterFault(filter)).toContain(why)
  })
})

describe('topic names', () => {
  it('accepts names and refuses wildcards, null, nothing and too much', () => {
    for (const topic of ['a', '/', 'a//b', '$SYS/x', LONGEST]) {
      expect(topicFault(topic)).toBeUndefined()
    }
    for (const topic of ['', 'a/+', '#', 'a#b', 'a\u0000b', `${LONGEST}x`]) {
      expect(topicFault(topic)).toBeDefined()
    }
  })
})

describe('matching, with the examples of MQTT 4.7', () => {
  it.each([
    ['sport/tennis/player1/#', 'sport/tennis/player1'],
    ['sport/tennis/player1/#', 'sport/tennis/player1/ranking'],
    ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon'],
    ['sport/#', 'sport'],
    ['#', 'a/b'],
    ['#', '/'],
    ['sport/tennis/+', 'sport/tennis/player1'],
    ['sport/+', 'sport/'],
    ['+/+', '/finance'],
    ['/+', '/finance'],
    ['$SYS/#', '$SYS/monitor/Clients'],
    ['$SYS/+', '$SYS/x'],
    ['a/+/c/#', 'a/b/c'],
    ['a/#', 'a/$b'],
  ])('%s matches %s', (filter, topic) => {
    expect(topicMatches(filter, topic)).toBe(true)
  })

  it.each([
    ['sport/tennis/+', 'sport/tennis/player1/ranking'],
    ['sport/+', 'sport'],
    ['+', '/finance'],
    ['#', '$SYS/x'],
    ['+/monitor/Clients', '$SYS/monitor/Clients'],
    ['a', 'A'],
    ['a/b', 'a'],
    ['a', 'a/b'],
    ['a/b/#', 'a'],
    ['a/', 'a'],
  ])('%s does not match %s', (filter, topic) => {
    expect(topicMatches(filter, topic)).toBe(false)
  })
})
