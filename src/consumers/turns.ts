/**
 * Who may work on history, and when. Consumers that are far behind could keep the main thread busy
 * for minutes; ingest runs on the same thread. So their work is cut into slices:
 *
 * T1. In a turn of the event loop history gets one slice, divided among all who want to work: no
 *     replay starves another, and sockets are read between two slices.
 * T2. While publishers wait for the disk, a slice is short and followed by a rest of nine times its
 *     length: history costs ingest a tenth of the main thread at most.
 */
import type { Clock } from '../base/clock.ts'

export interface Task {
  /** Works until about `untilUs` of monotonic time; true when it could go on at once. */
  work(untilUs: number): boolean
}

/** Long enough to send some hundred messages, short enough that nobody notices a slice. */
const SLICE_US = 2000
/** While publishers wait: with the rest behind it, a cycle of 5 ms. */
const BUSY_SLICE_US = 500
const REST_FACTOR = 9
/** A task gets this much even when many share a slice. */
const SHARE_US_MIN = 100
/** This much that is not on disk yet means that publishers wait for their acknowledgements. */
const BUSY_BACKLOG_BYTES = 16 * 1024

export class Turns {
  private readonly clock: Clock
  private readonly source: { readonly backlogBytes: number }
  private readonly tasks = new Set<Task>()
  private afterSlice: () => void = () => undefined
  /** Monotonic; 0: there is none. */
  private restUntilUs = 0
  private scheduled = false
  private closed = false

  constructor(clock: Clock, source: { readonly backlogBytes: number }) {
    this.clock = clock
    this.source = source
  }

  /** The task has work; it is asked in its turn, once if it was added twice. */
  add(task: Task): void {
    this.tasks.add(task)
    this.schedule()
  }

  /** Called at the end of each slice: what it does counts as a part of the slice (T2). */
  onSlice(afterSlice: () => void): void {
    this.afterSlice = afterSlice
  }

  remove(task: Task): void {
    this.tasks.delete(task)
  }

  close(): void {
    this.closed = true
    this.tasks.clear()
  }

  private schedule(): void {
    if (this.scheduled || this.closed || this.tasks.size === 0) return
    this.scheduled = true
    const run = (): void => this.slice()
    const restUs = this.restUntilUs === 0 ? 0 : this.restUntilUs - this.clock.monotonicUs()
    if (restUs < 1000) setImmediate(run)
    // Rounded up: a timer cuts off fractions of a millisecond.
    else setTimeout(run, Math.ceil(restUs / 1000))
  }

  private slice(): void {
    this.scheduled = false
    const isBusy = this.source.backlogBytes > BUSY_BACKLOG_BYTES
    const begunUs = this.clock.monotonicUs()
    const endUs = begunUs + (isBusy ? BUSY_SLICE_US : SLICE_US)
    const turn = [...this.tasks]
    let nowUs = begunUs
    for (const [index, task] of turn.entries()) {
      if (nowUs >= endUs && index > 0) break
      const shareUs = Math.max(SHARE_US_MIN, (endUs - nowUs) / (turn.length - index))
      // Off the list and on again: a Set keeps the order of arrival, so that all take turns.
      if (!this.tasks.delete(task)) continue
      if (task.work(nowUs + shareUs)) this.tasks.add(task)
      nowUs = this.clock.monotonicUs()
    }
    this.afterSlice()
    nowUs = this.clock.monotonicUs()
    // Also for a task that has no room now and comes back at once.
    this.restUntilUs = isBusy ? nowUs + (nowUs - begunUs) * REST_FACTOR : 0
    this.schedule()
  }
}
