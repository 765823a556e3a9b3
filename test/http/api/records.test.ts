import { decode, encode } from 'cbor-x'
import { describe, expect, it } from 'vitest'
import type { EventLog, ReadQuery } from '../../../src/log/log.ts'
import { appendText } from '../../support/append.ts'
import { givenApi, isHelpful, plant } from './given.ts'

const path = '/v1/streams/plant/records'

interface Answer {
  records: { position: number; offset: number; payload: unknown; encoding: string; topic: string }[]
  next: string
  more: boolean
}

describe('reading records', () => {
  it('shows each record with its place, its names and its payload', async () => {
    const { log, get } = await givenApi()
    await appendText(log, 'plant/a', ['{"n": 12345678901234567890}'])
    const text = await (await get(path)).text()
    // Every digit: a parsed number would have been rounded.
    expect(text).toContain('"payload":{"n": 12345678901234567890}')
    const { records, next, more } = JSON.parse(text)
    expect(records).toMatchObject([
      { position: 0, offset: 0, topic: 'plant/a', client: 'tester', qos: 1, retain: false },
    ])
    expect(records[0].time).toMatch(/^\d{4}-.*Z$/)
    expect([next, more]).toEqual(['position:1', false])
  })

  it('says what a payload is: JSON, CBOR, or bytes', async () => {
    const { log, get } = await givenApi()
    const payloads = ['{"a":1}', encode({ a: 1 }), 'plain text', Buffer.from([0, 255]), '']
    await appendText(log, 'plant/a', payloads)
    const { records } = (await (await get(path)).json()) as Answer
    expect(records.map(({ encoding, payload }) => [encoding, payload])).toEqual([
      ['json', { a: 1 }],
      ['cbor', { a: 1 }],
      ['base64', Buffer.from('plain text').toString('base64')],
      ['base64', 'AP8='],
      ['base64', ''],
    ])
  })

  it('answers in CBOR when asked, payloads within it', async () => {
    const { log, get } = await givenApi()
    await appendText(log, 'plant/a', ['{"a":1.5}', encode({ b: [1] }), Buffer.from([0, 255])])
    const response = await get(path, { headers: { accept: 'application/cbor' } })
    expect(response.headers.get('content-type')).toBe('application/cbor')
    const answer = decode(Buffer.from(await response.arrayBuffer())) as Answer
    expect(answer).toMatchObject({ next: 'position:3', more: false })
    expect(answer.records.map(({ encoding, payload }) => [encoding, payload])).toEqual([
      ['json', { a: 1.5 }],
      ['cbor', { b: [1] }],
      ['bytes', Buffer.from([0, 255])],
    ])
  })

  it('survives a payload that is nested deeper than the stack', async () => {
    const { log, get } = await givenApi()
    const deep = '['.repeat(100_000) + ']'.repeat(100_000)
    await appendText(log, 'plant/a', [deep, encode('x')])
    for (const accept of ['application/json', 'application/cbor']) {
      const response = await get(path, { headers: { accept } })
      expect((await response.arrayBuffer()).byteLength, accept).toBeGreaterThan(200_000)
    }
  })

  it('gives every record once when paged through, whatever the limit', async () => {
    const { log, get } = await givenApi()
    await appendText(
      log,
      'plant/a',
      Array.from({ length: 25 }, (_, n) => `${n}`),
    )
    const seen: unknown[] = []
    let from = 'earliest'
    for (let more = true; more; ) {
      const answer = (await (await get(`${path}?from=${from}&limit=7`)).json()) as Answer
      seen.push(...answer.records.map(({ payload }) => payload))
      from = answer.next
      more = answer.more
    }
    expect(seen).toEqual(Array.from({ length: 25 }, (_, n) => n))
  })

  it.each([
    ['from=latest', []],
    ['from=-1h', [0, 1, 2, 3]],
    ['from=0', [0, 1, 2, 3]],
    ['from=2000-01-01T00:00:00Z', [0, 1, 2, 3]],
    ['from=position:2', [2, 3]],
    ['from=0:3', [3]],
    ['from=position:1&to=position:3', [1, 2]],
    ['to=2000-01-01', []],
    ['limit=2', [0, 1]],
    ['topic=plant/b', [1, 3]],
    ['topic=plant/%2B&partition=0', [0, 1, 2, 3]],
    ['partition=0&from=position:3', [3]],
  ])('finds what %s means', async (query, wanted) => {
    const { log, get } = await givenApi({ streams: [{ ...plant, partitions: 1 }] })
    for (const [index, topic] of ['a', 'b', 'a', 'b'].entries()) {
      await appendText(log, `plant/${topic}`, [String(index)])
    }
    const { records } = (await (await get(`${path}?${query}`)).json()) as Answer
    expect(records.map(({ payload }) => payload)).toEqual(wanted)
  })

  it.each([
    ['/v1/streams/nowhere/records', 404],
    [`${path}?from=yesterday`, 400],
    [`${path}?from=2:0`, 400],
    [`${path}?partition=2`, 400],
    [`${path}?partition=x`, 400],
    [`${path}?topic=a%23`, 400],
    [`${path}?limit=0`, 400],
    [`${path}?limit=1&limit=2`, 400],
    [`${path}?form=earliest`, 400],
  ])('answers %s with %i, what is wrong, and what to do', async (wrong, status) => {
    const { get } = await givenApi()
    const response = await get(wrong)
    expect(response.status).toBe(status)
    expect(await response.json()).toSatisfy(isHelpful)
  })

  it('refuses a form that it does not have', async () => {
    const { get } = await givenApi()
    const response = await get(path, { headers: { accept: 'text/html' } })
    expect(response.status).toBe(406)
  })

  it('reads no further when the client has left', async () => {
    let reads = 0
    const { log, get } = await givenApi({ through: counted(() => reads++) })
    const large = 'x'.repeat(60_000)
    for (let n = 0; n < 20; n++) await appendText(log, 'plant/a', Array(20).fill(large))
    const leave = new AbortController()
    const response = await get(`${path}?limit=1000000`, { signal: leave.signal })
    await response.body?.getReader().read()
    leave.abort()
    await expect.poll(async () => (await get('/healthz')).status).toBe(200)
    // 24 MB are a hundred pages; sockets and buffers take a few MB of them.
    expect(reads).toBeLessThan(60)
  })

  it('writes whole JSON of several pages, although one of them is empty', async () => {
    let empty = true
    const { log, get } = await givenApi({
      through: readingBy(async (query, read) => {
        const page = await read(query)
        const shown = empty ? { ...page, records: [], next: query.from } : page
        empty = false
        return shown
      }),
    })
    const numbers = Array.from({ length: 2500 }, (_, n) => n)
    await appendText(log, 'plant/a', numbers.map(String))
    const { records } = (await (await get(`${path}?limit=2500`)).json()) as Answer
    expect(records.map(({ payload }) => payload)).toEqual(numbers)
  })

  it('cuts an answer off when reading fails on the way', async () => {
    let reads = 0
    const { log, get, lines } = await givenApi({
      through: counted(() => {
        reads++
        if (reads > 1) throw new Error('the disk is gone')
      }),
    })
    await appendText(log, 'plant/a', Array(2000).fill('1'))
    const whole = get(`${path}?limit=2000`).then((response) => response.text())
    await expect(whole).rejects.toThrow()
    expect(lines).toEqual(['error: records cannot be read'])
  })
})

function counted(note: () => unknown): (log: EventLog) => EventLog {
  return readingBy(async (query, read) => {
    note()
    return await read(query)
  })
}

function readingBy(
  by: (query: ReadQuery, read: EventLog['read']) => ReturnType<EventLog['read']>,
): (log: EventLog) => EventLog {
  return (log) =>
    new Proxy(log, {
      get(target, name) {
        if (name === 'read') {
          return (query: ReadQuery) => by(query, (wanted) => target.read(wanted))
        }
        const value: unknown = Reflect.get(target, name, target)
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
}
