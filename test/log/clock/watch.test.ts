import { describe, expect, it, onTestFinished } from 'vitest'
import { ManualClock } from '../../../src/base/clock.ts'
import { SluiceError } from '../../../src/base/errors.ts'
import { bootRow, ClockWatch } from '../../../src/log/clock/watch.ts'
import type { Boot, ClockQuality } from '../../../src/log/log.ts'
import { collectingLogger } from '../../support/logger.ts'

const NOW_MS = Date.UTC(2026, 5, 1)

function given(wallMs: number, first: ClockQuality = 'none') {
  const clock = new ManualClock(wallMs)
  const logger = collectingLogger()
  const saved: Boot[] = []
  const machine: { quality: ClockQuality; broken: boolean } = { quality: first, broken: false }
  const probe = () => machine.quality
  const watch = new ClockWatch({
    clock,
    probe,
    row: bootRow(7, clock, probe),
    save: async (row) => {
      if (machine.broken) throw new SluiceError('storage', 'no disk')
      saved.push(row)
    },
    logger,
    intervalMs: 3_600_000,
  })
  onTestFinished(() => watch.close())
  return { clock, logger, saved, machine, watch }
}

describe('the watch on the clock', () => {
  it('notes and tells a step once, and how it was set', async () => {
    const { clock, logger, saved, machine, watch } = given(2000)
    clock.advance(60_000)
    watch.check()
    expect(saved).toEqual([])
    clock.step(NOW_MS + 60_000)
    machine.quality = 'synchronised'
    watch.check()
    watch.check()
    clock.advance(5000)
    watch.check()
    expect(saved).toEqual([{ boot: 7, quality: 'synchronised', offsetMs: NOW_MS }])
    expect([watch.steps, watch.quality]).toEqual([1, 'synchronised'])
    expect(logger.lines).toHaveLength(1)
    expect(logger.lines[0]).toContain(
      'the clock was set forward by 56 years; records of this boot show their right time from now on',
    )
  })

  it('takes half a second for slewing, and more for a step, also in small parts', () => {
    const { clock, saved, watch } = given(NOW_MS)
    for (const slewMs of [250, 500]) {
      clock.step(NOW_MS + slewMs)
      watch.check()
    }
    expect([watch.steps, saved.length]).toEqual([0, 0])
    clock.step(NOW_MS + 750)
    watch.check()
    expect([watch.steps, saved.length]).toEqual([1, 1])
  })

  it.each([
    ['1970', 0],
    ['2100', Date.UTC(2100, 0, 1)],
  ])('does not believe a jump to %s (W1)', (_where, wallMs) => {
    const { clock, logger, saved, watch } = given(NOW_MS, 'synchronised')
    clock.step(wallMs)
    watch.check()
    expect([watch.steps, watch.quality, saved.length]).toEqual([1, 'none', 0])
    expect(watch.trustedNow()).toBeUndefined()
    expect(logger.lines[0]).toContain('which is not believed')
    clock.step(NOW_MS)
    watch.check()
    expect([watch.steps, watch.quality, saved.length]).toEqual([2, 'synchronised', 0])
    expect(watch.trustedNow()).toBe(NOW_MS)
  })

  it('does not believe a step of a clock that lost its source as much as what it knew', () => {
    const { clock, machine, saved, watch } = given(NOW_MS, 'synchronised')
    machine.quality = 'none'
    clock.step(NOW_MS + 86_400_000)
    watch.check()
    expect(saved).toEqual([])
  })

  it('sees within ten checks that a time source was found, without a step', () => {
    const { machine, saved, watch } = given(NOW_MS)
    machine.quality = 'synchronised'
    for (let check = 0; check < 10; check++) watch.check()
    expect(saved).toEqual([{ boot: 7, quality: 'synchronised', offsetMs: NOW_MS }])
  })

  it('writes again what could not be written', async () => {
    const { clock, machine, saved, watch } = given(2000)
    machine.broken = true
    clock.step(NOW_MS)
    watch.check()
    await new Promise(setImmediate)
    expect(saved).toEqual([])
    machine.broken = false
    watch.check()
    expect(saved).toHaveLength(1)
  })
})
