import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { describe, expect, it, vi } from 'vitest'
import { ManualClock } from '../../../src/base/clock.ts'
import { SeededRandom, systemRandom } from '../../../src/base/random.ts'
import { memorySink } from '../../../src/log/state/sink.ts'
import { StateStore } from '../../../src/log/state/store.ts'
import { at, gap, offsets, ranges } from '../../contract/log-state.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { onBadDisk, open, reopenCopy, START_MS } from './given.ts'

describe('the state at a start', () => {
  it('takes over a file that knows only boots', () => {
    const dataDir = tempDir()
    const db = new Database(path.join(dataDir, 'state.db'))
    db.exec('CREATE TABLE boot (boot INTEGER PRIMARY KEY, started INTEGER NOT NULL)')
    db.exec('INSERT INTO boot (started) VALUES (5), (6)')
    db.close()
    const state = open(dataDir)
    expect(state.boot).toBe(3)
    expect(state.epoch).toBe(1)
    expect(state.boots()).toEqual(new Map())
  })

  it('numbers boots on, above those that the records know', async () => {
    const dataDir = tempDir()
    expect(open(dataDir).boot).toBe(1)
    expect(open(dataDir).boot).toBe(2)
    expect(open(dataDir, { bootMin: 10 }).boot).toBe(10)
    expect(open(dataDir, { bootMin: 10 }).boot).toBe(11)
  })

  it('has at least the epoch that it is told to have, durably', () => {
    const dataDir = tempDir()
    expect(open(dataDir).epoch).toBe(1)
    expect(open(dataDir, { epochMin: 4 }).epoch).toBe(4)
    expect(open(dataDir, { epochMin: 2 }).epoch).toBe(4)
  })

  it('refuses a newer format, and says which one it is', () => {
    const dataDir = tempDir()
    open(dataDir)
    const db = new Database(path.join(dataDir, 'state.db'))
    db.exec("UPDATE meta SET value = 9 WHERE key = 'format'")
    db.close()
    expect(() => open(dataDir)).toThrow('state format 9; this version knows 1')
  })

  it.each([
    ['no database', Buffer.alloc(9000, 'no database ')],
    ['a torn one', Buffer.concat([Buffer.from('SQLite format 3\0'), Buffer.alloc(4080, 7)])],
  ])('says that the file is damaged: %s', (_, content) => {
    const dataDir = tempDir()
    fs.writeFileSync(path.join(dataDir, 'state.db'), content)
    expect(() => open(dataDir)).toThrowError(expect.objectContaining({ code: 'state-damaged' }))
  })

  it('says that a folder cannot be used', () => {
    const folder = tempDir()
    fs.mkdirSync(path.join(folder, 'state.db'))
    for (const unusable of [folder, path.join(folder, 'nowhere')]) {
      expect(() => open(unusable)).toThrowError(
        expect.objectContaining({ code: 'data-dir-unusable' }),
      )
    }
  })
})

describe('the epoch and the boots', () => {
  it('are on disk when they say so', async () => {
    const dataDir = tempDir()
    const state = open(dataDir)
    expect(await Promise.all([state.raiseEpoch(), state.raiseEpoch()])).toEqual([2, 3])
    const boot = { boot: 1, quality: 'synchronised', offsetMs: START_MS + 0.25 } as const
    await state.saveBoot(boot)
    const again = reopenCopy(dataDir)
    expect(again.epoch).toBe(3)
    expect(again.boots()).toEqual(new Map([[1, boot]]))
  })

  it('do not change where the disk refuses', async () => {
    const { disk, state } = onBadDisk()
    disk.broken = true
    await expect(state.raiseEpoch()).rejects.toMatchObject({ code: 'storage' })
    expect(state.epoch).toBe(1)
    disk.broken = false
    expect(await state.raiseEpoch()).toBe(2)
  })
})

describe('commits of cursors', () => {
  it('are on disk at once when asked for, and with the next flush when not', async () => {
    const dataDir = tempDir()
    const { cursors, flush } = bound(open(dataDir))
    await cursors.open('lazy', 's', 'stream', { kind: 'earliest' })
    await cursors.open('now', 's', 'stream', { kind: 'earliest' })
    cursors.commit('lazy', at(7))
    await cursors.commitNow('now', at(8))
    const before = reopenCopy(dataDir).cursors
    expect([before.get('lazy')?.place, before.get('now')?.place]).toEqual([at(0), at(8)])
    await flush()
    expect(reopenCopy(dataDir).cursors.get('lazy')?.place).toEqual(at(7))
  })

  it('are on disk after a flush, also those that a flush before it has not finished', async () => {
    const dataDir = tempDir()
    const state = open(dataDir)
    await state.cursors.open('c', 's', 'stream', { kind: 'earliest' })
    state.cursors.commit('c', at(7))
    const first = state.flush()
    await Promise.resolve()
    await state.flush()
    expect(reopenCopy(dataDir).cursors.get('c')?.place).toEqual(at(7))
    await first
  })

  it('are on disk within the interval', async () => {
    const dataDir = tempDir()
    const { cursors } = open(dataDir, { flushMs: 1 })
    await cursors.open('c', 's', 'stream', { kind: 'earliest' })
    cursors.commit('c', at(7))
    await vi.waitUntil(() => reopenCopy(dataDir).cursors.get('c')?.place.next === 7)
  })

  it('are on disk after a close', async () => {
    const dataDir = tempDir()
    const state = open(dataDir)
    await state.cursors.open('c', 's', 'stream', { kind: 'earliest' })
    state.cursors.commit('c', at(7))
    await state.close()
    expect(open(dataDir).cursors.get('c')?.place).toEqual(at(7))
  })

  it('that fail are tried again, and the trouble is told once and ends', async () => {
    const { dataDir, disk, logger, state } = onBadDisk()
    await state.cursors.open('c', 's', 'stream', { kind: 'earliest' })
    disk.broken = true
    await expect(state.cursors.commitNow('c', at(5))).rejects.toMatchObject({ code: 'storage' })
    await expect(state.flush()).rejects.toMatchObject({ code: 'storage' })
    expect(state.failure).toContain('disk I/O error')
    expect(logger.lines).toEqual(['error: the state cannot be written: it is tried again'])
    disk.broken = false
    await state.flush()
    expect(state.failure).toBeUndefined()
    expect(logger.lines.at(-1)).toBe('info: the state is written again')
    expect(reopenCopy(dataDir).cursors.get('c')?.place).toEqual(at(5))
  })

  it('that fail lazily are tried again by themselves', async () => {
    const { dataDir, disk, start } = onBadDisk()
    const state = start({ flushMs: 1 })
    await state.cursors.open('c', 's', 'stream', { kind: 'earliest' })
    disk.broken = true
    state.cursors.commit('c', at(5))
    await vi.waitUntil(() => state.failure !== undefined)
    disk.broken = false
    await vi.waitUntil(() => state.failure === undefined)
    expect(reopenCopy(dataDir).cursors.get('c')?.place).toEqual(at(5))
  })

  it('leave no cursor behind whose opening failed', async () => {
    const { dataDir, disk, state } = onBadDisk()
    disk.broken = true
    const asked = state.cursors.open('c', 's', 'stream', { kind: 'earliest' })
    await expect(asked).rejects.toMatchObject({ code: 'storage' })
    expect(state.cursors.get('c')).toBeUndefined()
    disk.broken = false
    await state.flush()
    expect(reopenCopy(dataDir).cursors.list()).toEqual([])
    await state.cursors.open('c', 's', 'stream', { kind: 'latest' })
    expect(reopenCopy(dataDir).cursors.get('c')?.place).toEqual(at(1000))
  })

  it('close with a disk that refuses: the stop goes on', async () => {
    const { disk, state, logger } = onBadDisk()
    await state.cursors.open('c', 's', 'stream', { kind: 'earliest' })
    state.cursors.commit('c', at(5))
    disk.broken = true
    await state.close()
    expect(logger.lines).toEqual(['error: the state cannot be written: it is tried again'])
  })

  it('keep the order of all that is done to them', async () => {
    const seed = systemRandom.below(2 ** 32)
    const random = new SeededRandom(seed)
    const dataDir = tempDir()
    const state = open(dataDir)
    const model = new Map<string, unknown>()
    const done: Promise<unknown>[] = []
    const note = (promise: Promise<unknown>) => done.push(promise.catch((e) => e.code))
    for (let i = 1; i <= 500; i++) {
      const name = `c${random.below(5)}`
      const known = state.cursors.get(name)
      if (known === undefined) {
        const kind = random.oneIn(2) ? 'stream' : 'partitions'
        if (kind === 'stream') await state.cursors.open(name, 's', kind, { kind: 'latest' })
      } else if (random.oneIn(5)) {
        note(state.cursors.remove(name))
      } else if (random.oneIn(3)) {
        state.cursors.commit(name, at(1000 + i))
      } else if (random.oneIn(4)) {
        note(state.cursors.seek(name, { kind: 'earliest' }))
      } else {
        note(state.cursors.commitNow(name, at(1000 + i)))
      }
    }
    const outcomes = await Promise.all(done)
    for (const { name, place } of state.cursors.list()) model.set(name, place)
    await state.flush()
    const found = reopenCopy(dataDir).cursors.list()
    expect(new Map(found.map(({ name, place }) => [name, place])), `seed ${seed}`).toEqual(model)
    // A seek of a cursor that was removed meanwhile is the one thing that may fail.
    const codes = outcomes.filter((one) => typeof one === 'string')
    expect(codes.filter((code) => code !== 'cursor-unknown')).toEqual([])
  })

  it('by partition are kept as they are', async () => {
    const dataDir = tempDir()
    const state = open(dataDir)
    state.attach({
      read: () => Promise.reject(new Error('nothing is read')),
      locate: () => Promise.reject(new Error('nothing is located')),
      bounds: async () => ({ partitions: [] }) as never,
    })
    await state.cursors.open('c', 's', 'partitions', { kind: 'latest' })
    await state.cursors.commitNow('c', offsets({ 12: 5, 3: 0 }))
    expect(reopenCopy(dataDir).cursors.get('c')?.place).toEqual(offsets({ 3: 0, 12: 5 }))
  })
})

describe('gaps', () => {
  it('S2: are on disk when their promise resolves, and their cursor with them', async () => {
    const dataDir = tempDir()
    const state = open(dataDir)
    await state.cursors.open('c', 's', 'stream', { kind: 'earliest' })
    await state.gaps.add([gap(0, 10)])
    const after = reopenCopy(dataDir)
    expect(ranges(after.gaps.list())).toEqual(['[0, 10) 10'])
    expect(after.gaps.totals().retention).toEqual({ records: 10, sizeBytes: 100 })
    expect(after.cursors.get('c')?.place).toEqual(at(10))
  })

  it('that fail are not there, and can be added again', async () => {
    const { dataDir, disk, state } = onBadDisk()
    await state.gaps.add([gap(0, 10)])
    disk.broken = true
    const failing = [state.gaps.add([gap(10, 20)]), state.gaps.add([gap(20, 30)])]
    for (const one of failing) await expect(one).rejects.toMatchObject({ code: 'storage' })
    expect(ranges(state.gaps.list())).toEqual(['[0, 10) 10'])
    expect(state.gaps.totals().retention.records).toBe(10)
    disk.broken = false
    await state.gaps.add([gap(10, 20)])
    expect(ranges(reopenCopy(dataDir).gaps.list())).toEqual(['[0, 20) 20'])
  })

  it('that are added at the same moment extend each other', async () => {
    const dataDir = tempDir()
    const state = open(dataDir)
    await Promise.all([0, 10, 20, 30].map((first) => state.gaps.add([gap(first, first + 10)])))
    expect(ranges(state.gaps.list())).toEqual(['[0, 40) 40'])
    expect(reopenCopy(dataDir).gaps.list()).toEqual(state.gaps.list())
  })

  it('beyond their bound are forgotten from the oldest on, and stay in the totals', async () => {
    const clock = new ManualClock(START_MS)
    const state = new StateStore({ sink: memorySink(), clock, gapRowsMax: 3 })
    for (let i = 0; i < 5; i++) await state.gaps.add([gap(i * 10, i * 10 + 1)])
    await state.gaps.add([gap(41, 42)])
    expect(ranges(state.gaps.list())).toEqual(['[20, 21) 1', '[30, 31) 1', '[40, 42) 2'])
    expect(state.gaps.totals().retention.records).toBe(6)
    expect(state.gaps.forgotten).toBe(2)
    await state.gaps.add([gap(60, 61), gap(70, 71)])
    expect(ranges(state.gaps.list())).toEqual(['[40, 42) 2', '[60, 61) 1', '[70, 71) 1'])
  })
})

describe('a full disk', () => {
  /** More than the pages that are there hold. */
  const many = () => Array.from({ length: 400 }, (_, i) => gap(i * 10, i * 10 + 1))

  it('gives up its reserve for a gap, and takes it again when there is space', async () => {
    const { dataDir, disk, logger, isReserved, start, state } = onBadDisk()
    expect(isReserved()).toBe(true)
    expect(fs.statSync(path.join(dataDir, 'reserve')).size).toBe(1024 * 1024)
    await state.close()
    Object.assign(disk, { full: true, freeBytes: 0 })
    const again = start()
    await again.gaps.add(many())
    expect(isReserved()).toBe(false)
    expect(again.gaps.list()).toHaveLength(400)
    expect(again.failure).toBeUndefined()
    expect(reopenCopy(dataDir).gaps.list()).toEqual(again.gaps.list())
    expect(logger.lines).toEqual([
      'warn: the disk is full: the state uses the space that was kept for it',
    ])
    await again.gaps.add([gap(9000, 9001)])
    expect(isReserved()).toBe(false)
    Object.assign(disk, { full: false, freeBytes: 1e9 })
    await again.gaps.add([gap(9001, 9002)])
    expect(isReserved()).toBe(true)
    expect(logger.lines.at(-1)).toBe('info: space for the state on a full disk is kept again')
  })

  it('refuses a gap when the reserve is not enough, and takes it later', async () => {
    const { disk, state, start } = onBadDisk()
    await state.close()
    Object.assign(disk, { full: true, usable: false, freeBytes: 0 })
    const again = start()
    await expect(again.gaps.add(many())).rejects.toMatchObject({ code: 'storage' })
    expect(again.failure).toContain('SQLITE_FULL')
    expect(again.gaps.list()).toEqual([])
    disk.usable = true
    await again.gaps.add(many())
    expect(again.gaps.list()).toHaveLength(400)
  })

  it('does not keep a gateway from starting', async () => {
    const { disk, start, isReserved, state } = onBadDisk()
    await state.close()
    Object.assign(disk, { full: true, freeBytes: 0 })
    for (let i = 0; i < 3; i++) await start().close()
    expect(start().boot).toBe(5)
    expect(isReserved()).toBe(true)
  })
})

/** A store whose methods can be taken apart. */
function bound(state: StateStore) {
  return { cursors: state.cursors, flush: () => state.flush() }
}
