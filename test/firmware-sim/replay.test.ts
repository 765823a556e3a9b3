import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Device } from '../../firmware-sim/device.ts'
import type { Fleet, Member } from '../../firmware-sim/fleet.ts'
import { LinkWatch } from '../../firmware-sim/link.ts'
import { Rates } from '../../firmware-sim/rates.ts'
import { Pace, recordingName, replay } from '../../firmware-sim/replay.ts'
import { ManualTime } from './support.ts'

let dir = ''
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'sluice-replay-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

interface Published {
  readonly atMs: number
  readonly device: string
  readonly kind: 'telemetry' | 'alarm'
  readonly values: Readonly<Record<string, unknown>>
}

/** A fleet whose devices write down what they were told to publish, and never connect. */
function recorder(time: ManualTime): { fleet: Pick<Fleet, 'add'>; published: Published[] } {
  const published: Published[] = []
  class Unconnected extends Device {
    override connect(): void {
      expect(this.waiting).toBe(0)
    }
  }
  const add = (name: string): Member => {
    const note =
      (kind: Published['kind']) =>
      (values: Readonly<Record<string, unknown>>): void => {
        published.push({ atMs: time.nowMs(), device: name, kind, values })
      }
    const device = new Unconnected(name, {
      broker: { host: '127.0.0.1', port: 1, protocol: 4 },
      qos: 1,
      time,
      rates: new Rates(),
      link: new LinkWatch('nowhere', () => undefined),
      random: () => 0,
    })
    return { device, telemetry: note('telemetry'), alarm: note('alarm') }
  }
  return { fleet: { add }, published }
}

async function run(
  text: string,
  speed: number,
  loop = false,
  stopAfter = Number.POSITIVE_INFINITY,
) {
  const file = join(dir, 'room-climate-A01.csv')
  await writeFile(file, text)
  const time = new ManualTime(1_000_000)
  const { fleet, published } = recorder(time)
  const said: string[] = []
  const stop = new AbortController()
  const counting: Pick<Fleet, 'add'> = {
    add: (name) => {
      const member = fleet.add(name)
      const telemetry: Member['telemetry'] = (values) => {
        member.telemetry(values)
        if (published.length >= stopAfter) stop.abort()
      }
      return { ...member, telemetry }
    },
  }
  const say = (line: string): void => void said.push(line)
  const result = await replay(counting, { file, speed, loop }, time, say, stop.signal)
  return { result, published, said }
}

const line = (ms: number, node: number, door = 0, window = 0): string =>
  `1, ${ms}, 1, ${node}, 20.5, 40.1, 185.7, 492.2, 0, 0, ${door}, ${window}`

test('a pace divides the recorded spacing by the speed', () => {
  const pace = new Pace(60, 5_000)
  expect(pace.dueMs(700_000)).toBe(5_000)
  expect(pace.dueMs(760_000)).toBe(6_000)
  expect(pace.dueMs(700_030)).toBe(5_000.5)
  expect(pace.dueMs(640_000)).toBe(4_000)
})

test('readings come at their spacing by the speed, from the device of their node', async () => {
  const { result, published } = await run(`${line(0, 1)}\n${line(600, 2)}\n${line(6_000, 1)}\n`, 60)
  expect(result).toEqual({ readings: 3, badLines: 0 })
  expect(published.map(({ atMs, device }) => [atMs, device])).toEqual([
    [1_000_000, 'A01-1'],
    [1_000_010, 'A01-2'],
    [1_000_100, 'A01-1'],
  ])
  expect(published[2]?.values).toMatchObject({ recorded: 6_000, temperature: 20.5 })
})

test('a line that lies before its neighbour is due at once, in the order of the file', async () => {
  const { published } = await run([line(0, 1), line(1_000, 1), line(500, 2)].join('\n'), 1)
  expect(published.map(({ atMs }) => atMs - 1_000_000)).toEqual([0, 1_000, 1_000])
})

test('a door or window that moves raises an alarm, its first state does not', async () => {
  const lines = [line(0, 1, 1), line(1, 1, 1), line(2, 1, 0), line(3, 1, 1, 1), line(4, 2, 0)]
  const { published } = await run(lines.join('\n'), 1)
  const alarms = published.filter(({ kind }) => kind === 'alarm')
  expect(alarms.map(({ values }) => values)).toEqual([
    { what: 'door', state: 'closed', recorded: 2 },
    { what: 'door', state: 'open', recorded: 3 },
    { what: 'window', state: 'open', recorded: 3 },
  ])
})

test('bad lines are counted, the first is told with its number, the others go on', async () => {
  const text = `${line(0, 1)}\n\nnonsense\n1, 2\r\n${line(10, 1)}\r\n`
  const { result, published, said } = await run(text, 1)
  expect(result).toEqual({ readings: 2, badLines: 2 })
  expect(published).toHaveLength(2)
  expect(said).toHaveLength(1)
  expect(said[0]).toContain(':3: not a reading (1 fields instead of 12)')
})

test('a loop begins again at the end, at the same spacing', async () => {
  const { published } = await run(`${line(0, 1)}\n${line(100, 1)}\n`, 1, true, 5)
  expect(published.map(({ atMs }) => atMs - 1_000_000)).toEqual([0, 100, 100, 200, 200])
})

test('a loop over a file without readings ends', async () => {
  const { result } = await run('a\nb\n', 1, true)
  expect(result).toEqual({ readings: 0, badLines: 2 })
})

test('a file that is not there is an error', async () => {
  const time = new ManualTime(0)
  const file = join(dir, 'none.csv')
  const signal = new AbortController().signal
  const running = replay(
    recorder(time).fleet,
    { file, speed: 1, loop: false },
    time,
    () => {
      throw new Error('nothing is to be said')
    },
    signal,
  )
  await expect(running).rejects.toThrow('ENOENT')
})

test('a recording is named by its file', () => {
  expect(recordingName('/some/where/room-climate-A01.csv')).toBe('A01')
  expect(recordingName('greenhouse.csv')).toBe('greenhouse')
  expect(recordingName('a+b #1.CSV')).toBe('a-b--1')
})
