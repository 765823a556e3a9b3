/**
 * Holes: positions of a segment that damage took. They stand in the salvaged segment itself, in a
 * table that only such segments have, so that every reader of the file (a copy of it included) can
 * tell a hole that is noted from new damage.
 */

/** Half-open: [first, end). */
export interface Hole {
  readonly first: number
  readonly end: number
}

export const HOLE_TABLE = `
  CREATE TABLE hole (first_position INTEGER PRIMARY KEY, end_position INTEGER NOT NULL);
`

/** The end of the hole that `position` lies in; undefined when it lies in none. */
export function holeEndAt(holes: readonly Hole[], position: number): number | undefined {
  return holes.find(({ first, end }) => first <= position && position < end)?.end
}

/** How many positions of [from, end) lie in holes. */
export function holePositions(holes: readonly Hole[], from: number, end: number): number {
  let count = 0
  for (const hole of holes) {
    count += Math.max(0, Math.min(hole.end, end) - Math.max(hole.first, from))
  }
  return count
}
