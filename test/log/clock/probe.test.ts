/** The probe on folders that look like the root of a machine. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { ManualClock } from '../../../src/base/clock.ts'
import { clockProbe } from '../../../src/log/clock/probe.ts'
import { emptyFolder } from '../given.ts'

const NOW_MS = Date.UTC(2026, 5, 1)
const HOUR_MS = 3_600_000

async function given(files: Readonly<Record<string, string>>, modifiedMs = NOW_MS) {
  const root = await emptyFolder()
  for (const [name, text] of Object.entries({ 'proc/uptime': '7200.00 1.0\n', ...files })) {
    const file = path.join(root, name)
    fs.mkdirSync(path.dirname(file), { recursive: true })
    fs.writeFileSync(file, text)
    fs.utimesSync(file, modifiedMs / 1000, modifiedMs / 1000)
  }
  const clock = new ManualClock(NOW_MS)
  return { clock, probe: clockProbe(clock, root) }
}

const rtc = (hctosys: string, timeMs: number) => ({
  'sys/class/rtc/rtc0/hctosys': `${hctosys}\n`,
  'sys/class/rtc/rtc0/since_epoch': `${Math.floor(timeMs / 1000)}\n`,
})
const timesync = { 'run/systemd/timesync/synchronized': '' }
const chrony = { 'var/lib/chrony/drift': '-3.1 0.2\n' }

describe('the quality of the clock', () => {
  it.each([
    ['none', 'of a machine that says nothing', {}, NOW_MS],
    ['synchronised', 'with the mark of timesyncd', timesync, NOW_MS],
    ['synchronised', 'with a drift file written since the boot', chrony, NOW_MS - HOUR_MS],
    ['none', 'with a drift file of an earlier boot', chrony, NOW_MS - 3 * HOUR_MS],
    ['none', 'with a drift file of the future', chrony, NOW_MS + HOUR_MS],
    ['rtc', 'with a clock that set the time', rtc('1', NOW_MS), NOW_MS],
    ['none', 'with a clock that did not', rtc('0', NOW_MS), NOW_MS],
    ['none', 'with a clock whose battery is empty', rtc('1', 0), NOW_MS],
    ['synchronised', 'with both', { ...rtc('1', NOW_MS), ...timesync }, NOW_MS],
  ] as const)('is %s %s', async (quality, _how, files, modifiedMs) => {
    expect((await given(files, modifiedMs)).probe()).toBe(quality)
  })

  it('is none when the time cannot be right, whatever the marks say', async () => {
    const { clock, probe } = await given({ ...rtc('1', NOW_MS), ...timesync })
    clock.step(0)
    expect(probe()).toBe('none')
    clock.step(Date.UTC(2100, 0, 1))
    expect(probe()).toBe('none')
  })
})
