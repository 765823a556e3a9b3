import { expect, it } from 'vitest'
import { SeededRandom } from '../../src/base/random.ts'
import { Explainer } from '../../src/cli/audit-explain.ts'
import { Lane } from '../../src/cli/audit-lanes.ts'
import { asOffset, asPosition, type Gap } from '../../src/log/log.ts'
import { openLogReader } from '../../src/log/reader/log-reader.ts'
import { appendText } from '../support/append.ts'
import { givenLog, streamOf } from '../support/data-dir.ts'

const lane = new Lane({ gateway: 'g', epoch: 1, stream: 's', partition: 0 })

/** A stream of one partition with a record for each topic; its reader. */
async function givenTopics(topics: readonly string[]) {
  const { log, dataDir } = await givenLog([streamOf('s', '#', { partitions: 1 })], 0)
  await Promise.all(topics.map((topic) => appendText(log, topic, ['x'])))
  return openLogReader(dataDir)
}

const gap = (first: number, end: number, more: Partial<Gap> = {}): Gap => ({
  ...{ id: 1, stream: 's', cursor: undefined, records: end - first, sizeBytes: 1, timeMs: 0 },
  ...{ first: asPosition(first), end: asPosition(end), reason: 'retention', ...more },
})

it('looks at each record of each hole once, over many pages', async () => {
  const random = new SeededRandom(12)
  const topics = Array.from({ length: 3500 }, () => random.pick(['a', 'b']))
  const reader = await givenTopics(topics)
  for (const holeMax of [3, 40, 2500]) {
    const explainer = new Explainer(reader, [], ['a'])
    for (let first = random.below(9); first < topics.length; ) {
      const end = Math.min(topics.length, first + 1 + random.below(holeMax))
      const explained = explainer.explain(lane, { first: asOffset(first), end: asOffset(end) })
      const skipped = topics.slice(first, end).filter((topic) => topic === 'b').length
      expect(explained.get('not forwarded') ?? 0, `seed 12, [${first}, ${end})`).toBe(skipped)
      first = end + 1 + random.below(holeMax)
    }
  }
  reader.close()
})

it('explains what is gone from the log by no more records than the gaps speak of', async () => {
  const reader = await givenTopics(['a'])
  const explainer = new Explainer(reader, [gap(0, 5), gap(9, 12, { stream: 'other' })], undefined)
  const explain = (first: number, end: number) => [
    ...explainer.explain(lane, { first: asOffset(first), end: asOffset(end) }),
  ]
  expect(explain(10, 13)).toEqual([['retention', 3]])
  expect(explain(20, 25)).toEqual([['retention', 2]])
  expect(explain(30, 31)).toEqual([])
  reader.close()
})
