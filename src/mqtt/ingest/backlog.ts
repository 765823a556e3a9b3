/**
 * What all publishers together have waiting for the disk, by stream. Past a stream's limit nobody
 * who publishes to it is read until half of it is written: TCP then holds them back, and no message
 * is refused or lost. Those who publish to other streams go on (G7).
 *
 * A stream may have three times as much waiting as is free beside it: so one that cannot be written
 * takes three quarters of all, two take three sevenths each, and there is always room for the
 * others, however many fail. The sum never passes the limit by more than a packet for each
 * publisher; and where it does, each stream still has its floor.
 */
import type { Publisher } from './publisher.ts'

const TIMES_FREE = 3

/** One stream's share. */
class Share {
  bytes = 0
  readonly held = new Set<Publisher>()
}

export class Backlog {
  private readonly bytesMax: number
  private readonly floorBytes: number
  private readonly shares = new Map<string, Share>()
  /** Those that publishers are held for: mostly none, so that a removal looks at nothing. */
  private readonly holding = new Set<Share>()
  private bytes = 0

  constructor(bytesMax: number, streamCount: number) {
    this.bytesMax = bytesMax
    this.floorBytes = bytesMax / (4 * streamCount)
  }

  /** Whether a stream has too much waiting. */
  isFull(stream: string): boolean {
    return this.shareOf(stream).bytes >= this.limitBytes
  }

  add(stream: string, bytes: number): void {
    this.bytes += bytes
    this.shareOf(stream).bytes += bytes
  }

  remove(stream: string, bytes: number): void {
    this.bytes -= bytes
    this.shareOf(stream).bytes -= bytes
    if (this.holding.size > 0) this.release()
  }

  /** `publisher` is told by `resume` once there is room in the stream again. */
  hold(publisher: Publisher, stream: string): void {
    const share = this.shareOf(stream)
    share.held.add(publisher)
    this.holding.add(share)
  }

  forget(publisher: Publisher): void {
    for (const share of this.holding) share.held.delete(publisher)
  }

  private get limitBytes(): number {
    return Math.max(this.floorBytes, TIMES_FREE * (this.bytesMax - this.bytes))
  }

  private release(): void {
    for (const share of [...this.holding]) {
      if (share.bytes * 2 > this.limitBytes) continue
      this.holding.delete(share)
      const waiting = [...share.held]
      share.held.clear()
      for (const publisher of waiting) publisher.resume()
    }
  }

  private shareOf(stream: string): Share {
    let share = this.shares.get(stream)
    if (share === undefined) {
      share = new Share()
      this.shares.set(stream, share)
    }
    return share
  }
}
