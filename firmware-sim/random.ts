/**
 * Seeded chance. The simulator imports nothing from the gateway, so it brings its own: a hash for
 * values that are a function of (seed, place, time), and a generator for sequences.
 */

/** Mixes whole numbers into one of [0, 2^32) in which each input bit moves every output bit. */
export function mix(seed: number, ...parts: readonly number[]): number {
  let hash = seed >>> 0
  for (const part of parts) {
    // The high half counts too: slot numbers of a time in milliseconds can pass 2^32.
    hash = scramble(hash ^ scramble(part >>> 0) ^ Math.floor(part / 0x1_0000_0000))
  }
  return scramble(hash)
}

/** As `mix`, as a fraction in [0, 1). */
export function chance(seed: number, ...parts: readonly number[]): number {
  return mix(seed, ...parts) / 0x1_0000_0000
}

/** The next fraction of [0, 1) at each call; the same seed gives the same sequence. */
export function sequence(seed: number): () => number {
  let count = 0
  return () => {
    count += 1
    return chance(seed, count)
  }
}

/**
 * A 32-bit finaliser: shifts and odd multipliers, each of which can be undone, so nothing is lost.
 */
function scramble(n: number): number {
  let hash = (n + 0x9e3779b9) >>> 0
  hash = Math.imul(hash ^ (hash >>> 16), 0x21f0aaad)
  hash = Math.imul(hash ^ (hash >>> 15), 0x735a2d97)
  return (hash ^ (hash >>> 15)) >>> 0
}
