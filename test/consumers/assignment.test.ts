import { expect, it } from 'vitest'
import { SeededRandom } from '../../src/base/random.ts'
import { assignPartitions } from '../../src/consumers/assignment.ts'

it.each([1, 2, 3, 4])('shares are even and only what must move moves: seed %i', (seed) => {
  const random = new SeededRandom(seed)
  for (let round = 0; round < 500; round++) {
    const members = Array.from({ length: 1 + random.below(6) }, (_, index) => `m${index}`)
    const gone = ['gone', undefined]
    const owners = Array.from({ length: random.below(12) }, () =>
      random.pick<string | undefined>([...members, ...gone]),
    )
    const assigned = assignPartitions(owners, members)
    const counts = members.map((member) => assigned.filter((each) => each === member).length)
    expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
    expect(assigned).not.toContain(undefined)
    // The fewest moves: each member keeps as much as the larger share, as often as there are such.
    const held = members.map((member) => owners.filter((each) => each === member).length)
    const share = Math.floor(owners.length / members.length)
    let larger = owners.length % members.length
    let keepable = 0
    for (const count of [...held].sort((a, b) => b - a)) {
      const most = share + (larger > 0 ? 1 : 0)
      if (larger > 0) larger--
      keepable += Math.min(count, most)
    }
    expect(assigned.filter((each, index) => each === owners[index])).toHaveLength(keepable)
  }
})

it('without members nobody has anything', () => {
  expect(assignPartitions(['a', undefined], [])).toEqual([undefined, undefined])
})
