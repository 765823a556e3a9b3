/**
 * The state of a backup, made to fit its records.
 *
 *   records  [first ─────────── end)   end): given out anew after a restore
 *   cursor                      end ◀── a cursor behind it comes back here, or it would skip them
 *   gap               [────────)◀───)   and so ends what a gap says
 */
import type Database from 'better-sqlite3'
import type { StreamBounds } from '../log.ts'
import type { CursorRow, StateOp } from '../state/protocol.ts'
import { applyOps, migrate, readImage } from '../state/tables.ts'
import { cutOff } from '../state/taken-back.ts'

/** From here on epochs count seconds: nine digits until 2051. */
const EPOCH_ZERO_MS = Date.UTC(2020, 0, 1)

export interface SettledState {
  readonly epoch: number
  /** The highest boot number that the state knows. */
  readonly boot: number
  /** Cursors that were ahead of the records, and come back. */
  readonly cursorsMoved: readonly string[]
}

export function epochIn(db: Database.Database): number {
  return readImage(db, db.name).meta.get('epoch') ?? 1
}

/**
 * Takes back what is ahead of the records and gives the state a new epoch, in one transaction.
 *
 * The new epoch is the time in seconds where that is higher than the next number: a backup that
 * is restored twice must not give out one epoch twice, and remembers no restore. A clock that is
 * years behind leaves the next number.
 */
export function settleState(
  db: Database.Database,
  bounds: readonly StreamBounds[],
  nowMs: number,
): SettledState {
  migrate(db, db.name)
  const image = readImage(db, db.name)
  const byName = new Map(bounds.map((each) => [each.stream, each]))
  const moved = image.cursors.flatMap((row) => settledCursor(row, byName.get(row.stream)))
  const gaps = image.gaps.flatMap((gap) => cutOff(gap, byName.get(gap.stream)?.end ?? 0))
  const epoch = Math.max(
    (image.meta.get('epoch') ?? 1) + 1,
    Math.floor((nowMs - EPOCH_ZERO_MS) / 1000),
  )
  const ops: StateOp[] = [
    ...moved.map((row): StateOp => ({ kind: 'put-cursor', row })),
    ...gaps,
    { kind: 'put-meta', row: { key: 'epoch', value: epoch } },
  ]
  applyOps(db, ops)
  return { epoch, boot: image.lastBoot, cursorsMoved: moved.map(({ name }) => name) }
}

/** The cursor at the end of the records when it is ahead of them, otherwise nothing. */
function settledCursor(row: CursorRow, bounds: StreamBounds | undefined): CursorRow[] {
  const end = bounds?.end ?? 0
  const ends = new Map(bounds?.partitions.map(({ partition, end: last }) => [partition, last]))
  const position = row.position === null ? null : Math.min(row.position, end)
  const offsets = row.offsets === null ? null : settledOffsets(row.offsets, ends)
  if (position === row.position && offsets === row.offsets) return []
  return [{ ...row, position, offsets }]
}

function settledOffsets(text: string, ends: ReadonlyMap<number, number>): string {
  const offsets = Object.entries(JSON.parse(text) as Record<string, number>)
  const isAhead = offsets.some(([partition, next]) => next > (ends.get(Number(partition)) ?? 0))
  if (!isAhead) return text
  const settled = offsets.map(([partition, next]) => [
    partition,
    Math.min(next, ends.get(Number(partition)) ?? 0),
  ])
  return JSON.stringify(Object.fromEntries(settled))
}
