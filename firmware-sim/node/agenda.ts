/**
 * Simulated time, and what is to happen in it. One heap serves all devices: a timer of the system
 * each would cost more than the devices.
 *
 * A1. What is due happens in the order of its times; at equal times, in the order it was planned.
 * A2. Simulated time passes at most `speed` times as fast as real time. When the process cannot
 *     keep up it passes more slowly: nothing is left out and nobody is hurried.
 */
import type { Time } from '../time.ts'

interface Entry {
  readonly atMs: number
  readonly order: number
  readonly run: () => void
}

/** Sockets are served between two turns, each of which takes so long at most. */
const turnMs = 8
const idleMs = 4

export class Agenda {
  readonly speed: number
  private readonly time: Time
  private readonly heap: Entry[] = []
  private now: number
  private planned = 0

  /** `startMs`: simulated time at the start, ms since 1970. */
  constructor(time: Time, speed: number, startMs: number) {
    this.time = time
    this.speed = speed
    this.now = startMs
  }

  /** Simulated, ms since 1970. */
  get nowMs(): number {
    return this.now
  }

  /** Plans `run` for `delayMs` of simulated time from now. */
  after(delayMs: number, run: () => void): void {
    this.planned += 1
    push(this.heap, { atMs: this.now + Math.max(0, delayMs), order: this.planned, run })
  }

  /** As `after`, in real time: for what the network and not the device's day decides. */
  afterReal(delayMs: number, run: () => void): void {
    this.after(delayMs * this.speed, run)
  }

  /** Lets time pass until `signal` aborts, or simulated time comes to `endMs`. */
  async run(signal: AbortSignal, endMs = Number.POSITIVE_INFINITY): Promise<void> {
    let [baseMs, realMs] = [this.now, this.time.nowMs()]
    while (!signal.aborted && this.now < endMs) {
      const beganMs = this.time.nowMs()
      const dueMs = Math.min(endMs, baseMs + (beganMs - realMs) * this.speed)
      if (this.turn(dueMs, beganMs + turnMs)) {
        this.now = dueMs
        await this.time.sleep(idleMs, signal)
      } else {
        // Behind: time goes on from here.
        baseMs = this.now
        realMs = this.time.nowMs()
        await this.time.sleep(0, signal)
      }
    }
  }

  /** Does what is due; false when it had to stop before the end of it. */
  private turn(dueMs: number, untilRealMs: number): boolean {
    for (let done = 1; (this.heap[0]?.atMs ?? Number.POSITIVE_INFINITY) <= dueMs; done += 1) {
      const entry = pop(this.heap)
      if (entry === undefined) return true
      this.now = Math.max(this.now, entry.atMs)
      entry.run()
      // Reading a clock costs more than most entries.
      if (done % 16 === 0 && this.time.nowMs() > untilRealMs) return false
    }
    return true
  }
}

const isBefore = (a: Entry, b: Entry): boolean =>
  a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)

function push(heap: Entry[], entry: Entry): void {
  let at = heap.length
  heap.push(entry)
  while (at > 0) {
    const above = (at - 1) >> 1
    const parent = heap[above]
    if (parent === undefined || !isBefore(entry, parent)) break
    heap[at] = parent
    at = above
  }
  heap[at] = entry
}

function pop(heap: Entry[]): Entry | undefined {
  const first = heap[0]
  const last = heap.pop()
  if (first === undefined || last === undefined || heap.length === 0) return first
  let at = 0
  for (;;) {
    const left = heap[2 * at + 1]
    const right = heap[2 * at + 2]
    if (left === undefined) break
    const [below, child] =
      right !== undefined && isBefore(right, left) ? [2 * at + 2, right] : [2 * at + 1, left]
    if (!isBefore(child, last)) break
    heap[at] = child
    at = below
  }
  heap[at] = last
  return first
}
