/**
 * How many single typing slips (a letter wrong, missing, too many, or swapped with its neighbour)
 * lie between two words: the optimal-string-alignment form of Damerau-Levenshtein, which edits no
 * letter twice. Time and memory are the product of the lengths: callers bound them.
 */
export function editDistance(from: string, to: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let row = 1; row <= from.length; row++) {
    const current = [row]
    for (let column = 1; column <= to.length; column++) {
      const same = from[row - 1] === to[column - 1]
      let cost = Math.min(
        at(last, column) + 1,
        at(current, column - 1) + 1,
        at(last, column - 1) + (same ? 0 : 1),
      )
      const swapped = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]
      if (row > 1 && column > 1 && swapped) cost = Math.min(cost, at(beforeLast, column - 2) + 1)
      current.push(cost)
    }
    beforeLast = last
    last = current
  }
  return at(last, to.length)
}

/** No key is longer; a longer word is no slip of one. */
const WORD_CHARACTERS_MAX = 64

/**
 * The known word that `word` was probably meant to be; undefined when none is near. Near is a slip
 * for every three letters: "max_pakcet" finds "max_packet", but "port" does not find "host".
 * Capitals and "-" for "_" count for nothing.
 */
export function nearest(word: string, known: readonly string[]): string | undefined {
  if (word.length > WORD_CHARACTERS_MAX) return undefined
  const plain = word.toLowerCase().replaceAll('-', '_')
  let best: string | undefined
  let bestDistance = Number.POSITIVE_INFINITY
  for (const candidate of known) {
    const distance = editDistance(plain, candidate)
    const near = Math.max(1, Math.floor(Math.max(plain.length, candidate.length) / 3))
    if (distance <= near && distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Number.POSITIVE_INFINITY
}
