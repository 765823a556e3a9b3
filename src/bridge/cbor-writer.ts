/**
 * Writes CBOR (RFC 8949) of a fixed shape into one growing buffer. Written by hand, because cbor-x
 * wants an object per record and copies each payload twice; here a payload is copied once, and
 * nothing is allocated but now and then a larger buffer.
 */
const UINT = 0x00
const NEGATIVE = 0x20
const BYTES = 0x40
const TEXT = 0x60
const ARRAY = 0x80
const MAP = 0xa0
const TRUE = 0xf5
const FALSE = 0xf4
/** Above this `Buffer.write` is faster than a loop. */
const LOOP_CHARACTERS_MAX = 24
/** A head and its argument. */
const HEAD_MAX = 9
const TWO_32 = 2 ** 32

export class CborWriter {
  private buffer: Buffer
  private at = 0

  constructor(capacity: number) {
    this.buffer = Buffer.allocUnsafeSlow(Math.max(64, capacity))
  }

  get sizeBytes(): number {
    return this.at
  }

  /** Forgets what was written behind `sizeBytes`. */
  cut(sizeBytes: number): void {
    this.at = sizeBytes
  }

  /** A view of what was written, valid until more is. */
  written(): Buffer {
    return this.buffer.subarray(0, this.at)
  }

  /** Hands the memory over: the writer goes on with a new buffer as large. */
  take(): Buffer {
    const written = this.written()
    this.buffer = Buffer.allocUnsafeSlow(this.buffer.length)
    this.at = 0
    return written
  }

  map(pairs: number): void {
    this.head(MAP, pairs)
  }

  array(items: number): void {
    this.head(ARRAY, items)
  }

  /** An array whose length is told later by `setArray` at the place that is returned. */
  openArray(): number {
    this.reserve(HEAD_MAX)
    this.buffer[this.at] = ARRAY | 26
    const place = this.at
    this.at += 5
    return place
  }

  setArray(place: number, items: number): void {
    this.buffer.writeUInt32BE(items, place + 1)
  }

  boolean(value: boolean): void {
    this.reserve(1)
    this.buffer[this.at++] = value ? TRUE : FALSE
  }

  /** A whole number within 2^53. */
  integer(value: number): void {
    if (value >= 0) this.head(UINT, value)
    else this.head(NEGATIVE, -1 - value)
  }

  text(text: string): void {
    const { length } = text
    if (length < LOOP_CHARACTERS_MAX && this.shortAscii(text)) return
    const bytes = Buffer.byteLength(text)
    this.head(TEXT, bytes)
    this.reserve(bytes)
    this.at += this.buffer.write(text, this.at)
  }

  /** The byte string bytes[from, to). */
  bytes(bytes: Uint8Array, from: number, to: number): void {
    const length = to - from
    this.head(BYTES, length)
    this.reserve(length)
    const { buffer, at } = this
    // A call of set() costs more than a loop over what fits into a line or two.
    if (length <= 48) for (let i = 0; i < length; i++) buffer[at + i] = bytes[from + i] as number
    else buffer.set(bytes.subarray(from, to), at)
    this.at += length
  }

  /** Writes nothing and returns false when a character is not ASCII. */
  private shortAscii(text: string): boolean {
    this.reserve(1 + LOOP_CHARACTERS_MAX)
    const { buffer } = this
    let to = this.at + 1
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      if (unit > 127) return false
      buffer[to++] = unit
    }
    buffer[this.at] = TEXT | text.length
    this.at = to
    return true
  }

  private head(major: number, value: number): void {
    this.reserve(HEAD_MAX)
    const { buffer, at } = this
    if (value < 24) {
      buffer[at] = major | value
      this.at = at + 1
    } else if (value < 256) {
      buffer[at] = major | 24
      buffer[at + 1] = value
      this.at = at + 2
    } else if (value < 65_536) {
      buffer[at] = major | 25
      buffer[at + 1] = value >>> 8
      buffer[at + 2] = value & 255
      this.at = at + 3
    } else if (value < TWO_32) {
      buffer[at] = major | 26
      buffer.writeUInt32BE(value, at + 1)
      this.at = at + 5
    } else {
      buffer[at] = major | 27
      buffer.writeUInt32BE(Math.floor(value / TWO_32), at + 1)
      buffer.writeUInt32BE(value % TWO_32, at + 5)
      this.at = at + 9
    }
  }

  private reserve(more: number): void {
    const needed = this.at + more
    if (needed <= this.buffer.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2))
    this.buffer.copy(larger, 0, 0, this.at)
    this.buffer = larger
  }
}
