/**
 * Whether a sound database holds what a state can be. A bit that flips in a value, or another
 * program that writes one, passes SQLite's own check; and a start that trusts such a value ends in
 * an assertion, again and again.
 */
import Database from 'better-sqlite3'
import { AssertionFailure } from '../../base/assert.ts'
import { messageOf } from '../../base/errors.ts'
import { cursorOf } from '../state/cursor-place.ts'
import type { CursorRow } from '../state/protocol.ts'
import { migrate, type StateImage } from '../state/tables.ts'

/** The first thing in it that cannot be; undefined when there is none. */
export function nonsenseIn(image: StateImage): string | undefined {
  for (const [key, value] of image.meta) {
    if (!isCount(value)) return `its "${key}" is ${String(value)}`
  }
  if (!isCount(image.lastBoot)) return `its last boot is ${String(image.lastBoot)}`
  for (const { boot, offsetMs } of image.boots) {
    if (!isCount(boot) || !Number.isFinite(offsetMs))
      return `the time of boot ${boot} makes no sense`
  }
  for (const { id, stream, first, end, records, sizeBytes, timeMs } of image.gaps) {
    const isGap = [id, records, sizeBytes].every(isCount) && Number.isFinite(timeMs) && first < end
    if (!isGap || typeof stream !== 'string') return `the gap ${id} makes no sense`
  }
  for (const row of image.cursors) {
    const why = nonsenseOf(row)
    if (why !== undefined) return `the cursor "${row.name}" makes no sense: ${why}`
  }
  return undefined
}

/**
 * Whether the tables are those of this version, whatever number the file gives its format: then it
 * is the number that is damaged. A version that raises it has other tables.
 */
export function hasOurTables(db: Database.Database): boolean {
  const ours = new Database(':memory:')
  try {
    migrate(ours, ':memory:')
    const known = tablesOf(ours)
    const found = tablesOf(db)
    return found.size > 0 && [...found].every(([name, sql]) => known.get(name) === sql)
  } finally {
    ours.close()
  }
}

function tablesOf(db: Database.Database): Map<string, string> {
  const sql =
    "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
  return new Map(db.prepare(sql).raw().all() as [string, string][])
}

function nonsenseOf(row: CursorRow): string | undefined {
  const { stream, position, offsets, updatedMs } = row
  if (typeof stream !== 'string' || !Number.isFinite(updatedMs)) return 'its columns are others'
  if ((position === null) === (offsets === null)) return 'it has no place, or two'
  try {
    cursorOf(row)
    return undefined
  } catch (thrown) {
    const isOdd = thrown instanceof SyntaxError || thrown instanceof TypeError
    if (!isOdd && !(thrown instanceof AssertionFailure)) throw thrown
    return messageOf(thrown)
  }
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0
}
