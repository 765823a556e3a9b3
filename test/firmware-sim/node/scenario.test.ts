import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { profileNames, profiles } from '../../../firmware-sim/node/profiles.ts'
import { Rtc } from '../../../firmware-sim/node/rtc.ts'
import { parseScenario } from '../../../firmware-sim/node/scenario.ts'
import { encodeReading } from '../../../firmware-sim/payload/encodings.ts'

const day = fileURLToPath(new URL('../../../firmware-sim/scenarios/day.toml', import.meta.url))
const dayMs = 86_400_000

test('the day that comes with it is 2,000 devices at 600 times their speed', () => {
  const { groups, speed, durationMs, startMs } = parseScenario(readFileSync(day, 'utf8'))
  expect(groups.reduce((sum, { count }) => sum + count, 0)).toBe(2_000)
  expect(groups.map(({ name }) => name)).toEqual([...profileNames])
  expect([speed, durationMs, startMs]).toEqual([600, dayMs, Date.UTC(2026, 5, 1)])
})

test('a fleet overrides what its profile says', () => {
  const [group] = parseScenario(`
[[fleet]]
profile = "env-sensor"
name = "roof"
every = "1s"
upload = "0s"
ram = 512
drop = "newest"
clock = "missing"
encoding = "senml-json"
qos = 2
`).groups
  expect(group).toMatchObject({ name: 'roof', count: 1 })
  expect(group?.profile).toMatchObject({
    everyMs: 1_000,
    uploadMs: 0,
    ramBytes: 512,
    drop: 'newest',
    clock: 'missing',
    encoding: 'senml-json',
    qos: 2,
    persistent: true,
  })
})

test('every fault is named at once', () => {
  const text = `
speed = 0
colour = "red"
[[fleet]]
profile = "toaster"
every = "soon"
[chaos]
meteors = 1
`
  expect(() => parseScenario(text)).toThrow(
    [
      'speed is a number from 0.001 to 1000000',
      'fleet 1: profile is one of env-sensor, power-meter, vibration, gps-tracker, door, valve',
      'fleet 1: every is a time such as "500ms", "10s", "5m", "24h" or "7d"',
      'chaos.meteors is unknown here',
      'colour is unknown here',
    ].join('\n'),
  )
  expect(() => parseScenario('')).toThrow('there is no [[fleet]]')
})

test.each(profileNames)(
  '%s draws the same readings from the same seed, and others from another',
  (name) => {
    const { measure, encoding, everyMs } = profiles[name]
    const drawn = (seed: number): string[] => {
      const texts: string[] = []
      for (let step = 0; step < 500; step += 1) {
        for (const { values } of measure(seed, 3, step * everyMs)) {
          const id = { device: 'a', boot: 1, seq: texts.length }
          const measured = { timeMs: undefined, upMs: 0, values }
          texts.push(encodeReading(encoding, id, measured).payload.toString('hex'))
        }
      }
      return texts
    }
    const [first, same, other] = [drawn(1), drawn(1), drawn(2)]
    expect(first.length).toBeGreaterThan(0)
    expect(same).toEqual(first)
    expect(other).not.toEqual(first)
  },
)

test('clocks are right, wrong by their drift, or missing', () => {
  expect(new Rtc('exact', 1, 1, 0).read(dayMs)).toBe(dayMs)
  expect(new Rtc('missing', 1, 1, 0).read(dayMs)).toBeUndefined()
  const drifting = new Rtc('drift', 1, 1, 0)
  const [start = 0, end = 0] = [drifting.read(0), drifting.read(dayMs)]
  expect(Math.abs(start)).toBeLessThanOrEqual(120_000)
  const driftMs = end - start - dayMs
  expect(driftMs).not.toBe(0)
  expect(Math.abs(driftMs)).toBeLessThanOrEqual(8_640)
})
