/**
 * Watches for a disk that does not answer: a card that stalls, a mount that hangs. Its write comes
 * back neither done nor failed, so nobody is suspended, and without this nobody would say why
 * nothing is acknowledged.
 *
 * It looks at how far each stream is on disk, once a second, and costs the way of a record nothing.
 * Time in which this thread was held up itself does not count: the word that all is well may be
 * waiting behind it.
 */
import type { Clock } from '../base/clock.ts'

/** A card that collects its garbage takes up to some seconds; nothing healthy takes this long. */
const STALL_MS = 10_000
const INTERVAL_MS = 1000

/** What of a lane says whether its records get to the disk. */
export interface WatchedLane {
  readonly settings: { readonly lingerMs: number }
  /** Set while the stream is suspended: that is told already. */
  readonly failure: string | undefined
  readonly committedEnd: number
  readonly tail: { readonly end: number }
}

export interface StallWatchParts<L extends WatchedLane> {
  readonly lanes: readonly L[]
  readonly clock: Clock
  stalled(lane: L, reason: string): void
  /** Told of a stalled lane that goes on. */
  resumed(lane: L): void
  readonly stallMs?: number
  readonly intervalMs?: number
}

interface Standing {
  committedEnd: number
  /** How long it has waited without progress. */
  forMs: number
  isTold: boolean
}

export class StallWatch<L extends WatchedLane> {
  private readonly parts: StallWatchParts<L>
  private readonly stallMs: number
  private readonly intervalMs: number
  private readonly standing = new Map<L, Standing>()
  private readonly timer: NodeJS.Timeout
  private lookedUs: number

  constructor(parts: StallWatchParts<L>) {
    this.parts = parts
    this.stallMs = parts.stallMs ?? STALL_MS
    this.intervalMs = parts.intervalMs ?? INTERVAL_MS
    this.lookedUs = parts.clock.monotonicUs()
    this.timer = setInterval(() => this.look(), this.intervalMs).unref()
  }

  look(): void {
    const nowUs = this.parts.clock.monotonicUs()
    const passedMs = Math.min((nowUs - this.lookedUs) / 1000, 2 * this.intervalMs)
    this.lookedUs = nowUs
    for (const lane of this.parts.lanes) this.lookAt(lane, passedMs)
  }

  close(): void {
    clearInterval(this.timer)
  }

  private lookAt(lane: L, passedMs: number): void {
    const { committedEnd } = lane
    const before = this.standing.get(lane)
    const waits = committedEnd < lane.tail.end && lane.failure === undefined
    if (waits && before?.committedEnd === committedEnd) {
      this.stands(lane, before, passedMs)
      return
    }
    if (waits) this.standing.set(lane, { committedEnd, forMs: 0, isTold: false })
    else this.standing.delete(lane)
    if (before?.isTold === true && lane.failure === undefined) this.parts.resumed(lane)
  }

  private stands(lane: L, standing: Standing, passedMs: number): void {
    standing.forMs += passedMs
    if (standing.isTold || standing.forMs < this.stallMs + lane.settings.lingerMs) return
    standing.isTold = true
    const since = new Date(this.parts.clock.now() - standing.forMs).toISOString()
    this.parts.stalled(lane, `the disk has not answered since ${since}: a write does not return`)
  }
}
