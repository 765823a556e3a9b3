/**
 * Reads the body of a control packet from front to back. Nothing throws: past the end, or at a
 * string that MQTT does not allow, the reader is broken and every further value is empty.
 */
import { isMqttString } from './properties.ts'

export class BodyReader {
  readonly bytes: Buffer
  readonly end: number
  at: number
  /** A value was cut short or not allowed. */
  isBroken = false

  constructor(bytes: Buffer, at: number, end: number) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  get isAtEnd(): boolean {
    return this.at === this.end
  }

  byte(): number {
    const at = this.take(1)
    return at < 0 ? 0 : (this.bytes[at] as number)
  }

  uint16(): number {
    const at = this.take(2)
    return at < 0 ? 0 : this.bytes.readUInt16BE(at)
  }

  uint32(): number {
    const at = this.take(4)
    return at < 0 ? 0 : this.bytes.readUInt32BE(at)
  }

  /** A variable byte integer, as short as it can be [MQTT-1.5.5-1]. */
  varint(): number {
    let value = 0
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.byte()
      value += (byte & 127) << shift
      if (byte >= 128) continue
      if (byte === 0 && shift > 0) break
      return value
    }
    this.isBroken = true
    return 0
  }

  /** Binary data behind its length: a view. */
  binary(): Buffer {
    const length = this.uint16()
    const at = this.take(length)
    return at < 0 ? this.bytes.subarray(0, 0) : this.bytes.subarray(at, at + length)
  }

  /** A UTF-8 string behind its length [MQTT-1.5.4-1] [MQTT-1.5.4-2]. */
  string(): string {
    const view = this.binary()
    if (!isMqttString(view, 0, view.length)) this.isBroken = true
    return this.isBroken ? '' : view.toString('utf8')
  }

  /** The reader of a block behind its length as a variable byte integer: a property block. */
  block(): BodyReader {
    const length = this.varint()
    const at = this.take(length)
    return new BodyReader(this.bytes, Math.max(at, 0), at < 0 ? 0 : at + length)
  }

  private take(size: number): number {
    if (this.isBroken || this.at + size > this.end) {
      this.isBroken = true
      return -1
    }
    const at = this.at
    this.at += size
    return at
  }
}
