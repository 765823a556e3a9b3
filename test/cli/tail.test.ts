import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { appendText } from '../support/append.ts'
import { NOW_MS, runCli } from '../support/cli-context.ts'
import { givenLog, streamOf } from '../support/data-dir.ts'

const MINUTE_MS = 60_000

/** Stream "telemetry": ten records of devices a and b in turn, a minute apart, the last now. */
async function givenTen() {
  const given = await givenLog([streamOf('telemetry', 'devices/#')], NOW_MS - 9 * MINUTE_MS)
  for (let n = 0; n < 10; n += 1) {
    if (n > 0) given.clock.advance(MINUTE_MS)
    await appendText(given.log, `devices/${n % 2 === 0 ? 'a' : 'b'}/temp`, [`{"n":${n}}`])
  }
  const tail = (...args: string[]) =>
    runCli(['tail', 'telemetry', '--data', given.dataDir, '--format', 'json', ...args])
  const numbers = async (...args: string[]) => numbersIn((await tail(...args)).out)
  return { ...given, tail, numbers }
}

function numbersIn(out: string): number[] {
  return out
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line).payload.n)
}

describe('sluice tail', () => {
  it('prints what is there, from the first record, and ends', async () => {
    const { tail } = await givenTen()
    const { code, out, err } = await tail()
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(numbersIn(out)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(JSON.parse(out.split('\n')[3] ?? '')).toMatchObject({
      stream: 'telemetry',
      position: 3,
      offset: 1,
      time: new Date(NOW_MS - 6 * MINUTE_MS).toISOString(),
      topic: 'devices/b/temp',
      client: 'tester',
      qos: 1,
      retain: false,
      payload: { n: 3 },
    })
  })

  it('begins where it is told to', async () => {
    const { log, numbers } = await givenTen()
    const partition = log.route('devices/b/temp').partition
    expect(await numbers('--from', 'earliest')).toHaveLength(10)
    expect(await numbers('--from', 'latest')).toEqual([])
    expect(await numbers('--from', '-3m')).toEqual([6, 7, 8, 9])
    const iso = new Date(NOW_MS - 2 * MINUTE_MS).toISOString()
    expect(await numbers('--from', iso)).toEqual([7, 8, 9])
    expect(await numbers('--from', `${partition}:3`)).toEqual([7, 8, 9])
  })

  it('keeps to a partition, to a topic filter, and to a limit', async () => {
    const { log, numbers } = await givenTen()
    const [a, b] = ['a', 'b'].map((device) => log.route(`devices/${device}/temp`).partition)
    expect(a).not.toBe(b)
    expect(await numbers('--partition', String(b))).toEqual([1, 3, 5, 7, 9])
    expect(await numbers('--topic', 'devices/a/#')).toEqual([0, 2, 4, 6, 8])
    expect(await numbers('--topic', 'nothing/#')).toEqual([])
    expect(await numbers('--limit', '3')).toEqual([0, 1, 2])
    expect(await numbers('--topic', '+/b/+', '--limit', '2', '--from', '-3m')).toEqual([7, 9])
  })

  it('reads more than a page', async () => {
    const { log, numbers } = await givenTen()
    const payloads = Array.from({ length: 2000 }, (_, n) => `{"n":${10 + n}}`)
    await appendText(log, 'devices/a/temp', payloads)
    const read = await numbers()
    expect(read).toEqual(Array.from({ length: 2010 }, (_, n) => n))
    expect(await numbers('--limit', '1500')).toEqual(read.slice(0, 1500))
  })

  it('ends quietly once nobody reads its output', async () => {
    const { dataDir } = await givenTen()
    const gone = { write: async () => false }
    const run = await runCli(['tail', 'telemetry', '--data', dataDir], { data: gone })
    expect(run).toEqual({ code: 0, out: '', err: '' })
  })

  it('follows what is written later, until it is stopped', async () => {
    const { log, dataDir } = await givenTen()
    const stop = new AbortController()
    let out = ''
    const ended = runCli(['tail', 'telemetry', '--data', dataDir, '--follow', '--format', 'json'], {
      stopRequest: () => stop.signal,
      data: {
        write: async (data) => {
          out += Buffer.from(data).toString()
          return true
        },
      },
    })
    // Where it begins shows only in what it prints: append until it does.
    let n = 10
    for (; numbersIn(out).length < 3 && n < 500; n += 1) {
      await appendText(log, 'devices/a/temp', [`{"n":${n}}`])
      await wait(10)
    }
    stop.abort()
    expect(await ended).toEqual({ code: 0, out: '', err: '' })
    const [first = 0, ...rest] = numbersIn(out)
    expect(first).toBeGreaterThanOrEqual(10)
    expect(rest).toEqual(rest.map((_, index) => first + 1 + index))
  })

  it('follows from the beginning, up to a limit', async () => {
    const { numbers } = await givenTen()
    expect(await numbers('--follow', '--from', 'earliest', '--limit', '4')).toEqual([0, 1, 2, 3])
  })

  it.each([
    [['--from', 'yesterday'], /"yesterday" does not say where to begin/],
    [['--from', '7:0'], /has no partition 7/],
    [['--partition', '2'], /has no partition 2 yet; there is: 0, 1/],
    [['--partition', 'x'], /--partition takes the number of a partition, not "x"/],
    [['--topic', 'a/#/b'], /"a\/#\/b" has a # that is not the whole last level/],
    [['--limit', '0'], /--limit takes a whole number from 1, not "0"/],
    [['--limit', '3.5'], /not "3.5"/],
    [['--format', 'xml'], /Allowed choices are text, json, raw/],
  ])('says what is wrong with %j', async (args, sentence) => {
    const { tail } = await givenTen()
    const { code, out, err } = await tail(...args)
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toMatch(sentence)
  })

  it('names the streams there are when it does not know the one asked for', async () => {
    const { dataDir } = await givenTen()
    const { code, err } = await runCli(['tail', 'telemetri', '--data', dataDir])
    expect(code).toBe(1)
    expect(err).toMatch(/no stream "telemetri".* telemetry\n/)
  })

  it('says that a data directory is not there', async () => {
    const { code, err } = await runCli(['tail', 'x', '--data', '/nowhere/at/all'])
    expect(code).toBe(1)
    expect(err).toContain('/nowhere/at/all')
  })
})
