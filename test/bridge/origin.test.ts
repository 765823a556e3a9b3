import { expect, test } from 'vitest'
import { userProperties } from '../../src/bridge/envelope.ts'
import { expiryAt, OriginProperties } from '../../src/bridge/origin.ts'
import { OutboundMessage } from '../../src/bridge/uplink.ts'
import type { LogRecord } from '../../src/log/log.ts'
import { given } from './given.ts'

function pairsIn({ extra, extraEnd }: OutboundMessage): [string, string][] {
  const block = Buffer.from(extra.subarray(0, extraEnd))
  const pairs: [string, string][] = []
  for (let at = 0; at < block.length; ) {
    expect(block[at]).toBe(38)
    const keyEnd = at + 3 + block.readUInt16BE(at + 1)
    const valueEnd = keyEnd + 2 + block.readUInt16BE(keyEnd)
    pairs.push([
      block.toString('utf8', at + 3, keyEnd),
      block.toString('utf8', keyEnd + 2, valueEnd),
    ])
    at = valueEnd
  }
  return pairs
}

test('writes what userProperties says, record after record', async () => {
  const { append } = await given()
  const origin = new OriginProperties('gateway-é', 7, 'telemetry')
  const message = new OutboundMessage()
  for (let i = 0; i < 12; i++) {
    const record: LogRecord = append(`devices/${i}`, 'x')
    origin.single(message, record, false)
    expect(pairsIn(message)).toEqual(userProperties(record, 'gateway-é', 7))
    origin.single(message, record, true)
    expect(pairsIn(message).at(-1)).toEqual(['historical', 'true'])
  }
})

test('finds the message expiry among other properties, and only there', () => {
  const text = (id: number, value: string) => [id, 0, value.length, ...Buffer.from(value)]
  const user = [38, 0, 1, 97, 0, 1, 98]
  const expiry = [2, 0, 0, 0, 60]
  const before = [1, 1, ...text(3, 'json'), ...user, ...text(8, 'a/b'), ...text(9, 'xy')]
  expect(expiryAt(Buffer.from([...before, ...expiry, ...user]))).toBe(before.length + 1)
  expect(expiryAt(Buffer.from(before))).toBe(-1)
  expect(expiryAt(Buffer.from([]))).toBe(-1)
  expect(expiryAt(Buffer.from([...user, 2, 0]))).toBe(-1)
})
