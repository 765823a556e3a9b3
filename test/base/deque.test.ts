import { describe, expect, it } from 'vitest'
import { Deque } from '../../src/base/deque.ts'
import { SeededRandom } from '../../src/base/random.ts'

describe('Deque', () => {
  it('behaves like an array used as a queue', () => {
    const random = new SeededRandom(11)
    const deque = new Deque<number>()
    const model: number[] = []
    for (let i = 0; i < 4000; i++) {
      if (random.below(100) < (i < 2000 ? 60 : 40)) {
        deque.push(i)
        model.push(i)
      } else {
        expect(deque.shift(), `seed ${random.seed}`).toBe(model.shift())
      }
      expect(deque.length).toBe(model.length)
      expect(deque.peek()).toBe(model[0])
    }
  })
})
