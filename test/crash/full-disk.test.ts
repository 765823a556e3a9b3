/**
 * G1, G3, G6 on a file system of 32 MiB that fills up: what the guard removes is in the ledger,
 * what it may not remove is refused, what was acknowledged stays, and all goes on when space
 * returns.
 */
import fs from 'node:fs'
import path from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import type { AppendOutcome } from '../../src/log/log.ts'
import type { OpenedLog } from '../../src/log/open.ts'
import { Retention, type RetentionRule } from '../../src/log/retention/retention.ts'
import { append, keep, open, readAll, stream } from '../log/given.ts'
import { collectingLogger } from '../support/logger.ts'
import { fillUp, smallDisk, whyNoDisk } from '../support/small-disk.ts'

const MIB = 1024 * 1024
const STREAMS = [stream('a'), stream('b')]
const SMALL = { segmentBytes: MIB, walBytesMax: MIB, tailBytes: MIB, slabBytes: 64 * 1024 }
const PAYLOAD = 'x'.repeat(16 * 1024)
const BURST = 16

const unable = whyNoDisk()
const title = unable === undefined ? 'a full disk' : `a full disk (left out: ${unable})`

interface Given {
  readonly folder: string
  readonly dataDir: string
  readonly log: OpenedLog
  readonly retention: Retention
  readonly lines: readonly string[]
}

async function given(rule: RetentionRule): Promise<Given> {
  const folder = smallDisk('32m')
  const dataDir = path.join(folder, 'data')
  const logger = collectingLogger()
  const log = await open(dataDir, STREAMS, { ...SMALL, logger })
  onTestFinished(() => log.close())
  const retention = new Retention({
    log,
    dataDir,
    clock: systemClock,
    logger,
    rules: new Map([['a', rule]]),
    minFree: { kind: 'bytes', bytes: 10 * MIB },
    intervalMs: 50,
    commitBytes: MIB,
  })
  onTestFinished(() => retention.stop())
  await log.state.cursors.open('slow', 'a', 'stream', { kind: 'earliest' })
  return { folder, dataDir, log, retention, lines: logger.lines }
}

/** A burst of records of 16 KiB; what became of each. */
function burst(log: OpenedLog, topic = 'a/x'): Promise<AppendOutcome[]> {
  const appended = Array.from({ length: BURST }, () => append(log, topic, PAYLOAD).settled)
  return Promise.all(appended)
}

function positions(lines: readonly string[]): number[] {
  return lines.map((line) => Number.parseInt(line, 10))
}

describe.skipIf(unable !== undefined)(title, () => {
  it('makes gaps of what a cursor that lags cannot have, and takes all that comes', async () => {
    const { log, retention } = await given({ onLag: 'gap' })
    const count = Math.ceil((64 * MIB) / (BURST * PAYLOAD.length)) * BURST
    for (let sent = 0; sent < count; sent += BURST) {
      expect(new Set(await burst(log))).toEqual(new Set(['kept']))
    }
    await retention.stop()
    const found = positions(await readAll(log, 'a'))
    const first = found[0] ?? 0
    expect(first).toBeGreaterThan(count / 4)
    expect(found).toEqual(Array.from({ length: count - first }, (_, i) => first + i))
    const gaps = log.state.gaps.list({ cursor: 'slow' })
    expect(gaps.map((gap) => [gap.first, gap.end, gap.records, gap.reason])).toEqual([
      [0, first, first, 'disk-guard'],
    ])
    expect(log.state.cursors.get('slow')?.place).toEqual({ kind: 'stream', next: first })
  }, 30_000)

  it('refuses what comes while a cursor needs the oldest, and takes it when it does not', async () => {
    const { log, retention, lines } = await given({ onLag: 'refuse' })
    let kept = 0
    while (!log.full.has('a')) {
      for (const outcome of await burst(log)) if (outcome === 'kept') kept++
      expect(kept * PAYLOAD.length).toBeLessThan(32 * MIB)
    }
    expect(new Set(await burst(log))).toEqual(new Set(['full']))
    expect(new Set(await burst(log, 'b/x'))).toEqual(new Set(['kept']))
    expect(log.state.gaps.list()).toEqual([])
    expect(await readAll(log, 'a')).toHaveLength(kept)
    await log.state.cursors.seek('slow', { kind: 'latest' })
    await retention.run()
    await expect.poll(() => log.full.has('a')).toBe(false)
    expect(new Set(await burst(log))).toEqual(new Set(['kept']))
    expect(log.state.gaps.list()).toEqual([])
    const told = lines.filter((line) => /refuses new messages|takes new messages again/.test(line))
    expect(told).toHaveLength(2)
  }, 30_000)

  it('acknowledges nothing on a disk without a byte, still notes cursors, and goes on', async () => {
    const { folder, log, retention } = await given({ onLag: 'gap' })
    expect(new Set(await burst(log))).toEqual(new Set(['kept']))
    await retention.stop()
    fillUp(path.join(folder, 'filler'))
    const waiting = burst(log)
    let settled = false
    void waiting.then(() => {
      settled = true
    })
    for (let i = 0; !log.failures.has('a'); i++) {
      expect(i).toBeLessThan(100)
      await Promise.race([burst(log), expect.poll(() => log.failures.has('a')).toBe(true)])
    }
    await log.state.cursors.commitNow('slow', {
      kind: 'stream',
      next: (await log.bounds('a')).first,
    })
    expect(settled).toBe(false)
    const before = (await readAll(log, 'a')).length
    fs.rmSync(path.join(folder, 'filler'))
    expect(new Set(await waiting)).toEqual(new Set(['kept']))
    expect(log.failures.size).toBe(0)
    expect((await readAll(log, 'a')).length).toBeGreaterThan(before)
  }, 30_000)

  it('G5: serves the other streams when a salvage finds no room, and salvages later', async () => {
    const folder = smallDisk('32m')
    const dataDir = path.join(folder, 'data')
    const whole = { ...SMALL, segmentBytes: 8 * MIB }
    const before = await open(dataDir, STREAMS, whole)
    await keep(before, 'b/x', 3)
    for (let i = 0; i < 12; i++) await burst(before)
    const lines = await readAll(before, 'a')
    await before.close()
    const segment = path.join(dataDir, 'streams/a/0000000000000000.db')
    const descriptor = fs.openSync(segment, 'r+')
    fs.writeSync(descriptor, Buffer.alloc(8192, 7), 0, 8192, fs.fstatSync(descriptor).size - 20_000)
    fs.closeSync(descriptor)
    fillUp(path.join(folder, 'filler'))
    const logger = collectingLogger()
    const full = await open(dataDir, STREAMS, { ...whole, logger })
    expect([...full.failures.keys()]).toEqual(['a'])
    expect(logger.lines.join('\n')).toContain('stream a is out of service')
    expect(await readAll(full, 'b')).toHaveLength(3)
    expect(await append(full, 'b/x').settled).toBe('kept')
    await full.close()
    fs.rmSync(path.join(folder, 'filler'))
    const again = await open(dataDir, STREAMS, whole)
    expect(again.failures.size).toBe(0)
    const found = await readAll(again, 'a')
    expect(found.length).toBeGreaterThan(lines.length - 5)
    expect(lines).toEqual(expect.arrayContaining(found))
    expect(again.state.gaps.list({ stream: 'a' })[0]?.reason).toBe('quarantined')
  }, 30_000)
})
