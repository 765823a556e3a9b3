/**
 * The ledger of gaps. It changes only when its write is on disk (S2), one write after the other, so
 * that what is told and what a start reads are the same.
 *
 * A gap that continues the last one of the same stream, cursor and reason extends it: the longer
 * row takes a new id, so that a reader that asks for what came after an id sees it again instead of
 * missing its new part. Beyond 100,000 rows the oldest are forgotten; totals count them for ever.
 */
import { assert } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import {
  type Cursor,
  type Gap,
  type GapReason,
  type Gaps,
  gapReasons,
  type NewGap,
} from '../state.ts'
import { rowOf } from './cursor-place.ts'
import type { CursorSet } from './cursor-set.ts'
import type { StateOp } from './protocol.ts'
import type { StateImage } from './tables.ts'
import { cutOff, type FoundEnd } from './taken-back.ts'
import type { Writes } from './writes.ts'

export const GAP_ROWS_MAX = 100_000

export type GapTotals = Readonly<Record<GapReason, { records: number; sizeBytes: number }>>

export interface GapLedgerParts {
  readonly image: StateImage
  readonly writes: Writes
  readonly cursors: CursorSet
  readonly clock: Clock
  readonly rowsMax: number
}

/** What an addition changes, before it is on disk. */
interface Plan {
  readonly added: Gap[]
  readonly rows: Map<number, Gap>
  readonly drops: Set<number>
  readonly latest: Map<string, Gap>
  readonly totals: GapTotals
  readonly moved: Map<string, Cursor>
  nextId: number
  forgotten: number
}

export class GapLedger implements Gaps {
  private readonly parts: GapLedgerParts
  /** By rising id, oldest first. */
  private readonly rows = new Map<number, Gap>()
  private readonly latest = new Map<string, Gap>()
  private counts: GapTotals
  private nextId: number
  /** Rows that made room for newer ones. */
  forgotten: number
  private listeners: readonly ((gap: Gap) => void)[] = []
  private last: Promise<unknown> = Promise.resolve()

  constructor(parts: GapLedgerParts) {
    this.parts = parts
    const { gaps, meta } = parts.image
    for (const gap of gaps) {
      this.rows.set(gap.id, gap)
      this.latest.set(keyOf(gap), gap)
    }
    this.counts = totalsIn(meta)
    this.forgotten = meta.get('gaps_forgotten') ?? 0
    this.nextId = 1 + Math.max(meta.get('gap_last') ?? 0, gaps.at(-1)?.id ?? 0)
  }

  list(query: Parameters<Gaps['list']>[0] = {}): readonly Gap[] {
    const { stream, cursor, afterId = 0, limit = Number.POSITIVE_INFINITY } = query
    const found: Gap[] = []
    if (afterId >= this.nextId - 1) return found
    for (const gap of this.rows.values()) {
      if (found.length >= limit) break
      if (gap.id <= afterId) continue
      if (stream !== undefined && gap.stream !== stream) continue
      if (cursor !== undefined && gap.cursor !== cursor) continue
      found.push(gap)
    }
    return found
  }

  add(gaps: readonly NewGap[]): Promise<readonly Gap[]> {
    for (const { first, end, records } of gaps) {
      assert(first < end && records >= 0, `a gap [${first}, ${end}) has something in it`)
    }
    const added = this.last.then(() => this.addNow(gaps))
    this.last = added.catch(() => undefined)
    return added
  }

  totals(): GapTotals {
    return this.counts
  }

  onAdded(listener: (gap: Gap) => void): void {
    this.listeners = [...this.listeners, listener]
  }

  /** What ends behind the end of its stream, and what is to become of it. */
  behindEnds(ends: ReadonlyMap<string, FoundEnd>): readonly StateOp[] {
    return [...this.rows.values()].flatMap((gap) => {
      const end = ends.get(gap.stream)?.end
      return end === undefined ? [] : cutOff(gap, end)
    })
  }

  /** At a start, before anything is added: carries that out; on disk when it resolves. */
  async cutOff(ops: readonly StateOp[]): Promise<void> {
    await this.parts.writes.write(ops)
    for (const op of ops) {
      if (op.kind === 'put-gap') this.rows.set(op.row.id, op.row)
      else if (op.kind === 'drop-gap') this.rows.delete(op.id)
    }
    this.latest.clear()
    for (const gap of this.rows.values()) this.latest.set(keyOf(gap), gap)
  }

  /** Resolves when everything that was added before has its fate. */
  async settled(): Promise<void> {
    await this.last
  }

  private async addNow(gaps: readonly NewGap[]): Promise<readonly Gap[]> {
    const plan = this.plan(gaps)
    await this.parts.writes.write(opsOf(plan))
    this.take(plan)
    return plan.added
  }

  private plan(gaps: readonly NewGap[]): Plan {
    const plan: Plan = {
      added: [],
      rows: new Map(),
      drops: new Set(),
      latest: new Map(),
      totals: structuredClone(this.counts),
      moved: new Map(),
      nextId: this.nextId,
      forgotten: this.forgotten,
    }
    const timeMs = Math.round(this.parts.clock.now())
    for (const gap of gaps) {
      this.planRow(plan, gap, timeMs)
      const total = plan.totals[gap.reason]
      total.records += gap.records
      total.sizeBytes += gap.sizeBytes
      const moved = this.parts.cursors.behindGap(gap, plan.moved.get(gap.cursor ?? ''))
      if (moved !== undefined) plan.moved.set(moved.name, moved)
    }
    this.planForgetting(plan)
    return plan
  }

  private planRow(plan: Plan, gap: NewGap, timeMs: number): void {
    const key = keyOf(gap)
    const last = plan.latest.get(key) ?? this.latest.get(key)
    const continued = last?.end === gap.first ? last : undefined
    const isOwn = continued !== undefined && plan.rows.has(continued.id)
    const id = isOwn ? continued.id : plan.nextId++
    if (continued !== undefined && !isOwn) plan.drops.add(continued.id)
    const row: Gap = {
      ...gap,
      id,
      first: continued?.first ?? gap.first,
      records: gap.records + (continued?.records ?? 0),
      sizeBytes: gap.sizeBytes + (continued?.sizeBytes ?? 0),
      timeMs,
    }
    plan.rows.set(id, row)
    plan.latest.set(key, row)
    plan.added.push({ ...gap, id, timeMs })
  }

  private planForgetting(plan: Plan): void {
    let excess = this.rows.size - plan.drops.size + plan.rows.size - this.parts.rowsMax
    for (const id of this.rows.keys()) {
      if (excess <= 0) return
      if (plan.drops.has(id)) continue
      plan.drops.add(id)
      plan.forgotten++
      excess--
    }
  }

  private take(plan: Plan): void {
    for (const id of plan.drops) {
      const gap = this.rows.get(id)
      this.rows.delete(id)
      if (gap !== undefined && this.latest.get(keyOf(gap)) === gap) this.latest.delete(keyOf(gap))
    }
    for (const row of plan.rows.values()) this.rows.set(row.id, row)
    for (const [key, row] of plan.latest) this.latest.set(key, row)
    this.counts = plan.totals
    this.nextId = plan.nextId
    this.forgotten = plan.forgotten
    for (const cursor of plan.moved.values()) this.parts.cursors.movedByGap(cursor)
    for (const gap of plan.added) for (const listener of this.listeners) listener(gap)
  }
}

function opsOf(plan: Plan): StateOp[] {
  const meta = (key: string, value: number): StateOp => ({ kind: 'put-meta', row: { key, value } })
  const reasons = new Set(plan.added.map(({ reason }) => reason))
  return [
    ...[...plan.drops].map((id): StateOp => ({ kind: 'drop-gap', id })),
    ...[...plan.rows.values()].map((row): StateOp => ({ kind: 'put-gap', row })),
    ...[...plan.moved.values()].map(
      (cursor): StateOp => ({ kind: 'put-cursor', row: rowOf(cursor) }),
    ),
    ...[...reasons].flatMap((reason) => [
      meta(`gap_records.${reason}`, plan.totals[reason].records),
      meta(`gap_bytes.${reason}`, plan.totals[reason].sizeBytes),
    ]),
    meta('gap_last', plan.nextId - 1),
    meta('gaps_forgotten', plan.forgotten),
  ]
}

function keyOf({ stream, cursor, reason }: NewGap): string {
  return JSON.stringify([stream, reason, cursor])
}

function totalsIn(meta: ReadonlyMap<string, number>): GapTotals {
  const entries = gapReasons.map((reason) => [
    reason,
    {
      records: meta.get(`gap_records.${reason}`) ?? 0,
      sizeBytes: meta.get(`gap_bytes.${reason}`) ?? 0,
    },
  ])
  return Object.fromEntries(entries) as GapTotals
}
