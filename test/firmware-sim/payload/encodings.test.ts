import { Decoder, decode } from 'cbor-x'
import { describe, expect, test } from 'vitest'
import { encodeReading, encodingNames } from '../../../firmware-sim/payload/encodings.ts'
import { idOfPayload, idOfValue } from '../../../firmware-sim/payload/reading-id.ts'

const id = { device: 'env-sensor-0001', boot: 1_795_244_867_372, seq: 4_711 }
const values = { temperature: 21.5, state: true, what: 'door', samples: new Uint8Array([1, 2, 3]) }
const measured = { timeMs: 1_780_272_091_139, upMs: 12_345.6, values }

describe.each(encodingNames)('a reading as %s', (name) => {
  test('gives its id back, also without a clock', () => {
    expect(idOfPayload(encodeReading(name, id, measured).payload)).toEqual(id)
    const clockless = { ...measured, timeMs: undefined }
    expect(idOfPayload(encodeReading(name, id, clockless).payload)).toEqual(id)
  })
})

test('plain CBOR is a map any decoder reads, with the time of a clock or since the power-up', () => {
  const { payload, contentType } = encodeReading('cbor', id, measured)
  expect(contentType).toBe('application/cbor')
  expect(decode(payload)).toMatchObject({ ...id, t: measured.timeMs, temperature: 21.5 })
  const { payload: other } = encodeReading('cbor', id, { ...measured, timeMs: undefined })
  expect(decode(other)).toMatchObject({ up: 12_345 })
  expect(decode(other)).not.toHaveProperty('t')
})

test('SenML JSON has the base name and time, names, units and the right kinds of values', () => {
  const { payload, contentType } = encodeReading('senml-json', id, measured)
  expect(contentType).toBe('application/senml+json')
  expect(JSON.parse(payload.toString())).toEqual([
    {
      bn: 'urn:dev:ops:env-sensor-0001:',
      bt: 1_780_272_091.139,
      n: 'boot',
      u: 'count',
      v: id.boot,
    },
    { n: 'seq', u: 'count', v: 4_711 },
    { n: 'temperature', u: 'Cel', v: 21.5 },
    { n: 'state', vb: true },
    { n: 'what', vs: 'door' },
    { n: 'samples', vd: 'AQID' },
  ])
})

test('SenML CBOR has the labels of RFC 8428 as keys, and no tags', () => {
  const { payload, contentType } = encodeReading('senml-cbor', id, measured)
  expect(contentType).toBe('application/senml+cbor')
  const pack = new Decoder({ mapsAsObjects: false }).decode(payload) as Map<number, unknown>[]
  expect(pack.map((record) => [...record.keys()])).toEqual([
    [-2, -3, 0, 1, 2],
    [0, 1, 2],
    [0, 1, 2],
    [0, 4],
    [0, 3],
    [0, 8],
  ])
  // An array of six, then a map of five whose first key is -2.
  expect(payload.subarray(0, 3).toString('hex')).toBe('86a521')
})

test('what a gateway decoded to JSON is known as well', () => {
  const records = [
    { '-2': 'urn:dev:ops:a:', '0': 'boot', '2': 3 },
    { '0': 'seq', '2': 9 },
  ]
  expect(idOfValue(records)).toEqual({ device: 'a', boot: 3, seq: 9 })
  expect(idOfValue({ ...id, t: 1 })).toEqual(id)
})

test("somebody else's payloads are of no device", () => {
  const foreign = [
    '',
    'offline',
    '{',
    '[]',
    '[1]',
    '{"device":"a"}',
    '{"__proto__":{"device":"a"}}',
  ]
  for (const text of foreign) expect(idOfPayload(Buffer.from(text)), text).toBeUndefined()
  for (let byte = 0; byte < 256; byte += 1) expect(idOfPayload(Buffer.from([byte]))).toBeUndefined()
})
