/** Gaps that say more than the stream has: what comes there next must not count as lost. */
import { expect, it } from 'vitest'
import { asPosition, type NewGap } from '../../../src/log/log.ts'
import { append, emptyFolder, keep, open, stream } from '../given.ts'

const gap = (first: number, end: number): NewGap => ({
  stream: 'a',
  cursor: undefined,
  first: asPosition(first),
  end: asPosition(end),
  records: end - first,
  sizeBytes: 0,
  reason: 'policy',
})

it('cuts gaps off where their stream was found to end, and begins an epoch for it', async () => {
  const dataDir = await emptyFolder()
  const streams = [stream('a')]
  const before = await open(dataDir, streams)
  await keep(before, 'a/x', 10)
  for (const [first, end] of [
    [2, 4],
    [8, 15],
    [20, 30],
  ] as const) {
    await before.state.gaps.add([gap(first, end)])
  }
  const { epoch } = before.state
  await before.close()
  const log = await open(dataDir, streams)
  const ranges = () => log.state.gaps.list().map(({ first, end, records }) => [first, end, records])
  expect(ranges()).toEqual([
    [2, 4, 2],
    [8, 10, 2],
  ])
  expect(log.state.epoch).toBe(epoch + 1)
  expect(append(log, 'a/x').record.position).toBe(10)
  await log.state.gaps.add([gap(10, 11)])
  expect(ranges()).toEqual([
    [2, 4, 2],
    [8, 11, 3],
  ])
  await log.close()
  const again = await open(dataDir, streams)
  expect(again.state.epoch).toBe(epoch + 1)
  expect(again.state.gaps.list()).toHaveLength(2)
})
