import { encode } from 'cbor-x'
import { describe, expect, it } from 'vitest'
import { type RecordFormat, recordFormatter } from '../../src/cli/format.ts'
import { type RecordFields, record } from '../support/record.ts'

const line = (format: RecordFormat, fields: RecordFields) =>
  Buffer.from(recordFormatter(format)(record(fields)))
const text = (payload: string | Uint8Array) =>
  line('text', { payload }).toString().split('p0:42  ')[1]?.trimEnd()
const json = (payload: string | Uint8Array) => JSON.parse(line('json', { payload }).toString())

describe('a record as text', () => {
  it('is a line with time, topic, place and payload', () => {
    expect(line('text', {}).toString()).toBe(
      '2026-01-31T08:00:00.250Z  devices/a/telemetry  p0:42  {"temperature":20.5}\n',
    )
  })

  it('is aligned with the lines before it', () => {
    const format = recordFormatter('text')
    format(record({ topic: 'devices/long-name', offset: 1000 }))
    expect(format(record({ topic: 'a', payload: 'x' }))).toMatch(/Z {2}a {16} {2}p0:42 {4}x\n$/)
  })

  it('shows JSON, text, CBOR, other bytes and nothing', () => {
    expect(text('{\n  "a": 1\n}')).toBe('{   "a": 1 }')
    expect(text('20.5 °C')).toBe('20.5 °C')
    expect(text(encode({ t: 1 }))).toBe('{"t":1}')
    expect(text(Uint8Array.of(0, 255, 16))).toBe('0x00ff10')
    expect(text('')).toBe('(empty)')
  })

  it('lets nothing through that a terminal obeys', () => {
    const hostile = '\u001b]0;owned\u0007\u009b31m\u202egnp.exe\nnext\tline\u2028\u007f'
    const shown = line('text', { payload: `"${hostile}"`, topic: `t/${hostile}` }).toString()
    expect(shown).not.toMatch(/[\p{Cc}\u2028\u202e](?!$)/u)
    expect(shown).toContain('\\u009b31m\\u202egnp.exe\\nnext\\tline')
  })

  it('cuts long payloads and says how long they are', () => {
    expect(text('x'.repeat(400))).toBe('x'.repeat(400))
    expect(text('x'.repeat(5000))).toBe(`${'x'.repeat(400)}… (5,000 bytes)`)
    expect(text(`${'x'.repeat(399)}😀😀`)).toBe(`${'x'.repeat(399)}… (407 bytes)`)
    expect(text(new Uint8Array(5000))).toBe(`0x${'00'.repeat(199)}… (5,000 bytes)`)
  })
})

describe('a record as JSON', () => {
  it('has every field, in one line', () => {
    const fields = { stream: 's', partition: 3, offset: 7, position: 9, client: 'c', retain: true }
    const line_ = line('json', fields).toString()
    expect(line_.endsWith('}\n')).toBe(true)
    expect(JSON.parse(line_)).toEqual({
      stream: 's',
      partition: 3,
      offset: 7,
      position: 9,
      time: '2026-01-31T08:00:00.250Z',
      topic: 'devices/a/telemetry',
      client: 'c',
      qos: 1,
      retain: true,
      payload: { temperature: 20.5 },
    })
  })

  it('holds JSON and CBOR decoded, text as a string, other bytes as base64', () => {
    expect(json('[1, 2]').payload).toEqual([1, 2])
    expect(json('20.5').payload).toBe(20.5)
    expect(json('"20.5"').payload).toBe('20.5')
    expect(json('warm').payload).toBe('warm')
    expect(json('').payload).toBe('')
    expect(json('{"cut": ').payload).toBe('{"cut": ')
    expect(json(encode({ a: [1] })).payload).toEqual({ a: [1] })
    const bytes = json(Uint8Array.of(0, 255))
    expect(bytes.payload_base64).toBe('AP8=')
    expect(bytes).not.toHaveProperty('payload')
  })

  it('keeps every digit of a number that JavaScript would round', () => {
    const shown = line('json', { payload: '{"n":\n12345678901234567890}' }).toString()
    expect(shown).toContain('"payload":{"n": 12345678901234567890}}\n')
    const cbor = line('json', { payload: encode({ n: 2n ** 63n }) }).toString()
    expect(cbor).toContain('"payload":{"n":9223372036854775808}}\n')
  })

  it('stays one line that a terminal can be shown, whatever is in it', () => {
    const shown = line('json', { payload: '"\u009b31m\u2028"', topic: 'a\u001b\nb' }).toString()
    expect(shown.trimEnd()).not.toMatch(/[\p{Cc}\u2028]/u)
    expect(JSON.parse(shown)).toMatchObject({ payload: '\u009b31m\u2028', topic: 'a\u001b\nb' })
  })
})

describe('a raw record', () => {
  it('is its payload and a newline', () => {
    expect(line('raw', { payload: Uint8Array.of(0, 255) })).toEqual(Buffer.of(0, 255, 10))
  })
})
