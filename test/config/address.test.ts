import { expect, test } from 'vitest'
import { formatAddress, isLoopback, overlaps, parseAddress } from '../../src/config/address.ts'

const at = (text: string) => parseAddress(text) ?? { host: `no address: ${text}`, port: -1 }

test.each([
  ['127.0.0.1:1883', '127.0.0.1', 1883],
  ['0.0.0.0:0', '0.0.0.0', 0],
  ['LocalHost:65535', 'localhost', 65_535],
  ['broker-1.example.com:1883', 'broker-1.example.com', 1883],
  ['[::1]:1883', '::1', 1883],
  ['[0:0:0:0:0:0:0:1]:1883', '::1', 1883],
  ['[fe80::1%eth0]:1883', 'fe80::1%eth0', 1883],
])('%s is host %s and port %d', (text, host, port) => {
  expect(parseAddress(text)).toEqual({ host, port })
})

test.each([
  '',
  '1883',
  ':1883',
  'host',
  'host:',
  'host:65536',
  'host:-1',
  '::1:1883',
  '[::1]',
  '[x]:1',
])('%j is no address', (text) => {
  expect(parseAddress(text)).toBeUndefined()
})

test.each([
  '999.1.1.1:1',
  '127.1:1',
  '-a:1',
  'a b:1',
  '*:1',
  '[127.0.0.1]:1',
  'a:1:2',
  'mqtt://a:1',
])('%j is no address either', (text) => {
  expect(parseAddress(text)).toBeUndefined()
})

test('an address is written with brackets around IPv6', () => {
  expect(formatAddress(at('[::1]:1883'))).toBe('[::1]:1883')
  expect(formatAddress(at('127.0.0.1:1'))).toBe('127.0.0.1:1')
})

test('loopback is what only this machine reaches', () => {
  for (const text of ['127.0.0.1:1', '127.9.9.9:1', 'localhost:1', '[::1]:1']) {
    expect(isLoopback(at(text)), text).toBe(true)
  }
  for (const text of ['0.0.0.0:1', '[::]:1', '192.168.0.1:1', '127.example.com:1', '[fe80::1]:1']) {
    expect(isLoopback(at(text)), text).toBe(false)
  }
})

test('two addresses overlap when the second would find the port taken', () => {
  const pairs: readonly [string, string, boolean][] = [
    ['127.0.0.1:1', '127.0.0.1:1', true],
    ['0.0.0.0:1', '127.0.0.1:1', true],
    ['[::]:1', '127.0.0.1:1', true],
    ['[::]:1', '0.0.0.0:1', true],
    ['[::]:1', '[::1]:1', true],
    ['127.0.0.1:1', '127.0.0.1:2', false],
    ['127.0.0.1:1', '127.0.0.2:1', false],
    ['0.0.0.0:1', '[::1]:1', false],
    ['127.0.0.1:0', '127.0.0.1:0', false],
  ]
  for (const [one, other, expected] of pairs) {
    expect(overlaps(at(one), at(other)), `${one} and ${other}`).toBe(expected)
    expect(overlaps(at(other), at(one)), `${other} and ${one}`).toBe(expected)
  }
})
