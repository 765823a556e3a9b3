/**
 * Cuts the byte stream of one connection into MQTT control packets.
 *
 * F1. A packet over the limit is refused from its fixed header, before its body is held.
 * F2. What is held between reads is at most one incomplete packet plus one read chunk, in memory
 *     that grows with what has really arrived: a header that promises 256 KiB costs nothing yet.
 * F3. The bytes given to the sink are views on the read chunk: whoever keeps them copies.
 */

/** A packet: `bytes[at, end)` whole, its body from `bodyAt`. Answers whether to go on cutting. */
export type FrameSink = (
  first: number,
  bytes: Buffer,
  at: number,
  bodyAt: number,
  end: number,
) => boolean

export type FrameFault = 'malformed' | 'too-large'

export class FrameReader {
  /** A packet over this is refused; may be raised later. */
  packetBytesMax: number
  private held: Buffer | undefined
  private heldEnd = 0

  constructor(packetBytesMax: number) {
    this.packetBytesMax = packetBytesMax
  }

  /** Memory of what is held between reads. */
  get heldBytes(): number {
    return this.held?.length ?? 0
  }

  /** Forgets what is held. */
  clear(): void {
    this.held = undefined
    this.heldEnd = 0
  }

  /**
   * Cuts the held bytes and `chunk`; a fault ends the connection. Called with nothing to resume.
   */
  read(chunk: Buffer | undefined, sink: FrameSink): FrameFault | undefined {
    let bytes = chunk
    let end = chunk?.length ?? 0
    if (this.held !== undefined) {
      if (chunk !== undefined) this.hold(chunk, 0)
      bytes = this.held
      end = this.heldEnd
    }
    if (bytes === undefined) return undefined
    let at = 0
    let goOn = true
    while (goOn && at < end) {
      const length = this.remainingLength(bytes, at + 1, end)
      if (length === 'malformed' || length === 'too-large') return length
      if (length === 'incomplete') break
      const bodyAt = this.bodyAt
      if (bodyAt + length - at > this.packetBytesMax) return 'too-large'
      if (bodyAt + length > end) break
      goOn = sink(bytes[at] as number, bytes, at, bodyAt, bodyAt + length)
      at = bodyAt + length
    }
    this.keep(bytes, at, end)
    return undefined
  }

  /**
   * Where the body began in the last `remainingLength`: a field, so that no tuple is made per
   * packet.
   */
  private bodyAt = 0

  /** The variable byte integer at `at`, at most four bytes [MQTT-2.2.3-1] [MQTT5 1.5.5-1]. */
  private remainingLength(
    bytes: Buffer,
    at: number,
    end: number,
  ): number | 'incomplete' | FrameFault {
    let length = 0
    let shift = 0
    for (let i = at; i < end; i++) {
      const byte = bytes[i] as number
      length += (byte & 127) << shift
      if (byte < 128) {
        this.bodyAt = i + 1
        return length
      }
      shift += 7
      if (shift > 21) return 'malformed'
    }
    return 'incomplete'
  }

  private keep(bytes: Buffer, at: number, end: number): void {
    if (at === end) {
      this.clear()
    } else if (bytes === this.held) {
      bytes.copyWithin(0, at, end)
      this.heldEnd = end - at
    } else {
      this.held = Buffer.allocUnsafeSlow(end - at)
      bytes.copy(this.held, 0, at, end)
      this.heldEnd = end - at
    }
  }

  private hold(chunk: Buffer, at: number): void {
    const size = this.heldEnd + chunk.length - at
    const held = this.held as Buffer
    if (size > held.length) {
      this.held = Buffer.allocUnsafeSlow(Math.max(size, held.length * 2))
      held.copy(this.held, 0, 0, this.heldEnd)
    }
    chunk.copy(this.held as Buffer, this.heldEnd, at)
    this.heldEnd = size
  }
}
