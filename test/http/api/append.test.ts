import { describe, expect, it } from 'vitest'
import { Token } from '../../../src/access/access.ts'
import type { EventLog } from '../../../src/log/log.ts'
import { givenApi, isHelpful, plant } from './given.ts'

const path = '/v1/streams/plant/records'

async function payloads(log: EventLog, stream = 'plant'): Promise<string[]> {
  const from = await log.locate(stream, { kind: 'earliest' })
  const page = await log.read({ stream, from, recordsMax: 1000, bytesMax: 1_000_000 })
  return page.records.map(({ payload }) => Buffer.from(payload).toString())
}

describe('appending records', () => {
  it('keeps one record and says where', async () => {
    const { post, get } = await givenApi()
    const properties = { content_type: 'text/plain', message_expiry_s: 60, user: [['a', 'b']] }
    const sent = { topic: 'plant/a', payload: 'hello', qos: 2, retain: true, properties }
    const response = await post(path, sent)
    expect(response.status).toBe(201)
    const { records } = (await response.json()) as { records: object[] }
    expect(records).toEqual([{ partition: expect.any(Number), offset: 0, position: 0 }])
    const read = (await (await get(path)).json()) as { records: object[] }
    expect(read.records).toMatchObject([
      { ...records[0], topic: 'plant/a', qos: 2, retain: true, properties, client: '$http' },
    ])
  })

  it('takes text, JSON and base64', async () => {
    const { post, log } = await givenApi()
    const topic = 'plant/a'
    const records = [
      { topic, payload: 'text' },
      { topic, payload: { a: [1, null] } },
      { topic, payload: 'text', encoding: 'json' },
      { topic, payload: 'AQI=', encoding: 'base64' },
      { topic, payload: null },
    ]
    expect((await post(path, { records })).status).toBe(201)
    expect(await payloads(log)).toEqual(['text', '{"a":[1,null]}', '"text"', '\x01\x02', 'null'])
  })

  it('appends many in their order and answers when all are kept', async () => {
    const { post, log } = await givenApi()
    const records = Array.from({ length: 1000 }, (_, n) => ({ topic: 'plant/a', payload: n }))
    const response = await post(path, { records })
    const places = ((await response.json()) as { records: { offset: number }[] }).records
    expect(places.map(({ offset }) => offset)).toEqual(records.map((_, n) => n))
    expect(await payloads(log)).toEqual(records.map(({ payload }) => String(payload)))
  })

  it.each([
    ['a topic of another stream', { topic: 'other/a', payload: 1 }],
    ['a wildcard', { topic: 'plant/#', payload: 1 }],
    ['a reserved topic', { topic: '$SYS/a', payload: 1 }],
    ['a long topic', { topic: `plant/${'x'.repeat(100)}`, payload: 1 }],
    ['a deep topic', { topic: 'plant/1/2/3/4/5/6/7/8/9/10', payload: 1 }],
    ['half a character', { topic: 'plant/\ud800', payload: 1 }],
    ['no payload', { topic: 'plant/a' }],
    ['no base64', { topic: 'plant/a', payload: '###', encoding: 'base64' }],
    ['a number as text', { topic: 'plant/a', payload: 1, encoding: 'text' }],
    ['a wrong QoS', { topic: 'plant/a', payload: 1, qos: 3 }],
    ['an unknown member', { topic: 'plant/a', payload: 1, retained: true }],
    ['a null character', { topic: 'plant/a', payload: 1, properties: { user: [['a', '\u0000']] } }],
  ])('refuses all for %s in one of them', async (_what, wrong) => {
    const { post, log } = await givenApi()
    const records = [{ topic: 'plant/a', payload: 1 }, wrong]
    const response = await post(path, { records })
    expect(response.status).toBe(400)
    const body = (await response.json()) as { message: string }
    expect(body).toSatisfy(isHelpful)
    expect(body.message).toContain('records[1]')
    expect(await payloads(log)).toEqual([])
  })

  it('refuses what is too large, alone and together', async () => {
    const { post } = await givenApi()
    const record = { topic: 'plant/a', payload: 'x'.repeat(5000) }
    expect((await post(path, record)).status).toBe(413)
    const response = await post(path, { records: Array(300).fill(record) })
    expect(response.status).toBe(413)
    expect(await response.json()).toSatisfy(isHelpful)
  })

  it('puts what no other stream takes into the built-in one', async () => {
    const { post, log } = await givenApi()
    const record = { topic: 'other/a', payload: 'x' }
    expect((await post('/v1/streams/default/records', record)).status).toBe(201)
    expect(await payloads(log, 'default')).toEqual(['x'])
  })

  it('says that a stream is full, and appends nothing', async () => {
    const { post, log } = await givenApi()
    log.setFull('plant', 'the disk is short of space')
    const response = await post(path, { topic: 'plant/a', payload: 1 })
    expect(response.status).toBe(507)
    expect(await response.json()).toMatchObject({ message: expect.stringContaining('short of') })
    log.setFull('plant', undefined)
    expect(await payloads(log)).toEqual([])
  })

  it('retains no more than may be', async () => {
    const { post, log } = await givenApi({ admitsRetained: () => false })
    const record = { topic: 'plant/a', payload: 'x', retain: true }
    expect((await post(path, record)).status).toBe(507)
    expect((await post(path, { ...record, payload: '' })).status).toBe(201)
    expect(await payloads(log)).toEqual([''])
  })

  it('goes to the partition of the key', async () => {
    const key = { kind: 'user-property', name: 'machine' } as const
    const { post } = await givenApi({ streams: [{ ...plant, partitions: 16, key }] })
    const of = async (machine: string): Promise<number | undefined> => {
      const properties = { user: [['machine', machine]] }
      const response = await post(path, { topic: 'plant/a', payload: 1, properties })
      return ((await response.json()) as { records: { partition: number }[] }).records[0]?.partition
    }
    const [first, again, other] = [await of('one'), await of('one'), await of('four')]
    expect(again).toBe(first)
    expect(other).not.toBe(first)
  })

  it('takes eight requests at once, and frees their places', async () => {
    const { post } = await givenApi({ streams: [{ ...plant, lingerMs: 200 }] })
    const all = await Promise.all(
      Array.from({ length: 30 }, () => post(path, { topic: 'plant/a', payload: 1 })),
    )
    const statuses = all.map(({ status }) => status)
    expect(statuses).toContain(503)
    expect(statuses.filter((status) => status === 201).length).toBeGreaterThanOrEqual(8)
    for (let n = 0; n < 20; n++) {
      expect((await post(path, { topic: 'other', payload: 1 })).status).toBe(400)
    }
    expect((await post(path, { topic: 'plant/a', payload: 1 })).status).toBe(201)
  })
})

describe('a web page', () => {
  it.each(['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx', undefined])(
    'cannot append with content type %s',
    async (type) => {
      const { get, log } = await givenApi()
      const body = Buffer.from(JSON.stringify({ topic: 'plant/a', payload: 1 }))
      const headers = type === undefined ? {} : { 'content-type': type }
      const response = await get(path, { method: 'POST', body, headers })
      expect(response.status).toBe(415)
      expect(await payloads(log)).toEqual([])
    },
  )

  it('gets nothing under a name of its own', async () => {
    const { url } = await givenApi()
    expect(await statusWithHost(url, 'evil.example')).toBe(403)
    expect(await statusWithHost(url, 'localhost.evil.example')).toBe(403)
    expect(await statusWithHost(url, '127.0.0.1.evil.example')).toBe(403)
    expect(await statusWithHost(url, 'LOCALHOST:8080')).toBe(200)
    expect(await statusWithHost(url, '[::1]:1')).toBe(200)
  })

  it('needs the token where there is one, for reading and for appending', async () => {
    const { get, post } = await givenApi({ token: new Token('a-token-of-enough-length') })
    expect((await get(path)).status).toBe(401)
    expect((await post(path, { topic: 'plant/a', payload: 1 })).status).toBe(401)
    const headers = { authorization: 'Bearer a-token-of-enough-length' }
    expect((await get(path, { headers })).status).toBe(200)
  })
})

/** fetch does not let anybody choose the Host header. */
async function statusWithHost(url: string, host: string): Promise<number | undefined> {
  const { request } = await import('node:http')
  return await new Promise((resolve, reject) => {
    const asked = request(`${url}/v1/streams`, { headers: { host } }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
    asked.once('error', reject).end()
  })
}
