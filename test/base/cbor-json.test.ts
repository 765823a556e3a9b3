import { encode } from 'cbor-x'
import { describe, expect, it } from 'vitest'
import { cborToJson } from '../../src/base/cbor-json.ts'
import { SeededRandom } from '../../src/base/random.ts'

const fromHex = (hex: string) => Buffer.from(hex, 'hex')

describe('CBOR as JSON text', () => {
  it('shows what another encoder wrote', () => {
    const reading = { temperature: 20.5, ok: true, none: null, tags: ['a', 'ü'], deep: { n: -7 } }
    expect(JSON.parse(cborToJson(encode(reading)) ?? '')).toEqual(reading)
  })

  // Examples of RFC 8949, appendix A, each inside an array of one.
  it.each([
    ['811bffffffffffffffff', '[18446744073709551615]'],
    ['813bffffffffffffffff', '[-18446744073709551616]'],
    ['81c249010000000000000000', '[18446744073709551616]'],
    ['81c349010000000000000000', '[-18446744073709551617]'],
    ['81f93c00', '[1]'],
    ['81f97bff', '[65504]'],
    ['81f90001', '[5.960464477539063e-8]'],
    ['81f9c400', '[-4]'],
    ['81fa47c35000', '[100000]'],
    ['81fb3ff199999999999a', '[1.1]'],
    ['81f97c00', '[null]'],
    ['81f97e00', '[null]'],
    ['81f7', '[null]'],
    ['81f4', '[false]'],
    ['81c074323031332d30332d32315432303a30343a30305a', '["2013-03-21T20:04:00Z"]'],
    ['81c11a514b67b0', '["2013-03-21T20:04:00.000Z"]'],
    ['81d74401020304', '["AQIDBA=="]'],
    ['815f42010243030405ff', '["AQIDBAU="]'],
    ['817f657374726561646d696e67ff', '["streaming"]'],
    ['9f018202039f0405ffff', '[1,[2,3],[4,5]]'],
    ['bf6346756ef563416d7421ff', '{"Fun":true,"Amt":-2}'],
    ['a201020304', '{"1":2,"3":4}'],
    ['d9d9f781f6', '[null]'],
  ])('shows %s as %s', (hex, json) => {
    expect(cborToJson(fromHex(hex))).toBe(json)
  })

  it.each([
    ['a bare number', '1903e8'],
    ['bare text', '6161'],
    ['a single byte', '80'],
    ['something behind the item', '81f600'],
    ['an end before the item', '8201'],
    ['a count beyond the bytes', '9bffffffffffffffff'],
    ['a length beyond the bytes', '815bffffffffffffffff'],
    ['a reserved head', '811c'],
    ['a break outside', '81ff'],
    ['text that is not UTF-8', '8161ff'],
    ['a chunk of another kind', '815f6161ff'],
    ['a simple value without a meaning', '81e0'],
    ['a bignum of thousands of bytes', `81c2590401${'ff'.repeat(1025)}`],
  ])('leaves %s alone', (_what, hex) => {
    expect(cborToJson(fromHex(hex))).toBeUndefined()
  })

  it('leaves what nests without an end alone, and stays within the stack', () => {
    expect(cborToJson(Buffer.alloc(200_000, 0x81))).toBeUndefined()
  })

  it('runs nothing that a tag names', () => {
    const call = Buffer.concat([fromHex('d81b'), encode(['RegExp', '(a+)+$', 'g'])])
    expect(cborToJson(call)).toBe('["RegExp","(a+)+$","g"]')
  })

  it('keeps a key called __proto__', () => {
    expect(cborToJson(fromHex('a1695f5f70726f746f5f5f01'))).toBe('{"__proto__":1}')
  })

  it('gives JSON or nothing for any bytes', () => {
    const random = new SeededRandom(20_260)
    let shown = 0
    for (let run = 0; run < 20_000; run += 1) {
      const bytes = Uint8Array.from({ length: random.below(24) }, () => random.below(256))
      bytes[0] = 0x80 + random.below(0x60)
      const json = cborToJson(bytes)
      if (json === undefined) continue
      shown += 1
      expect(() => JSON.parse(json), `seed ${random.seed}: ${json}`).not.toThrow()
    }
    expect(shown).toBeGreaterThan(50)
  })
})
