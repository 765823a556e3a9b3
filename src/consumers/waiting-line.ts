/**
 * What waits in a queue, by priority: 0 goes first, 9 last. So that 9 is not kept waiting for ever,
 * a message counts as if it had come 10 s later for each step of its priority: a 9 goes before a 0
 * that came more than 90 s after it. What is given back goes before what is new in its priority.
 */
import { Deque } from '../base/deque.ts'

export const PRIORITIES = 10
export const PRIORITY_DEFAULT = 4
/** One step of priority is worth this much waiting. */
export const AGING_US = 10_000_000

export interface InLine {
  readonly priority: number
  /** Monotonic, when it came. */
  readonly sinceUs: number
  /** False: it is done meanwhile and is passed over. */
  readonly isWaiting: boolean
}

interface Places<T> {
  readonly again: Deque<T>
  readonly fresh: Deque<T>
}

export class WaitingLine<T extends InLine> {
  private readonly places: readonly Places<T>[] = Array.from({ length: PRIORITIES }, () => ({
    again: new Deque<T>(),
    fresh: new Deque<T>(),
  }))

  push(entry: T): void {
    this.places[entry.priority]?.fresh.push(entry)
  }

  giveBack(entry: T): void {
    this.places[entry.priority]?.again.push(entry)
  }

  /** Who is next; it stays in the line. */
  peek(): T | undefined {
    let next: T | undefined
    let dueUs = Number.POSITIVE_INFINITY
    for (const [priority, { again, fresh }] of this.places.entries()) {
      const first = waitingIn(again) ?? waitingIn(fresh)
      if (first === undefined) continue
      const firstDueUs = first.sinceUs + priority * AGING_US
      if (firstDueUs >= dueUs) continue
      next = first
      dueUs = firstDueUs
    }
    return next
  }

  /** Takes what `peek` gave out of the line. */
  shift(entry: T): void {
    const places = this.places[entry.priority]
    if (places?.again.peek() === entry) places.again.shift()
    else if (places?.fresh.peek() === entry) places.fresh.shift()
  }

  clear(): void {
    for (const { again, fresh } of this.places) {
      again.clear()
      fresh.clear()
    }
  }
}

function waitingIn<T extends InLine>(entries: Deque<T>): T | undefined {
  for (let first = entries.peek(); first !== undefined; first = entries.peek()) {
    if (first.isWaiting) return first
    entries.shift()
  }
  return undefined
}
