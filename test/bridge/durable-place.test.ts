import { expect, test } from 'vitest'
import { SluiceError } from '../../src/base/errors.ts'
import { DurablePlace, undurableRecordsMax } from '../../src/bridge/durable-place.ts'
import type { ForwardSettings } from '../../src/bridge/settings.ts'
import { given, plainForward } from './given.ts'

const CURSOR = 'bridge/cloud/telemetry'

/** A bridge whose writes of state end when the test says so. */
async function withSlowState(changed: Partial<ForwardSettings> = {}) {
  const fixture = await given({ forwards: [{ ...plainForward, ...changed }] })
  const { cursors, documents } = fixture.log.state
  const ends: ((thrown?: Error) => void)[] = []
  const slow = () =>
    new Promise<void>((resolve, reject) => {
      ends.push((thrown) => (thrown === undefined ? resolve() : reject(thrown)))
    })
  cursors.commitNow = (name, place) => {
    cursors.commit(name, place)
    return slow()
  }
  const { putNow } = documents
  let isSlow = true
  documents.putNow = (writes) => {
    if (!isSlow) return putNow.call(documents, writes)
    documents.put(writes)
    return slow()
  }
  const free = () => {
    isSlow = false
  }
  return { ...fixture, ends, free }
}

test.each([
  ['strict', { order: 'strict' }],
  ['live-first', { order: 'live-first' }],
] as const)(
  'sends no more than the bound past the place on disk (V1, %s)',
  async (_name, changed) => {
    const { bridges, appendMany, time, upstream, ends, arrived } = await withSlowState(changed)
    appendMany(10_000)
    bridges.start()
    await time.pass(10_000)
    const { window } = plainForward
    expect(ends).toHaveLength(1)
    expect(upstream.acknowledged.length).toBeGreaterThanOrEqual(2048)
    expect(arrived().length).toBeLessThanOrEqual(2048 + window)
    const before = arrived().length
    ends[0]?.()
    await time.pass(10_000)
    expect(arrived().length).toBeGreaterThan(before)
    expect(arrived().length).toBeLessThanOrEqual(before + 2048 + window)
    expect(ends).toHaveLength(2)
  },
)

test('writes nothing at once at a low rate (V2)', async () => {
  const { bridges, appendMany, time, ends, arrived, log } = await withSlowState()
  bridges.start()
  for (let i = 0; i < 10; i++) {
    appendMany(100)
    await time.pass(1000)
  }
  expect(arrived()).toHaveLength(1000)
  expect(ends).toEqual([])
  expect(log.state.cursors.get(CURSOR)?.place).toEqual({ kind: 'stream', next: 1000 })
})

test('goes on while the disk takes no state', async () => {
  const { bridges, appendMany, time, ends, arrived } = await withSlowState()
  appendMany(10_000)
  bridges.start()
  await time.pass(10_000)
  ends[0]?.(new SluiceError('storage', 'the disk is full'))
  await time.pass(10_000)
  expect(arrived()).toHaveLength(10_000)
})

test('counts the records of batches', async () => {
  const batch = { records: 200, maxBytes: 65_536, lingerMs: 10, compress: 'none' as const }
  const { bridges, appendMany, time, upstream, ends } = await withSlowState({ window: 2, batch })
  expect(undurableRecordsMax({ ...plainForward, window: 2, batch })).toBe(2048)
  expect(undurableRecordsMax({ ...plainForward, window: 64, batch })).toBe(25_600)
  appendMany(10_000)
  bridges.start()
  await time.pass(10_000)
  expect(ends).toHaveLength(1)
  expect(upstream.arrived.length).toBeGreaterThanOrEqual(2048 / 200)
  expect(upstream.arrived.length).toBeLessThanOrEqual(Math.ceil(2048 / 200) + 2)
})

test('holds the newest to be on disk only from when its write began', async () => {
  const { log } = await given()
  await log.state.cursors.open('c', 'telemetry', 'stream', { kind: 'earliest' })
  let end: () => void = () => undefined
  const cursors = Object.assign(Object.create(log.state.cursors) as typeof log.state.cursors, {
    commitNow: () =>
      new Promise<void>((resolve) => {
        end = resolve
      }),
  })
  const state = { cursors, documents: log.state.documents }
  const place = new DurablePlace({ state, cursor: 'c', mostRecords: 10, wake: () => undefined })
  place.reset(0, 0)
  expect(place.isDue(4)).toBe(false)
  expect(place.isDue(5)).toBe(true)
  place.now({ acked: 5, outstanding: undefined }, 5)
  expect(place.isDue(9)).toBe(false)
  expect(place.isBehind(9)).toBe(false)
  expect(place.isBehind(10)).toBe(true)
  end()
  await Promise.resolve()
  await Promise.resolve()
  expect(place.isBehind(14)).toBe(false)
  expect(place.isBehind(15)).toBe(true)
})
