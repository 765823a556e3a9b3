import { decode } from 'cbor-x'
import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../src/base/random.ts'
import {
  decodeEnvelope,
  envelope,
  ORIGIN_PROPERTIES,
  userProperties,
} from '../../src/bridge/envelope.ts'
import { record } from '../support/record.ts'

const timeMs = Date.UTC(2026, 0, 31, 8, 0, 0, 250)

it('names a record in user properties', () => {
  const pairs = userProperties(record({ stream: 's', partition: 3, timeMs: timeMs + 0.4 }), 'g', 7)
  expect(pairs).toEqual([
    ['gateway', 'g'],
    ['epoch', '7'],
    ['stream', 's'],
    ['partition', '3'],
    ['offset', '42'],
    ['time', String(timeMs)],
  ])
  expect(pairs.map(([name]) => name)).toEqual(ORIGIN_PROPERTIES)
})

it('is plain CBOR and plain JSON for whoever reads it', () => {
  const one = record({ payload: '{"t":20.5}', client: 'c', partition: 2, retain: true })
  const head = {
    gateway: 'g',
    epoch: 7,
    stream: 'default',
    partition: 2,
    offset: 42,
    time: timeMs,
    topic: 'devices/a/telemetry',
    client: 'c',
    qos: 1,
    retain: true,
  }
  const cbor = decode(envelope('cbor', one, 'g', 7)) as Record<string, unknown>
  expect({ ...cbor, time: Number(cbor['time']), payload: String(cbor['payload']) }).toEqual({
    ...head,
    payload: '{"t":20.5}',
  })
  const json: unknown = JSON.parse(Buffer.from(envelope('json', one, 'g', 7)).toString())
  expect(json).toEqual({ ...head, payload: { t: 20.5 } })
})

describe.each(['cbor', 'json'] as const)('an envelope in %s', (kind) => {
  const payloads: Record<string, Uint8Array | string> = {
    'an empty payload': '',
    JSON: '{"a": 1.0}',
    'JSON with a number that JavaScript would round': ' [12345678901234567890]\n',
    'JSON that holds the mark of the payload': '{"x":1,"payload":",\\"payload\\":{}}"}',
    'a JSON text': '"text"',
    text: 'text, "quoted" \\ and ü😀',
    'text that only begins as JSON': '{"a": oops',
    bytes: Uint8Array.from([0xff, 0, 0x7b, 0x80]),
    'a line of NULs': '\0\0',
  }
  it.each(Object.keys(payloads))('gives %s back byte by byte', (name) => {
    const payload = Buffer.from(payloads[name] ?? '')
    const one = record({ payload, topic: 'a/",\\"payload":/b', client: 'ü"' })
    const back = decodeEnvelope(envelope(kind, one, 'gw', 3))
    expect(Buffer.from(back?.payload ?? 'none').toString('hex')).toBe(payload.toString('hex'))
    expect(back).toMatchObject({
      ...{ gateway: 'gw', epoch: 3, stream: 'default', partition: 0, offset: 42, qos: 1 },
      ...{ topic: 'a/",\\"payload":/b', client: 'ü"', timeMs, retain: false },
    })
  })

  it('has memory of its own', () => {
    const first = envelope(kind, record({ offset: 1 }), 'gw', 1)
    envelope(kind, record({ offset: 2 }), 'gw', 1)
    expect(decodeEnvelope(first)?.offset).toBe(1)
  })

  it('gives any payload back', () => {
    const random = new SeededRandom(5)
    for (let run = 0; run < 500; run++) {
      const payload = Uint8Array.from({ length: random.below(200) }, () => random.below(256))
      const offset = random.pick([0, 23, 24, 255, 256, 65_535, 65_536, 2 ** 32, 2 ** 53 - 1])
      const back = decodeEnvelope(envelope(kind, record({ payload, offset }), 'gw', 3))
      expect([back?.offset, Buffer.from(back?.payload ?? 'none')], `seed 5, run ${run}`).toEqual([
        offset,
        Buffer.from(payload),
      ])
    }
  })
})

it('is not found in other payloads', () => {
  const whole = envelope('cbor', record(), 'gw', 1)
  const other = [
    Buffer.from(''),
    Buffer.from('{"gateway":"gw"}'),
    Buffer.from('{'),
    Buffer.from('[]'),
    Buffer.from('null'),
    whole.subarray(0, whole.length - 1),
    Buffer.from(
      Buffer.from(envelope('json', record(), 'gw', 1))
        .toString()
        .replace(':42', ':-1'),
    ),
  ]
  for (const payload of other) expect(decodeEnvelope(payload)).toBeUndefined()
})

it('reads JSON that somebody has written anew', () => {
  const text = Buffer.from(envelope('json', record(), 'gw', 1)).toString()
  const anew = Buffer.from(JSON.stringify(JSON.parse(text), undefined, 2))
  expect(decodeEnvelope(anew)).toMatchObject({ gateway: 'gw', offset: 42 })
  expect(String(decodeEnvelope(anew)?.payload)).toBe('{"temperature":20.5}')
})
