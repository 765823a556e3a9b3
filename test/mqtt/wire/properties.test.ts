import { describe, expect, it } from 'vitest'
import { checkPublishProperties, userProperty } from '../../../src/mqtt/wire/properties.ts'

const string = (text: string) =>
  Buffer.concat([Buffer.from([text.length >> 8, text.length & 255]), Buffer.from(text)])
const user = (name: string, value: string) =>
  Buffer.concat([Buffer.from([38]), string(name), string(value)])
const check = (...parts: Buffer[]) => {
  const bytes = Buffer.concat(parts)
  return checkPublishProperties(bytes, 0, bytes.length).kind
}

describe('checkPublishProperties', () => {
  it('takes every property that a client may send', () => {
    expect(
      check(
        Buffer.from([1, 1]),
        Buffer.from([2, 0, 0, 0, 60]),
        Buffer.concat([Buffer.from([3]), string('text/plain')]),
        Buffer.concat([Buffer.from([8]), string('answers/1')]),
        Buffer.from([9, 0, 2, 0, 255]),
        user('a', '1'),
        user('a', '2'),
      ),
    ).toBe('valid')
  })

  it.each([
    ['an unknown property', Buffer.from([77, 0])],
    ['a value that is cut short', Buffer.from([2, 0, 0])],
    ['a string that is longer than the block', Buffer.from([3, 0, 9, 65])],
    ['a string that is not UTF-8', Buffer.from([3, 0, 1, 0xff])],
    ['a string with the null character', Buffer.from([3, 0, 1, 0])],
    ['a user property without a value', Buffer.from([38, 0, 1, 65])],
  ])('calls %s malformed', (_what, bytes) => {
    expect(check(bytes)).toBe('malformed')
  })

  it.each([
    ['a property given twice', Buffer.from([1, 1, 1, 1])],
    ['a payload format of 2', Buffer.from([1, 2])],
    ['a subscription identifier', Buffer.from([11, 5])],
    ['a response topic with a wildcard', Buffer.concat([Buffer.from([8]), string('a/#')])],
  ])('calls %s a protocol error', (_what, bytes) => {
    expect(check(bytes)).toBe('protocol-error')
  })

  it('gives the topic alias', () => {
    const verdict = checkPublishProperties(Buffer.from([35, 1, 2]), 0, 3)
    expect(verdict).toEqual({ kind: 'valid', topicAlias: 258, aliasAt: 0 })
  })
})

describe('userProperty', () => {
  it('finds the first value of a name, also of names that objects know', () => {
    const bytes = Buffer.concat([user('x', '1'), user('__proto__', 'p'), user('x', '2')])
    expect(userProperty(bytes, 0, bytes.length, 'x')).toBe('1')
    expect(userProperty(bytes, 0, bytes.length, '__proto__')).toBe('p')
    expect(userProperty(bytes, 0, bytes.length, 'constructor')).toBeUndefined()
  })
})
