import { expect, test } from 'vitest'
import { DayWindow } from '../../src/bridge/day-window.ts'
import { parseDayWindow } from '../../src/config/units.ts'
import { given, plainForward } from './given.ts'

/** Of a day in the time zone of the system, whatever that is. */
const at = (hours: number, minutes: number) => new Date(2026, 4, 20, hours, minutes).getTime()

test.each([
  ['22:00-06:00', [22, 0], true],
  ['22:00-06:00', [2, 30], true],
  ['22:00-06:00', [5, 59], true],
  ['22:00-06:00', [6, 0], false],
  ['22:00-06:00', [21, 59], false],
  ['08:30-12:00', [8, 30], true],
  ['08:30-12:00', [12, 0], false],
  ['08:30-12:00', [2, 0], false],
] as const)('%s is open or not at %j', (text, [hours, minutes], isOpen) => {
  const minutesOf = parseDayWindow(text)
  if (minutesOf === undefined) throw new Error('it is a window')
  const window = new DayWindow({ ...minutesOf, nowMs: () => at(hours, minutes) })
  expect(window.isOpen).toBe(isOpen)
  expect(window.text).toBe(text)
  if (isOpen) expect(window.delayMs()).toBe(0)
  else expect(window.delayMs()).toBeGreaterThan(0)
  expect(window.delayMs()).toBeLessThanOrEqual(60_000)
})

test.each(['22:00', '24:00-06:00', '22:00-22:00', '2:00-06:00', '22:60-06:00', ' 22:00-06:00'])(
  '"%s" is no window',
  (text) => {
    expect(parseDayWindow(text)).toBeUndefined()
  },
)

test('outside of its hours only priority 0 is sent, and the status says so', async () => {
  const time = new Date(1_763_700_000_000)
  const minute = time.getHours() * 60 + time.getMinutes()
  const window = { fromMinute: (minute + 120) % 1440, endMinute: (minute + 180) % 1440 }
  const fixture = await given({
    limit: { window },
    forwards: [plainForward, { ...plainForward, stream: 'alarms', priority: 0 }],
  })
  fixture.appendMany(10)
  fixture.append('alarms/fire', 'alarm')
  fixture.log.flush()
  fixture.bridges.start()
  await fixture.time.pass(60 * 60_000)
  expect(fixture.arrived()).toEqual(['alarm'])
  const [status] = await fixture.bridges.status()
  expect(status?.sentence).toMatch(
    /^connected to the upstream; only priority 0 is sent outside of /,
  )
  await fixture.time.pass(61 * 60_000)
  expect(fixture.arrived()).toHaveLength(11)
  expect((await fixture.bridges.status())[0]?.sentence).toBe('connected to the upstream')
})
