/**
 * The readings in a device's memory: those that wait, and before them those that are under way.
 *
 * M1. Together they never take more than the budget, each with its topic, payload and 24 bytes of
 *     management.
 * M2. The drop rule decides when a reading does not fit: `oldest` gives up the oldest ones that are
 *     not under way, `newest` gives up the reading that came. What is under way is never given up.
 * M3. They leave in the order in which they came.
 */
export const dropRules = ['oldest', 'newest'] as const
export type DropRule = (typeof dropRules)[number]

export interface Stored {
  readonly seq: number
  readonly topic: string
  readonly contentType: string
  readonly retain: boolean
  readonly payload: Buffer
}

const managementBytes = 24
/** Taken entries are cut off the array when they are so many: shift() on each would be slow. */
const compactAt = 64

export class Ram {
  readonly budgetBytes: number
  private readonly rule: DropRule
  private entries: Stored[] = []
  private head = 0
  private usedBytes = 0

  constructor(budgetBytes: number, rule: DropRule) {
    this.budgetBytes = budgetBytes
    this.rule = rule
  }

  /** Readings that wait. */
  get waiting(): number {
    return this.entries.length - this.head
  }

  /** Of those that wait and those under way. */
  get sizeBytes(): number {
    return this.usedBytes
  }

  /** Stores a reading; `dropped` is told of each one that is given up for it (M2). */
  store(reading: Stored, dropped: (reading: Stored) => void): void {
    const size = sizeOf(reading)
    while (this.rule === 'oldest' && this.usedBytes + size > this.budgetBytes) {
      const oldest = this.take()
      if (oldest === undefined) break
      this.release(oldest)
      dropped(oldest)
    }
    if (this.usedBytes + size > this.budgetBytes) {
      dropped(reading)
      return
    }
    this.usedBytes += size
    this.entries.push(reading)
  }

  /** The oldest that waits is under way from now on, until `release` or `putBack`. */
  take(): Stored | undefined {
    const reading = this.entries[this.head]
    if (reading === undefined) return undefined
    this.head += 1
    if (this.head >= compactAt && this.head * 2 >= this.entries.length) {
      this.entries = this.entries.slice(this.head)
      this.head = 0
    }
    return reading
  }

  /** What was under way is done with: its memory is free. */
  release(reading: Stored): void {
    this.usedBytes -= sizeOf(reading)
  }

  /** Everything under way waits again, before all else. */
  putBack(readings: readonly Stored[]): void {
    this.entries = [...readings, ...this.entries.slice(this.head)]
    this.head = 0
  }

  /** The power has gone: all that waited, oldest first. What is under way must be released. */
  lose(): Stored[] {
    const lost = this.entries.slice(this.head)
    for (const reading of lost) this.release(reading)
    this.entries = []
    this.head = 0
    return lost
  }
}

function sizeOf({ topic, payload }: Stored): number {
  return topic.length + payload.length + managementBytes
}
