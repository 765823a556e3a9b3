/**
 * How far a forward's place on disk is behind what the upstream acknowledged: that much comes twice
 * after a crash of the gateway, beside what was in flight.
 *
 * V1. At most `mostRecords` acknowledged records are not covered by the place on disk: at that
 *     bound nothing more is sent until a write is done. (While the disk takes no state at all, the
 *     bound is given up and not the forward: data that arrives twice is better than none.)
 * V2. At low rates nobody waits and nothing is written beyond the lazy interval of the state: only
 *     half of `mostRecords` since the last write asks for one at once. One is under way at a time.
 *
 * At 40,000 records/s and a bound of 2,048 that is 40 small writes a second; the lazy 5 s alone
 * would be 200,000 records sent twice.
 */
import { SluiceError } from '../base/errors.ts'
import { asPosition, type Documents, type LogState } from '../log/log.ts'
import { BRIDGE_KIND } from './documents.ts'
import type { ForwardSettings } from './settings.ts'

/** Also for the smallest window: fewer would mean a sync for every few messages. */
const LEAST_RECORDS = 2048

/** Where a forward stands; `outstanding` is the document of a live-first one. */
export interface Place {
  readonly acked: number
  readonly outstanding: Uint8Array | undefined
}

export interface DurablePlaceParts {
  readonly state: Pick<LogState, 'cursors' | 'documents'>
  readonly cursor: string
  readonly mostRecords: number
  /** A write is done: there may be more to send. */
  readonly wake: () => void
}

/** Two windows, or `LEAST_RECORDS`. */
export function undurableRecordsMax({ window, batch }: ForwardSettings): number {
  return Math.max(LEAST_RECORDS, 2 * window * (batch?.records ?? 1))
}

export class DurablePlace {
  private readonly parts: DurablePlaceParts
  private readonly documents: Documents
  /** Records that were done when the last write that succeeded began, and the last that began. */
  private durable = 0
  private begun = 0
  private isWriting = false
  private isFailing = false
  private committed = -1

  constructor(parts: DurablePlaceParts) {
    this.parts = parts
    this.documents = parts.state.documents
  }

  /** V1: nothing more may be sent now. */
  isBehind(doneRecords: number): boolean {
    return !this.isFailing && doneRecords - this.durable >= this.parts.mostRecords
  }

  /** V2: so much is done that `now` is to be called. */
  isDue(doneRecords: number): boolean {
    return !this.isWriting && doneRecords - this.begun >= this.parts.mostRecords >> 1
  }

  /** The place is `position`, durably: everything done is covered. */
  reset(position: number, doneRecords: number): void {
    this.committed = position
    this.durable = doneRecords
    this.begun = doneRecords
  }

  /** On disk within the lazy interval. */
  lazily({ acked, outstanding }: Place): void {
    const { state, cursor } = this.parts
    if (outstanding !== undefined) {
      this.documents.put([{ kind: BRIDGE_KIND, key: cursor, value: outstanding }])
    }
    if (acked <= this.committed) return
    this.committed = acked
    state.cursors.commit(cursor, { kind: 'stream', next: asPosition(acked) })
  }

  /** On disk as soon as it can be. */
  now(place: Place, doneRecords: number): void {
    this.isWriting = true
    this.begun = doneRecords
    void this.write(place, doneRecords)
  }

  private async write(place: Place, doneRecords: number): Promise<void> {
    try {
      await this.put(place)
      this.durable = Math.max(this.durable, doneRecords)
      this.isFailing = false
    } catch (thrown) {
      // The state has told the operator, and tries again by itself.
      if (!(thrown instanceof SluiceError)) throw thrown
      this.isFailing = true
    } finally {
      this.isWriting = false
    }
    this.parts.wake()
  }

  /** Of a live-first forward the document says it all: its cursor stands at the oldest outage. */
  private put({ acked, outstanding }: Place): Promise<void> {
    const { state, cursor } = this.parts
    if (outstanding !== undefined) {
      this.lazily({ acked, outstanding: undefined })
      return this.documents.putNow([{ kind: BRIDGE_KIND, key: cursor, value: outstanding }])
    }
    this.committed = Math.max(this.committed, acked)
    return state.cursors.commitNow(cursor, { kind: 'stream', next: asPosition(acked) })
  }
}
