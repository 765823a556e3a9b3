import { expect, test } from 'vitest'
import { type DropRule, Ram, type Stored } from '../../../firmware-sim/node/ram.ts'
import { sequence } from '../../../firmware-sim/random.ts'

function reading(seq: number, payloadBytes = 75): Stored {
  const payload = Buffer.alloc(payloadBytes)
  return { seq, topic: 't', contentType: '', retain: false, payload }
}

/** Each reading of 75 bytes takes 100 with its topic and management. */
function filled(rule: DropRule): { ram: Ram; dropped: number[] } {
  const ram = new Ram(300, rule)
  const dropped: number[] = []
  for (let seq = 0; seq < 5; seq += 1) ram.store(reading(seq), (one) => dropped.push(one.seq))
  return { ram, dropped }
}

test('M2: "oldest" gives up the oldest, "newest" what came', () => {
  const oldest = filled('oldest')
  expect(oldest.dropped).toEqual([0, 1])
  expect([oldest.ram.take()?.seq, oldest.ram.waiting]).toEqual([2, 2])
  const newest = filled('newest')
  expect(newest.dropped).toEqual([3, 4])
  expect(newest.ram.take()?.seq).toBe(0)
})

test('M2: what is under way is never given up, and counts', () => {
  const { ram, dropped } = filled('oldest')
  const taken = [ram.take(), ram.take(), ram.take()].flatMap((one) => one ?? [])
  ram.store(reading(9), (one) => dropped.push(one.seq))
  expect(dropped).toEqual([0, 1, 9])
  ram.putBack(taken)
  expect([ram.take(), ram.take(), ram.take()].map((one) => one?.seq)).toEqual([2, 3, 4])
})

test('a reading that is larger than the memory takes nothing with it but what is older', () => {
  const { ram, dropped } = filled('newest')
  ram.store(reading(9, 400), (one) => dropped.push(one.seq))
  expect([dropped.at(-1), ram.waiting]).toEqual([9, 3])
})

test('a brown-out empties it', () => {
  const { ram } = filled('oldest')
  expect(ram.lose().map(({ seq }) => seq)).toEqual([2, 3, 4])
  expect([ram.waiting, ram.sizeBytes]).toEqual([0, 0])
})

test.each(['oldest', 'newest'] as const)('M1, M3: %s keeps the budget and the order', (rule) => {
  const random = sequence(77)
  const ram = new Ram(2_000, rule)
  const underWay: Stored[] = []
  let left = -1
  for (let seq = 0; seq < 3_000; seq += 1) {
    ram.store(reading(seq, Math.floor(random() * 200)), () => undefined)
    expect(ram.sizeBytes).toBeLessThanOrEqual(2_000)
    if (random() < 0.3) underWay.push(...[ram.take()].flatMap((one) => one ?? []))
    if (random() < 0.05) ram.putBack(underWay.splice(0))
    else if (random() < 0.3) {
      const done = underWay.shift()
      if (done === undefined) continue
      ram.release(done)
      expect(done.seq).toBeGreaterThan(left)
      left = done.seq
    }
  }
  expect(left).toBeGreaterThan(1_000)
})
