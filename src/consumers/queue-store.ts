/**
 * A queue's progress on disk: which messages are settled, how often the others were delivered, and
 * which were on their way to the dead letters. The cursor of the queue says the same more roughly,
 * for retention and for people; whichever of the two is further is right, unless somebody moved the
 * cursor by hand after the document was written.
 */
import type { Clock } from '../base/clock.ts'
import type { Cursor, DocumentWrite, EventLog } from '../log/log.ts'
import { Progress, type Range } from './progress.ts'
import type { Deliveries, QueueEntry } from './queue-entry.ts'

const PROGRESS = 'queue'
const DYING = 'queue-dead'

/** A message that was about to become a dead letter when the gateway stopped. */
export interface Intent {
  readonly position: number
  readonly deliveries: number
  /** The end of the dead-letter stream before it was appended there. */
  readonly deadEnd: number
}

interface Stored {
  readonly floor: number
  readonly ahead: readonly Range[]
  readonly counts: readonly (readonly [number, number, number, number])[]
  readonly savedMs: number
}

export interface Restored {
  readonly progress: Progress
  readonly counts: Map<number, Deliveries>
}

export class QueueStore {
  private readonly log: EventLog
  private readonly queue: string
  private readonly clock: Clock

  constructor(log: EventLog, queue: string, clock: Clock) {
    this.log = log
    this.queue = queue
    this.clock = clock
  }

  /** Rejects with `storage`. */
  async restore(cursor: Cursor): Promise<Restored> {
    const next = cursor.place.kind === 'stream' ? cursor.place.next : 0
    const counts = new Map<number, Deliveries>()
    const [bytes] = await this.log.state.documents.get(PROGRESS, [this.queue])
    const stored = bytes === undefined ? undefined : (parsed(bytes) as Stored)
    const isMovedBack =
      stored !== undefined && next < stored.floor && cursor.updatedMs > stored.savedMs
    if (stored === undefined || isMovedBack) return { progress: new Progress(next), counts }
    const floor = Math.max(next, stored.floor)
    const ahead = stored.ahead.filter(([, end]) => end > floor)
    for (const [position, count, firstMs, lastMs] of stored.counts) {
      if (position >= floor) counts.set(position, { count, firstMs, lastMs })
    }
    return { progress: new Progress(floor, ahead), counts }
  }

  async intents(): Promise<readonly Intent[]> {
    const found: Intent[] = []
    for await (const { key, value } of this.log.state.documents.load(DYING)) {
      if (key.startsWith(`${this.queue}/`)) found.push(parsed(value) as Intent)
    }
    return found
  }

  /** `entries` are loaded; `known` are the deliveries of those that are not. */
  progress(
    progress: Progress,
    entries: Iterable<QueueEntry>,
    known: ReadonlyMap<number, Deliveries>,
  ): DocumentWrite {
    const counts: [number, number, number, number][] = []
    for (const [position, { count, firstMs, lastMs }] of known) {
      counts.push([position, count, firstMs, lastMs])
    }
    for (const { record, deliveries } of entries) {
      const { count, firstMs, lastMs } = deliveries
      if (count > 0) counts.push([record.position, count, firstMs, lastMs])
    }
    const { floor, ahead } = progress
    const savedMs = Math.round(this.clock.now())
    return { kind: PROGRESS, key: this.queue, value: text({ floor, ahead, counts, savedMs }) }
  }

  intent(intent: Intent): DocumentWrite {
    return { kind: DYING, key: this.keyOf(intent.position), value: text(intent) }
  }

  /** The intent is carried out, or given up. */
  settled(position: number): DocumentWrite {
    return { kind: DYING, key: this.keyOf(position), value: undefined }
  }

  private keyOf(position: number): string {
    return `${this.queue}/${position}`
  }
}

function text(value: Stored | Intent): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value))
}

/** What this file wrote. */
function parsed(bytes: Uint8Array): unknown {
  return JSON.parse(new TextDecoder().decode(bytes))
}
