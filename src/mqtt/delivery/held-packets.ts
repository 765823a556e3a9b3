/**
 * Packets of a persistent session that must not leave before the window is on disk: QoS 2 messages,
 * because their identifiers must mean the same after a crash, and PUBRELs, because the client
 * forgets the message with them. What comes behind them waits too, so that nothing overtakes.
 *
 * One write covers all that waits when it begins; what comes meanwhile shares the next one.
 */
import { Deque } from '../../base/deque.ts'
import type { Output } from '../wire/output.ts'

/** A round of the disk takes milliseconds; more than this would be a buffer, not a wait. */
const HELD_PACKETS_MAX = 1024
const HELD_BYTES_MAX = 256 * 1024

export interface HeldPacketsParts {
  /** Resolves when the window as it is now is on disk. */
  write(): Promise<void>
  /** The disk refuses: nothing more can be sent. */
  failed(thrown: unknown): void
  /** There may be room again. */
  released(): void
}

export class HeldPackets {
  private readonly output: Output
  private readonly parts: HeldPacketsParts
  private readonly packets = new Deque<Buffer>()
  private sizeBytes = 0
  private isWriting = false
  private isScheduled = false
  private closed = false

  constructor(output: Output, parts: HeldPacketsParts) {
    this.output = output
    this.parts = parts
  }

  /** Something waits, and whatever comes now waits behind it. */
  get isHolding(): boolean {
    return this.packets.length > 0
  }

  get isFull(): boolean {
    return this.packets.length >= HELD_PACKETS_MAX || this.sizeBytes >= HELD_BYTES_MAX
  }

  push(packet: Buffer): void {
    this.packets.push(packet)
    this.sizeBytes += packet.length
    this.schedule()
  }

  /** What waits is sent again on the session's next connection, as far as it must be. */
  close(): void {
    this.closed = true
    this.packets.clear()
  }

  /** At the end of the loop turn, when the router and the reader of pages are where they say. */
  private schedule(): void {
    if (this.isWriting || this.isScheduled) return
    this.isScheduled = true
    setImmediate(() => {
      this.isScheduled = false
      if (!this.closed) this.write()
    })
  }

  private write(): void {
    const covered = this.packets.length
    this.isWriting = true
    this.parts.write().then(
      () => this.written(covered),
      (thrown: unknown) => {
        this.isWriting = false
        if (!this.closed) this.parts.failed(thrown)
      },
    )
  }

  private written(covered: number): void {
    this.isWriting = false
    if (this.closed) return
    for (let i = 0; i < covered; i++) {
      const packet = this.packets.shift() as Buffer
      this.sizeBytes -= packet.length
      this.output.bytes(packet)
    }
    if (this.packets.length > 0) this.schedule()
    this.parts.released()
  }
}
