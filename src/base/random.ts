import { randomInt } from 'node:crypto'

/** Chance as a port: the system's in production, seeded in tests and simulations. */
export interface Random {
  /** A whole number in [0, bound). `bound` is at most 2^32. */
  below(bound: number): number
}

export const systemRandom: Random = { below: (bound) => randomInt(bound) }

/**
 * A small seeded generator (mulberry32): the same seed gives the same run, which is all that
 * tests and simulations want of it. Not for secrets.
 */
export class SeededRandom implements Random {
  readonly seed: number
  private state: number

  constructor(seed: number) {
    this.seed = seed >>> 0
    this.state = this.seed
  }

  below(bound: number): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let t = this.state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 0x1_0000_0000) * bound)
  }

  /** One of `items`, which must not be empty. */
  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)] as T
  }

  /** True once in `n` times on average. */
  oneIn(n: number): boolean {
    return this.below(n) === 0
  }
}
