/** Takes PUBACK, PUBREC and PUBCOMP out of what a broker sends, however its chunks are cut. */

const ACKS: ReadonlySet<number> = new Set([4, 5, 7])

export class AckFilter {
  private readonly drops: () => boolean
  /** The fixed header so far; empty between packets and within a body. */
  private header: number[] = []
  private bodyLeft = 0
  private isDropping = false

  /** `drops` is asked once for each ack. */
  constructor(drops: () => boolean) {
    this.drops = drops
  }

  private get mayDrop(): boolean {
    return ACKS.has((this.header[0] ?? 0) >> 4)
  }

  /** What of a chunk goes on. */
  pass(chunk: Buffer): Buffer {
    const parts: Buffer[] = []
    let at = 0
    while (at < chunk.length) {
      if (this.bodyLeft > 0) {
        const end = Math.min(chunk.length, at + this.bodyLeft)
        if (!this.isDropping) parts.push(chunk.subarray(at, end))
        this.bodyLeft -= end - at
        at = end
        continue
      }
      const byte = chunk[at++] as number
      this.header.push(byte)
      // What is no ack goes on at once, so that nothing but an ack ever waits for its rest.
      if (!this.mayDrop) parts.push(chunk.subarray(at - 1, at))
      // The type, then the remaining length, whose last byte is below 128.
      if (this.header.length === 1 || byte >= 128) continue
      const isHeld = this.mayDrop
      this.isDropping = isHeld && this.drops()
      this.bodyLeft = this.header
        .slice(1)
        .reduce((length, digit, index) => length + (digit & 127) * 128 ** index, 0)
      if (isHeld && !this.isDropping) parts.push(Buffer.from(this.header))
      this.header = []
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts)
  }
}
