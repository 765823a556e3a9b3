/** A clock that is wrong, and set later, through the whole log. */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ManualClock } from '../../../src/base/clock.ts'
import { asPosition, type ClockQuality, type LogRecord } from '../../../src/log/log.ts'
import type { OpenedLog } from '../../../src/log/open.ts'
import { openLogReader } from '../../../src/log/reader/log-reader.ts'
import { Retention } from '../../../src/log/retention/retention.ts'
import { parseStart } from '../../../src/log/start.ts'
import { NOW_MS as CLI_NOW_MS, runCli } from '../../support/cli-context.ts'
import { collectingLogger } from '../../support/logger.ts'
import { copyAsCrashed, emptyFolder, keep, open, stream } from '../given.ts'

const MINUTE_MS = 60_000
const DAY_MS = 86_400_000
/** When the boot began, as it turns out. */
const BEGAN_MS = CLI_NOW_MS - 60 * MINUTE_MS
/** Another thread does it, on a machine that may be busy. */
const patient = { timeout: 10_000 }
const tiny = { segmentBytes: 4096, tailBytes: 8192, slabBytes: 4096, walBytesMax: 64 * 1024 }
const big = { tailBytes: 1 << 20 }

interface Machine {
  quality: ClockQuality
}

async function opened(clock: ManualClock, machine: Machine, more: object, dataDir: string) {
  return open(dataDir, [stream('a')], {
    clock,
    clockProbe: () => machine.quality,
    clockCheckMs: 3_600_000,
    ...more,
  })
}

/** Three minutes of records of 1970; then the clock is set, and three minutes more. */
async function given(more: object = tiny) {
  const dataDir = await emptyFolder()
  const clock = new ManualClock(0)
  const machine: Machine = { quality: 'none' }
  const log = await opened(clock, machine, more, dataDir)
  await minutes(log, clock)
  machine.quality = 'synchronised'
  clock.step(BEGAN_MS + 3 * MINUTE_MS)
  await minutes(log, clock)
  log.time.check()
  return { dataDir, clock, machine, log, reopen: () => opened(clock, machine, more, dataDir) }
}

async function minutes(log: OpenedLog, clock: ManualClock): Promise<void> {
  for (let minute = 0; minute < 3; minute++) {
    await keep(log, 'a/x', 40)
    clock.advance(MINUTE_MS)
  }
}

/** The minute of each 40th record since the boot began. */
async function minutesOf(log: Pick<OpenedLog, 'read'>, count = 6): Promise<number[]> {
  const found: LogRecord[] = []
  for (let minute = 0; minute < count; minute++) {
    const query = { stream: 'a', from: asPosition(minute * 40), recordsMax: 1, bytesMax: 1 }
    found.push(...(await log.read(query)).records)
  }
  return found.map((record) => (record.timeMs - BEGAN_MS) / MINUTE_MS)
}

const at = (minute: number) => ({ kind: 'time', timeMs: BEGAN_MS + minute * MINUTE_MS }) as const

describe('records from before the clock was set', () => {
  it.each([
    ['in the tail', big],
    ['on disk', tiny],
  ])('show their right time and are found by it %s', async (_where, more) => {
    const { log } = await given(more)
    expect(await minutesOf(log)).toEqual([0, 1, 2, 3, 4, 5])
    for (const minute of [0, 1, 2, 4]) {
      expect(await log.locate('a', at(minute - 0.5))).toBe(minute * 40)
    }
    expect(await log.locate('a', at(6))).toBe(240)
    expect(await log.bounds('a')).toMatchObject({
      firstTimeMs: at(0).timeMs,
      lastTimeMs: at(5).timeMs,
    })
  })

  it('are as written until then', async () => {
    const dataDir = await emptyFolder()
    const clock = new ManualClock(0)
    const log = await opened(clock, { quality: 'none' }, tiny, dataDir)
    await minutes(log, clock)
    expect((await log.bounds('a')).lastTimeMs).toBe(2 * MINUTE_MS)
  })

  it('show it after a restart, and in a copy of the directory', async () => {
    const { dataDir, log, reopen } = await given()
    const running = openLogReader(dataDir)
    onTestFinished(() => running.close())
    await expect.poll(() => running.bounds('a').firstTimeMs, patient).toBe(BEGAN_MS)
    const copy = await copyAsCrashed(dataDir)
    await log.close()
    expect(await minutesOf(await reopen())).toEqual([0, 1, 2, 3, 4, 5])
    const reader = openLogReader(copy)
    onTestFinished(() => reader.close())
    expect(await minutesOf({ read: async (query) => reader.read(query) })).toEqual([
      0, 1, 2, 3, 4, 5,
    ])
    expect(reader.locate('a', at(1.5))).toBe(80)
    expect(reader.timesTrouble).toBeUndefined()
  })

  it('show it to a reader that began before the clock was set', async () => {
    const dataDir = await emptyFolder()
    const clock = new ManualClock(0)
    const machine: Machine = { quality: 'none' }
    const log = await opened(clock, machine, tiny, dataDir)
    await minutes(log, clock)
    const reader = openLogReader(dataDir)
    onTestFinished(() => reader.close())
    expect(reader.bounds('a').firstTimeMs).toBe(0)
    clock.step(BEGAN_MS + 3 * MINUTE_MS)
    log.time.check()
    await expect.poll(() => reader.bounds('a').firstTimeMs, patient).toBe(BEGAN_MS)
    expect((await log.bounds('a')).firstTimeMs).toBe(BEGAN_MS)
  })

  it('leave the others as written by a crash before anybody saw that it was set', async () => {
    const dataDir = await emptyFolder()
    const clock = new ManualClock(0)
    const log = await opened(clock, { quality: 'none' }, tiny, dataDir)
    await keep(log, 'a/x', 40)
    clock.step(BEGAN_MS + MINUTE_MS)
    await keep(log, 'a/x', 40)
    const reader = openLogReader(await copyAsCrashed(dataDir))
    onTestFinished(() => reader.close())
    expect(await minutesOf({ read: async (query) => reader.read(query) }, 2)).toEqual([
      -BEGAN_MS / MINUTE_MS,
      1,
    ])
  })

  it('say why they show the time as written when the state cannot be read', async () => {
    const { dataDir, log } = await given()
    await log.close()
    fs.writeFileSync(path.join(dataDir, 'state.db'), 'no database'.repeat(1000))
    const reader = openLogReader(dataDir)
    onTestFinished(() => reader.close())
    expect(reader.bounds('a').firstTimeMs).toBe(0)
    expect(reader.timesTrouble).toContain('state.db cannot be read')
    const { code, err } = await runCli(['tail', 'a', '--data', dataDir])
    expect(code).toBe(0)
    expect(err).toContain('records show the time that they were written with')
  })

  it('are found in the files by sluice tail, by date and by -59m', async () => {
    const { dataDir, log } = await given()
    await log.close()
    const tail = async (...args: string[]) => {
      const { out } = await runCli(['tail', 'a', '--data', dataDir, '--format', 'json', ...args])
      const lines = out.split('\n').filter((line) => line !== '')
      return lines.map((line) => JSON.parse(line) as { position: number; time: string })
    }
    const all = await tail()
    expect([all.length, all[0]?.time]).toEqual([240, new Date(BEGAN_MS).toISOString()])
    const from = new Date(at(1).timeMs).toISOString()
    expect((await tail('--from', from, '--limit', '1'))[0]).toMatchObject({
      position: 40,
      time: from,
    })
    expect((await tail('--from', '-59m'))[0]?.position).toBe(40)
    expect((await tail('--from', '-10m')).length).toBe(0)
  })

  it('are found by -2m in the running log', async () => {
    const { clock, log } = await given()
    expect(await log.locate('a', parseStart('-2m', clock))).toBe(160)
    expect(await log.locate('a', parseStart('-5m', clock))).toBe(40)
  })
})

describe('retention by age', () => {
  /** A log of ten days with a segment or more for each, and retention of 5 days. */
  async function tenDays() {
    const dataDir = await emptyFolder()
    const clock = new ManualClock(BEGAN_MS)
    const machine: Machine = { quality: 'synchronised' }
    const log = await opened(clock, machine, tiny, dataDir)
    const logger = collectingLogger()
    const retention = new Retention({
      log,
      dataDir,
      clock,
      logger,
      rules: new Map([['a', { ageMs: 5 * DAY_MS, onLag: 'gap' }]]),
      minFree: { kind: 'bytes', bytes: 0 },
      intervalMs: 3_600_000,
      commitBytes: Number.POSITIVE_INFINITY,
      trustedNow: () => log.time.trustedNow(),
    })
    onTestFinished(() => retention.stop())
    const days = async (count: number) => {
      for (let n = 0; n < count; n++) {
        await keep(log, 'a/x', 60)
        clock.advance(DAY_MS)
      }
    }
    /** What is left: how many days ago the oldest record came, by the time it shows. */
    const run = async () => {
      await expect
        .poll(async () => {
          const surveyed = await log.segments.survey()
          return (await log.bounds('a')).segments - 1 - (surveyed[0]?.segments.length ?? 0)
        })
        .toBe(0)
      await retention.run()
      return (await log.bounds('a')).first
    }
    return { clock, machine, log, days, run, logger }
  }

  it.each([
    ['1970', 0],
    ['2100', Date.UTC(2100, 0, 1)],
  ])('deletes nothing while the clock says %s, and goes on when it is right', async (_, wallMs) => {
    const { clock, log, days, run } = await tenDays()
    await days(4)
    clock.step(wallMs)
    await days(2)
    expect(await run()).toBe(0)
    clock.step(BEGAN_MS + 6 * DAY_MS)
    await days(2)
    const first = await run()
    expect(first).toBeGreaterThan(0)
    const oldest = (await log.read({ stream: 'a', from: first, recordsMax: 1, bytesMax: 1 }))
      .records
    expect(oldest[0]?.timeMs).toBeGreaterThanOrEqual(clock.now() - 6 * DAY_MS)
  })

  it('counts the right age of what was written in 1970', async () => {
    const { clock, machine, days, run } = await tenDays()
    machine.quality = 'none'
    clock.step(0)
    await days(8)
    expect(await run()).toBe(0)
    machine.quality = 'synchronised'
    clock.step(BEGAN_MS + 8 * DAY_MS)
    const first = await run()
    // Of 8 days of 60 records each, some 5 are left.
    expect(first).toBeGreaterThan(60)
    expect(first).toBeLessThanOrEqual(180)
  })
})
