import { type IncomingMessage, request } from 'node:http'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { EventLog } from '../../../src/log/log.ts'
import { appendText } from '../../support/append.ts'
import { givenApi, isHelpful, plant } from './given.ts'

const path = '/v1/streams/plant/follow'
const one = { streams: [{ ...plant, partitions: 1 }] }

interface Follower {
  /** The payloads of its events, in order. */
  readonly payloads: unknown[]
  readonly ids: number[]
  readonly others: string[]
  readonly response: IncomingMessage
  leave(): void
}

function follow(url: string, query = '', lastEventId?: number): Promise<Follower> {
  return new Promise((resolve, reject) => {
    const headers = lastEventId === undefined ? {} : { 'last-event-id': String(lastEventId) }
    const asked = request(`${url}${path}${query}`, { headers, agent: false }, (response) => {
      const follower = { payloads: [], ids: [], others: [], response, leave } satisfies Follower
      collect(response, follower)
      resolve(follower)
    })
    const leave = (): void => void asked.destroy()
    onTestFinished(leave)
    asked.on('error', reject).end()
  })
}

function collect(response: IncomingMessage, follower: Follower): void {
  let rest = ''
  response.on('error', () => undefined)
  response.setEncoding('utf8').on('data', (chunk: string) => {
    const events = (rest + chunk).split('\n\n')
    rest = events.pop() ?? ''
    for (const event of events) {
      const [, id, data] = /^id: (\d+)\ndata: (.*)$/.exec(event) ?? []
      if (data === undefined) follower.others.push(event)
      else {
        follower.ids.push(Number(id))
        follower.payloads.push(JSON.parse(data).payload)
      }
    }
  })
}

const numbers = (from: number, end: number): number[] =>
  Array.from({ length: end - from }, (_, n) => from + n)

async function append(log: EventLog, from: number, end: number, topic = 'plant/a'): Promise<void> {
  await appendText(log, topic, numbers(from, end).map(String))
}

describe('following a stream', () => {
  it('sends what is kept from now on, with positions as ids', async () => {
    const { log, url } = await givenApi(one)
    await append(log, 0, 5)
    const follower = await follow(url)
    expect(follower.response.headers['content-type']).toContain('text/event-stream')
    await append(log, 5, 8)
    await expect.poll(() => follower.payloads).toEqual([5, 6, 7])
    expect(follower.ids).toEqual([5, 6, 7])
  })

  it('goes on behind Last-Event-ID without a hole or a repeat', async () => {
    const { log, url } = await givenApi(one)
    await append(log, 0, 1000)
    const follower = await follow(url, '?from=latest', 399)
    for (let n = 1000; n < 1500; n += 50) await append(log, n, n + 50)
    await expect.poll(() => follower.payloads.length).toBe(1100)
    expect(follower.ids).toEqual(numbers(400, 1500))
  })

  it('sends only the topics and the partition that are asked for', async () => {
    const { log, url } = await givenApi(one)
    const follower = await follow(url, '?topic=plant/b&partition=0&from=earliest')
    for (let n = 0; n < 6; n++) await append(log, n, n + 1, n % 2 === 0 ? 'plant/a' : 'plant/b')
    await expect.poll(() => follower.payloads).toEqual([1, 3, 5])
  })

  it.each([
    ['with everything', '', () => true],
    ['with a filter', '&topic=plant/b', (n: number) => n % 2 === 1],
  ])('brings many together %s, wherever they begin', async (_what, query, isWanted) => {
    const { log, url } = await givenApi(one)
    const alternate = async (from: number, end: number): Promise<void> => {
      const topics = ['plant/a', 'plant/b']
      await Promise.all(numbers(from, end).map((n) => append(log, n, n + 1, topics[n % 2])))
    }
    await alternate(0, 1000)
    const followers: Follower[] = []
    const froms = numbers(0, 12).map((n) => (n * 7919) % 1000)
    for (const [n, from] of froms.entries()) {
      followers.push(await follow(url, `?from=position:${from}${query}`))
      await alternate(1000 + n * 100, 1100 + n * 100)
    }
    for (const [n, from] of froms.entries()) {
      const wanted = numbers(from, 2200).filter(isWanted)
      await expect.poll(() => followers[n]?.ids.length, { timeout: 5000 }).toBe(wanted.length)
      expect(followers[n]?.ids).toEqual(wanted)
    }
  })

  it('lets a slow client fall behind into the log, and no other wait for it', async () => {
    const { log, url } = await givenApi(one)
    const slow = await follow(url)
    const quick = await follow(url)
    slow.response.pause()
    const large = JSON.stringify('x'.repeat(50_000))
    const before = process.memoryUsage().arrayBuffers
    for (let n = 0; n < 40; n++) await appendText(log, 'plant/a', Array(20).fill(large))
    await expect.poll(() => quick.ids.length, { timeout: 5000 }).toBe(800)
    // 40 MB went to the other. The tail and sockets take 20 MB; unbounded it is 58 MB (measured).
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(40_000_000)
    slow.response.resume()
    await expect.poll(() => slow.ids.length, { timeout: 5000 }).toBe(800)
    expect(slow.ids).toEqual(numbers(0, 800))
  })

  it('begins at the end for an id that the stream has not reached', async () => {
    const { log, url } = await givenApi(one)
    await append(log, 0, 3)
    const follower = await follow(url, '', 500)
    await append(log, 3, 4)
    await expect.poll(() => follower.payloads).toEqual([3])
  })

  it('disconnects its followers when the stream cannot be read, and says so in the log', async () => {
    const { url, lines, log } = await givenApi({
      ...one,
      through: (real) =>
        new Proxy(real, {
          get(target, name) {
            if (name === 'read') return () => Promise.reject(new Error('the disk is gone'))
            const value: unknown = Reflect.get(target, name, target)
            return typeof value === 'function' ? value.bind(target) : value
          },
        }),
    })
    const follower = await follow(url)
    await append(log, 0, 1)
    await expect.poll(() => follower.response.complete).toBe(true)
    expect(lines).toEqual([expect.stringContaining('cannot be read')])
  })

  it.each(['x', '-1', '1.5', ''])('refuses %j as the id of an event', async (id) => {
    const { get } = await givenApi()
    const response = await get(path, { headers: { 'last-event-id': id } })
    expect(response.status).toBe(400)
    expect(await response.json()).toSatisfy(isHelpful)
  })

  it('has places for 112, and frees them', async () => {
    const { url, get, log } = await givenApi(one)
    const followers = await Promise.all(numbers(0, 112).map(() => follow(url)))
    expect((await get(path)).status).toBe(503)
    for (const follower of followers.slice(1)) follower.leave()
    await expect
      .poll(async () => {
        const again = await follow(url)
        return again.response.statusCode
      })
      .toBe(200)
    await append(log, 0, 1)
    await expect.poll(() => followers[0]?.payloads).toEqual([0])
  })
})
