/**
 * Tells the consumers behind one cursor, in-band, what the ledger says they will not get: gaps of
 * the cursor's own, and what damage took from every reader. Also what was noted while none of them
 * was there: the last gap that was told is kept beside the state.
 */
import { asPosition, type EventLog, type Gap, type Position } from '../log/log.ts'
import type { MissedRange } from './missed.ts'
import type { StreamWatch } from './stream-watch.ts'

const KIND = 'consumer-gaps'
/** Told at once at a start; what is older is in `sluice gaps`. */
const TOLD_AT_START_MAX = 1000

/** The cursor is to be removed: nothing of it is kept here. */
export function forgetTold(log: EventLog, cursor: string): void {
  log.state.documents.put([{ kind: KIND, key: cursor, value: undefined }])
}

export class GapTeller {
  private readonly log: EventLog
  private readonly cursor: string
  private readonly stream: string
  private readonly tell: (range: MissedRange) => void
  /** Where the consumers stand: what everybody lost before it they have read. */
  private readonly place: () => number
  private readonly unlisten: () => void
  private lastId = 0

  constructor(
    parts: { readonly log: EventLog; readonly watch: StreamWatch },
    of: { readonly cursor: string; readonly stream: string },
    tell: (range: MissedRange) => void,
    place: () => number,
  ) {
    this.log = parts.log
    this.cursor = of.cursor
    this.stream = of.stream
    this.tell = tell
    this.place = place
    this.unlisten = parts.watch.onGap((gap) => this.added(gap))
  }

  /** Tells what was noted since the last time, if this cursor was told anything before. */
  async start(): Promise<void> {
    const [known] = await this.log.state.documents.get(KIND, [this.cursor])
    const newest = this.log.state.gaps.list({ stream: this.stream }).at(-1)?.id ?? 0
    if (known === undefined) {
      this.note(Math.max(newest, this.lastId))
      return
    }
    const afterId = Number(new TextDecoder().decode(known))
    const query = { stream: this.stream, afterId, limit: TOLD_AT_START_MAX }
    for (const gap of this.log.state.gaps.list(query)) this.added(gap)
  }

  stop(): void {
    this.unlisten()
  }

  /** Whether the ledger speaks of the range, so that it is told from there. */
  tells(range: MissedRange): boolean {
    return this.log.state.gaps
      .list({ stream: this.stream })
      .some(
        (gap) =>
          (gap.cursor === undefined || gap.cursor === this.cursor) &&
          gap.first <= range.first &&
          gap.end >= range.end,
      )
  }

  /** A client did not take a record: noted, because nobody will get it again (G3). */
  refused(first: Position): void {
    const { stream, cursor } = this
    const end = asPosition(first + 1)
    const gap = { stream, cursor, first, end, records: 1, sizeBytes: 0, reason: 'policy' } as const
    // A ledger that cannot be written says so itself, and the cursor moves as it would have.
    this.log.state.gaps.add([gap]).catch(() => undefined)
  }

  private added(gap: Gap): void {
    if (gap.stream !== this.stream || gap.id <= this.lastId) return
    if (gap.cursor !== undefined && gap.cursor !== this.cursor) return
    if (gap.cursor === undefined && gap.end <= this.place()) return
    const { stream, reason, first, end, records } = gap
    this.note(gap.id)
    this.tell({ stream, reason, partition: undefined, first, end, records })
  }

  private note(id: number): void {
    this.lastId = id
    const value = new TextEncoder().encode(String(id))
    this.log.state.documents.put([{ kind: KIND, key: this.cursor, value }])
  }
}
