import path from 'node:path'
import Database from 'better-sqlite3'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import { StallWatch } from '../../src/log/stall-watch.ts'
import { append, emptyFolder, keep, open, stream } from './given.ts'

const START_MS = Date.UTC(2026, 0, 31, 8)

function watched(lingerMs = 0) {
  const clock = new ManualClock(START_MS)
  const lane = {
    settings: { lingerMs },
    failure: undefined as string | undefined,
    committedEnd: 0,
    tail: { end: 0 },
  }
  const told: string[] = []
  const watch = new StallWatch({
    lanes: [lane],
    clock,
    stalled: (_lane, reason) => told.push(reason),
    resumed: () => told.push('goes on'),
    intervalMs: 1000,
  })
  onTestFinished(() => watch.close())
  const pass = (seconds: number): void => {
    for (let i = 0; i < seconds; i++) {
      clock.advance(1000)
      watch.look()
    }
  }
  return { clock, lane, told, watch, pass }
}

describe('a watch for a disk that does not answer', () => {
  it('tells once of a stream that waits ten seconds without progress, and when it goes on', () => {
    const { lane, told, pass } = watched()
    pass(100)
    lane.tail.end = 5
    pass(10)
    expect(told).toEqual([])
    pass(1)
    const since = '2026-01-31T08:01:41.000Z'
    expect(told).toEqual([`the disk has not answered since ${since}: a write does not return`])
    lane.tail.end = 9
    pass(50)
    expect(told).toHaveLength(1)
    lane.committedEnd = 1
    pass(1)
    expect(told.at(-1)).toBe('goes on')
    pass(11)
    expect(told).toHaveLength(3)
    lane.committedEnd = 9
    pass(100)
    expect(told).toHaveLength(4)
  })

  it('says nothing of a stream that is slow', () => {
    const { lane, told, pass } = watched()
    lane.tail.end = 1_000_000
    for (let i = 0; i < 100; i++) {
      pass(9)
      lane.committedEnd++
    }
    expect(told).toEqual([])
  })

  it('waits as much longer as the stream lingers', () => {
    const { lane, told, pass } = watched(30_000)
    lane.tail.end = 1
    pass(40)
    expect(told).toEqual([])
    pass(1)
    expect(told).toHaveLength(1)
  })

  it('leaves a suspended stream to what suspended it', () => {
    const { lane, told, pass } = watched()
    lane.tail.end = 1
    pass(20)
    lane.failure = 'disk I/O error'
    pass(20)
    lane.failure = undefined
    lane.committedEnd = 1
    pass(20)
    expect(told).toHaveLength(1)
  })

  it('does not count time in which it was held up itself', () => {
    const { clock, lane, told, watch, pass } = watched()
    lane.tail.end = 1
    pass(2)
    clock.advance(60_000)
    watch.look()
    expect(told).toEqual([])
    pass(9)
    expect(told).toHaveLength(1)
  })
})

it('names the stream whose write hangs, and no other, until it returns', async () => {
  const dataDir = await emptyFolder()
  const log = await open(dataDir, [stream('a'), stream('b')], {
    stall: { stallMs: 300, intervalMs: 50 },
  })
  const changes: string[] = []
  log.onFailure((name, reason) => changes.push(`${name}: ${reason}`))
  log.onResume((name) => changes.push(`${name} goes on`))
  await keep(log, 'a/x', 1)
  // Whoever holds the lock keeps a writer waiting as a disk does that is asked to sync.
  const other = new Database(path.join(dataDir, 'streams/a/0000000000000000.db'))
  other.exec('BEGIN IMMEDIATE')
  const { settled } = append(log, 'a/x')
  await vi.waitFor(() => expect([...log.failures.keys()]).toEqual(['a']), { timeout: 4000 })
  expect(log.failures.get('a')).toMatch(/^the disk has not answered since /)
  other.exec('ROLLBACK')
  other.close()
  expect(await settled).toBe('kept')
  await vi.waitFor(() => expect(log.failures.size).toBe(0))
  expect(changes).toEqual([expect.stringMatching(/^a: the disk/), 'a goes on'])
})
