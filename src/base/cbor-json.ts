/**
 * CBOR (RFC 8949) to JSON text, for showing payloads that any device may have sent. Written for
 * this and nothing more: no code is generated, no tag runs anything, integers stay exact whatever
 * their size, and nesting is bounded. Beyond JSON's own kinds:
 *
 *   integers, bignums (tags 2, 3)   all their digits, also past 2^53
 *   byte strings                    base64
 *   NaN, Infinity, undefined        null
 *   time (tag 1)                    an ISO 8601 string; tag 0 is one already
 *   other tags                      what they enclose
 *   map keys that are not text      their JSON text as the key
 */

/** Telemetry nests two or three deep. */
const DEPTH_MAX = 64
/** A number of 2,500 digits; longer ones would take their time to print. */
const BIGNUM_BYTES_MAX = 1024

class NotCbor extends Error {
  override readonly name = 'NotCbor'
}

/**
 * The JSON text of the one array, map or tagged item that fills `bytes`; undefined when they are
 * anything else. Bare numbers and strings, and single bytes, count as something else: too much that
 * is not CBOR looks like them.
 */
export function cborToJson(bytes: Uint8Array, declared = false): string | undefined {
  const major = (bytes[0] ?? 0) >> 5
  if (!declared && (bytes.length < 2 || major < 4 || major > 6)) return undefined
  try {
    const reader = new CborReader(bytes)
    const json = reader.item(0)
    return reader.atEnd ? json : undefined
  } catch (error) {
    if (error instanceof NotCbor) return undefined
    throw error
  }
}

interface Head {
  readonly major: number
  /** The low five bits. */
  readonly info: number
  /** The argument; 0 for an indefinite length. */
  readonly value: bigint
  readonly indefinite: boolean
}

class CborReader {
  private readonly bytes: Uint8Array
  private readonly view: DataView
  private at = 0

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get atEnd(): boolean {
    return this.at === this.bytes.length
  }

  /** The JSON text of the next item. */
  item(depth: number): string {
    if (depth > DEPTH_MAX) throw new NotCbor('nested too deep')
    const head = this.head()
    switch (head.major) {
      case 0:
        return String(head.value)
      case 1:
        return String(-1n - head.value)
      case 2:
        return `"${Buffer.from(this.string(head)).toString('base64')}"`
      case 3:
        return JSON.stringify(this.text(head))
      case 4:
        return `[${this.items(head, () => this.item(depth + 1)).join(',')}]`
      case 5:
        return `{${this.items(head, () => this.entry(depth + 1)).join(',')}}`
      case 6:
        return this.tagged(head, depth + 1)
      default:
        return this.simple(head)
    }
  }

  private entry(depth: number): string {
    const isText = (this.peek() & 0xe0) === 0x60
    const key = this.item(depth)
    return `${isText ? key : JSON.stringify(key)}:${this.item(depth)}`
  }

  private items(head: Head, next: () => string): string[] {
    const items: string[] = []
    if (head.indefinite) {
      while (!this.takeBreak()) items.push(next())
      return items
    }
    // A count larger than the bytes that are left runs into their end.
    for (let count = 0n; count < head.value; count += 1n) items.push(next())
    return items
  }

  private tagged(head: Head, depth: number): string {
    if (head.value === 2n || head.value === 3n) return this.bignum(head.value === 3n)
    const json = this.item(depth)
    return head.value === 1n ? timeOf(json) : json
  }

  private bignum(negative: boolean): string {
    const head = this.head()
    if (head.major !== 2) throw new NotCbor('a bignum encloses bytes')
    const bytes = this.string(head)
    if (bytes.length > BIGNUM_BYTES_MAX) throw new NotCbor('bignum too long')
    const n = BigInt(`0x0${Buffer.from(bytes).toString('hex')}`)
    return String(negative ? -1n - n : n)
  }

  private simple({ info, value }: Head): string {
    if (info === 20 || info === 21) return info === 21 ? 'true' : 'false'
    if (info === 22 || info === 23) return 'null'
    if (info === 25) return JSON.stringify(halfFloat(Number(value)))
    if (info === 26) return JSON.stringify(this.view.getFloat32(this.at - 4))
    if (info === 27) return JSON.stringify(this.view.getFloat64(this.at - 8))
    throw new NotCbor('an unassigned simple value')
  }

  private text(head: Head): string {
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(this.string(head))
    } catch (error) {
      if (error instanceof TypeError) throw new NotCbor('text that is not UTF-8')
      throw error
    }
  }

  /** The bytes of a byte or text string, its chunks joined. */
  private string(head: Head): Uint8Array {
    if (!head.indefinite) return this.take(head.value)
    const chunks: Uint8Array[] = []
    while (!this.takeBreak()) {
      const chunk = this.head()
      if (chunk.major !== head.major || chunk.indefinite)
        throw new NotCbor('a chunk of another kind')
      chunks.push(this.take(chunk.value))
    }
    return Buffer.concat(chunks)
  }

  private head(): Head {
    const first = this.peek()
    this.at += 1
    const major = first >> 5
    const info = first & 31
    if (info < 24) return { major, info, value: BigInt(info), indefinite: false }
    if (info === 31) {
      if (major < 2 || major > 5) throw new NotCbor('no indefinite length here')
      return { major, info, value: 0n, indefinite: true }
    }
    if (info > 27) throw new NotCbor('a reserved head')
    const argument = this.take(BigInt(1 << (info - 24)))
    const value = BigInt(`0x${Buffer.from(argument).toString('hex')}`)
    return { major, info, value, indefinite: false }
  }

  private takeBreak(): boolean {
    if (this.peek() !== 0xff) return false
    this.at += 1
    return true
  }

  private peek(): number {
    const byte = this.bytes[this.at]
    if (byte === undefined) throw new NotCbor('ends too early')
    return byte
  }

  private take(count: bigint): Uint8Array {
    if (count > BigInt(this.bytes.length - this.at)) throw new NotCbor('ends too early')
    const from = this.at
    this.at += Number(count)
    return this.bytes.subarray(from, this.at)
  }
}

function timeOf(json: string): string {
  const seconds = Number(json)
  const date = new Date(seconds * 1000)
  return Number.isNaN(date.getTime()) ? json : JSON.stringify(date.toISOString())
}

/** IEEE 754 binary16: 1 sign bit, 5 of exponent, 10 of fraction. */
function halfFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return sign * (1024 + fraction) * 2 ** (exponent - 25)
}
