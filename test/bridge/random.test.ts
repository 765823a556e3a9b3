/**
 * Seeded runs on the upstream in memory: acks in any order, cuts, refusals, restarts, pauses and
 * time that passes. At the end everything is there; in strict mode in order; and nothing came twice
 * but what was in flight. `SLUICE_BRIDGE_SEEDS` runs more of them.
 */
import { expect, test } from 'vitest'
import { SeededRandom } from '../../src/base/random.ts'
import { decodeBatch } from '../../src/bridge/batch.ts'
import type { ForwardSettings } from '../../src/bridge/settings.ts'
import type { Arrived } from '../support/fake-uplink.ts'
import { eventually } from '../support/front-end.ts'
import { given, plainForward } from './given.ts'

const WINDOW = 8
const seeds = Number(process.env['SLUICE_BRIDGE_SEEDS'] ?? 6)

const variants: Readonly<Record<string, Partial<ForwardSettings>>> = {
  strict: {},
  batch: { batch: { records: 5, maxBytes: 4096, lingerMs: 300, compress: 'none' } },
  'live-first': { order: 'live-first' },
  'live-first batch': {
    order: 'live-first',
    batch: { records: 5, maxBytes: 4096, lingerMs: 300, compress: 'deflate' },
  },
}

async function numbersIn(arrived: readonly Arrived[], isBatch: boolean): Promise<number[]> {
  if (!isBatch) return arrived.map(({ payload }) => Number(payload.toString()))
  const batches = await Promise.all(arrived.map(({ payload }) => decodeBatch(payload)))
  return batches.flatMap(({ records }) =>
    records.map(({ payload }) => Number(Buffer.from(payload).toString())),
  )
}

for (const [name, variant] of Object.entries(variants)) {
  for (let seed = 1; seed <= seeds; seed++) {
    test(`${name}: nothing is lost (seed ${seed})`, async () => {
      const random = new SeededRandom(seed * 7919)
      const forward = { ...plainForward, window: WINDOW, ...variant }
      const backoff = { firstMs: 100, mostMs: 1000, stableAfterMs: 2000 }
      const fixture = await given({ backoff, forwards: [forward] }, { seed })
      const { time, upstream } = fixture
      fixture.bridges.start()
      let appended = 0
      let interruptions = 0
      upstream.holdsAcks = true
      for (let step = 0; step < 150; step++) {
        const what = random.below(20)
        if (what < 8) {
          const many = 1 + random.below(20)
          fixture.appendMany(many)
          appended += many
        } else if (what < 14) {
          for (let i = random.below(WINDOW * 2); i > 0; i--) {
            upstream.current?.ackOne((count) => random.below(count))
            await time.pass(1)
          }
        } else if (what === 14) {
          interruptions++
          upstream.cut()
        } else if (what === 15) {
          upstream.refusal = random.oneIn(2)
            ? { kind: 'unreachable', sentence: 'cannot be reached' }
            : undefined
        } else if (what === 16 && random.oneIn(3)) {
          interruptions++
          await fixture.restart()
        } else if (what === 17 && random.oneIn(3)) {
          interruptions++
          await fixture.bridges.pause('cloud')
          await time.pass(random.below(2000))
          await fixture.bridges.resume('cloud')
        } else await time.pass(random.below(1500))
      }
      upstream.refusal = undefined
      upstream.holdsAcks = false
      upstream.current?.ack()
      await time.pass(10_000)
      // Compression runs in threads of its own, for which no time passes here.
      await eventually(async () => {
        await time.pass(1000)
        return (await fixture.bridges.status())[0]?.forwards[0]?.lagRecords === 0
      }, 'everything is sent')
      const isBatch = forward.batch !== undefined
      const acknowledged = await numbersIn(upstream.acknowledged, isBatch)
      expect(new Set(acknowledged).size).toBe(appended)
      const payloads = await numbersIn(upstream.arrived, isBatch)
      const perMessage = forward.batch?.records ?? 1
      const repeats = payloads.length - appended
      expect(repeats).toBeLessThanOrEqual((interruptions + 1) * WINDOW * perMessage)
      if (forward.order === 'strict') expect(firsts(payloads)).toEqual(range(appended))
    })
  }
}

/** Each number where it first came. */
function firsts(payloads: readonly number[]): number[] {
  return [...new Set(payloads)]
}

function range(end: number): number[] {
  return Array.from({ length: end }, (_, i) => i)
}
