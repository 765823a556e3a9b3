/**
 * Reads CBOR (RFC 8949) of a shape that is known, item by item: what is not there is a fault, and
 * nothing is allocated because a length in the bytes says so. A general decoder such as cbor-x
 * makes an array of whatever length an array claims, once per nesting level: five bytes of a
 * hostile message then cost a megabyte.
 */

/** The bytes are not what is expected; the message says what, and where. */
export class CborFault extends Error {
  override readonly name = 'CborFault'
}

const UINT = 0
const NEGATIVE = 1
const BYTES = 2
const TEXT = 3
const ARRAY = 4
const MAP = 5
const SIMPLE = 7
const FALSE = 20
const TRUE = 21

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export class CborReader {
  private readonly bytes: Buffer
  private at = 0

  constructor(bytes: Uint8Array) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  /** Nothing may stand behind the last item. */
  end(): void {
    const left = this.bytes.length - this.at
    if (left > 0) throw new CborFault(`${left} bytes stand behind its end at byte ${this.at}`)
  }

  /** How many pairs follow. */
  map(what: string): number {
    return this.argument(MAP, what, 'a map')
  }

  /** How many items follow. */
  array(what: string): number {
    return this.argument(ARRAY, what, 'an array')
  }

  get isText(): boolean {
    return (this.bytes[this.at] ?? 0) >> 5 === TEXT
  }

  text(what: string): string {
    const bytes = this.string(TEXT, what, 'a text')
    try {
      return utf8.decode(bytes)
    } catch {
      // The only fault that it has.
      throw new CborFault(`${what} is not UTF-8 before byte ${this.at}`)
    }
  }

  /** A view. */
  byteString(what: string): Uint8Array {
    return this.string(BYTES, what, 'a byte string')
  }

  /** A whole number within 2^53. */
  integer(what: string): number {
    const isNegative = (this.bytes[this.at] ?? 0) >> 5 === NEGATIVE
    const number = this.argument(isNegative ? NEGATIVE : UINT, what, 'a whole number')
    return isNegative ? -1 - number : number
  }

  boolean(what: string): boolean {
    const value = this.argument(SIMPLE, what, 'true or false')
    if (value !== FALSE && value !== TRUE) {
      throw new CborFault(`${what} is not true or false before byte ${this.at}`)
    }
    return value === TRUE
  }

  private string(major: number, what: string, kind: string): Buffer {
    const length = this.argument(major, what, kind)
    if (length > this.bytes.length - this.at) {
      const left = this.bytes.length - this.at
      throw new CborFault(`it ends within ${what}: ${length} bytes are due, ${left} are left`)
    }
    this.at += length
    return this.bytes.subarray(this.at - length, this.at)
  }

  /** The argument of the next item's head, which must be of this major type. */
  private argument(major: number, what: string, kind: string): number {
    const { bytes, at } = this
    const head = bytes[at]
    if (head === undefined) throw new CborFault(`it ends before ${what}`)
    if (head >> 5 !== major) throw new CborFault(`${what} is not ${kind} at byte ${at}`)
    const info = head & 31
    this.at = at + 1
    if (info < 24) return info
    const size = 1 << (info - 24)
    if (info > 27) throw new CborFault(`${what} has no definite length at byte ${at}`)
    this.at += size
    if (this.at > bytes.length) throw new CborFault(`it ends within ${what}`)
    if (size <= 4) return bytes.readUIntBE(at + 1, size)
    const number = bytes.readUInt32BE(at + 1) * 2 ** 32 + bytes.readUInt32BE(at + 5)
    if (number > Number.MAX_SAFE_INTEGER) {
      throw new CborFault(`${what} is past 2^53 at byte ${at}`)
    }
    return number
  }
}
