/** What retention does when something under it fails: files, the state, the disk's own numbers. */
import { describe, expect, it, onTestFinished } from 'vitest'
import { ManualClock } from '../../../src/base/clock.ts'
import { SluiceError } from '../../../src/base/errors.ts'
import { asPosition } from '../../../src/log/log.ts'
import { MemoryLog } from '../../../src/log/memory.ts'
import { Retention, type RetentionParts } from '../../../src/log/retention/retention.ts'
import type { Segments } from '../../../src/log/retention/segments.ts'
import { collectingLogger } from '../../support/logger.ts'
import { stream } from '../given.ts'
import { NOW_MS, retained } from './given.ts'

/**
 * Three finished segments each of `a` and `b`, or of the streams with rules, which go by size
 * unless their removal fails.
 */
function given(more: Partial<RetentionParts> = {}, onRemove: () => unknown = () => undefined) {
  const clock = new ManualClock(NOW_MS)
  const logger = collectingLogger()
  const memory = new MemoryLog([stream('a'), stream('b'), stream('c')], clock)
  const names = [...(more.rules?.keys() ?? ['a', 'b'])]
  const removed: string[] = []
  const fails = new Map<string, string>()
  const segments: Segments = {
    survey: async () =>
      names.map((name) => {
        const { rule: _, ...surveyed } = retained(name, {}, [{}, {}, {}])
        const left = surveyed.segments.filter(({ file }) => !removed.includes(`${name} ${file}`))
        const sizeBytes = left.length * 100 + 50
        return { ...surveyed, segments: left, sizeBytes }
      }),
    remove: async (name, file) => {
      await onRemove()
      const failure = fails.get(`${name} ${file}`)
      if (failure === undefined) removed.push(`${name} ${file}`)
      return failure
    },
  }
  const log = Object.assign(memory, { segments })
  const rule = { onLag: 'gap', sizeBytes: 100 } as const
  const retention = new Retention({
    log,
    clock,
    logger,
    dataDir: '.',
    rules: new Map([
      ['a', rule],
      ['b', rule],
    ]),
    minFree: { kind: 'bytes', bytes: 1 },
    disk: async () => ({ freeBytes: 1000, totalBytes: 1000 }),
    intervalMs: 3_600_000,
    ...more,
  })
  onTestFinished(async () => {
    await retention.stop()
    await log.close()
  })
  return { log, retention, removed, fails, lines: logger.lines }
}

const allOf = (name: string) => [`${name} 0.db`, `${name} 10.db`, `${name} 20.db`]

describe('a segment that cannot be deleted', () => {
  it('R2: keeps those behind it, not other streams; told once, and when it works again', async () => {
    const { retention, removed, fails, lines } = given()
    fails.set('a 10.db', 'EROFS: read-only file system')
    await retention.run()
    await retention.run()
    expect(removed).toEqual(['a 0.db', ...allOf('b')])
    fails.clear()
    await retention.run()
    await retention.run()
    expect(removed).toEqual(['a 0.db', ...allOf('b'), 'a 10.db', 'a 20.db'])
    expect(lines.filter((line) => !line.includes('was removed'))).toEqual([
      'error: retention could not do its work: it cannot be deleted: EROFS: read-only file system',
      'info: retention does its work again',
    ])
    expect(retention.removed.get('a')?.size).toEqual({ segments: 3, sizeBytes: 300 })
  })
})

describe('S2: the gap', () => {
  it('is noted, and the cursor moved, before the files go', async () => {
    const seen: unknown[] = []
    const rules = new Map([['a', { onLag: 'gap', sizeBytes: 100 } as const]])
    const { log, retention } = given({ rules }, () => {
      const { first, end } = log.state.gaps.list({ cursor: 'c' })[0] ?? {}
      seen.push([first, end, log.state.cursors.get('c')?.place])
    })
    await log.state.cursors.open('c', 'a', 'stream', { kind: 'earliest' })
    await retention.run()
    expect(seen[0]).toEqual([0, 10, { kind: 'stream', next: 10 }])
  })

  it('that cannot be noted keeps its segment; the rest of the plan is carried out', async () => {
    const rules = new Map([
      ['a', { onLag: 'gap', sizeBytes: 100 } as const],
      ['b', { onLag: 'refuse' } as const],
      ['c', { onLag: 'gap', sizeBytes: 100 } as const],
    ])
    const disk = async () => ({ freeBytes: 0, totalBytes: 1000 })
    const minFree = { kind: 'bytes', bytes: 1000 } as const
    const { log, retention, removed, lines } = given({ rules, disk, minFree })
    const { cursors, gaps } = log.state
    await cursors.open('on a', 'a', 'stream', { kind: 'earliest' })
    await cursors.commitNow('on a', { kind: 'stream', next: asPosition(10) })
    await cursors.open('on b', 'b', 'stream', { kind: 'earliest' })
    const add = gaps.add.bind(gaps)
    gaps.add = () => {
      removed.push('a note failed')
      return Promise.reject(new SluiceError('storage', 'no space for the note'))
    }
    await retention.run()
    await retention.run()
    expect(removed).toEqual(['a 0.db', ...allOf('c'), 'a note failed', 'a note failed'])
    expect([...log.full.keys()]).toEqual(['b'])
    const troubles = lines.filter((line) => line.startsWith('error'))
    expect(troubles).toEqual(['error: retention could not do its work: no space for the note'])
    gaps.add = add
    await retention.run()
    expect(removed.slice(-2)).toEqual(['a 10.db', 'a 20.db'])
  })

  it('R4: is not made where a cursor was put back after the look, the segment stays', async () => {
    const rules = new Map([['a', { onLag: 'refuse', sizeBytes: 100 } as const]])
    const { log, retention, removed } = given({ rules }, () =>
      log.state.cursors.seek('c', { kind: 'earliest' }),
    )
    await log.state.cursors.open('c', 'a', 'stream', { kind: 'latest' })
    log.state.cursors.commit('c', { kind: 'stream', next: asPosition(30) })
    await retention.run()
    expect(removed).toEqual(['a 0.db'])
    expect(log.state.gaps.list()).toEqual([])
  })
})

it('works on by its other rules while the free space is unknown, and says so once', async () => {
  let isKnown = false
  const disk = async () => {
    if (isKnown) return { freeBytes: 1000, totalBytes: 1000 }
    throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' })
  }
  const { retention, removed, lines } = given({ disk })
  await retention.run()
  await retention.run()
  expect(removed).toHaveLength(6)
  expect(retention.space).toBeUndefined()
  isKnown = true
  await retention.run()
  expect(retention.space?.freeBytes).toBe(1000)
  expect(lines.filter((line) => !line.includes('was removed'))).toEqual([
    'error: retention could not do its work: the free space is unknown: EIO: i/o error',
    'info: retention does its work again',
  ])
})

it('does not hide a bug as a trouble of the disk', async () => {
  const { retention } = given({
    disk: () => Promise.reject(new TypeError('x is not a function')),
  })
  await expect(retention.run()).rejects.toThrow('x is not a function')
})
