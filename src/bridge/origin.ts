/**
 * The user properties of a record on its way up, as bytes: what `userProperties` of envelope.ts
 * says, without an object or a string for what is the same in every record.
 */
import type { LogRecord } from '../log/log.ts'
import type { OutboundMessage } from './uplink.ts'

const USER_PROPERTY = 38
const MESSAGE_EXPIRY = 2
/** Of the largest whole number that is exact. */
const DIGITS_MAX = 16

export class OriginProperties {
  private readonly bytes: Buffer
  private readonly fixedEnd: number
  private readonly partition = name('partition')
  private readonly offset = name('offset')
  private readonly time = name('time')
  private readonly historical = pair('historical', 'true')

  constructor(gateway: string, epoch: number, stream: string) {
    const fixed = Buffer.concat([
      pair('gateway', gateway),
      pair('epoch', String(epoch)),
      pair('stream', stream),
    ])
    const numbers = [this.partition, this.offset, this.time]
    const numbersBytes = numbers.reduce((sum, one) => sum + one.length + 2 + DIGITS_MAX, 0)
    this.bytes = Buffer.alloc(fixed.length + numbersBytes + this.historical.length)
    this.fixedEnd = fixed.length
    fixed.copy(this.bytes)
  }

  /** Puts the properties of one record behind those of its publisher. */
  single(message: OutboundMessage, record: LogRecord, isHistorical: boolean): void {
    let at = this.number(this.partition, record.partition, this.fixedEnd)
    at = this.number(this.offset, record.offset, at)
    at = this.number(this.time, Math.round(record.timeMs), at)
    this.end(message, at, isHistorical)
  }

  /** Of a batch, whose records say the rest themselves. */
  batch(message: OutboundMessage, isHistorical: boolean): void {
    this.end(message, this.fixedEnd, isHistorical)
  }

  private end(message: OutboundMessage, at: number, isHistorical: boolean): void {
    let next = at
    if (isHistorical) next += this.historical.copy(this.bytes, next)
    message.extra = this.bytes
    message.extraEnd = next
  }

  private number(key: Buffer, value: number, at: number): number {
    const digits = String(value)
    let next = at
    for (let i = 0; i < key.length; i++) this.bytes[next++] = key[i] as number
    this.bytes[next++] = 0
    this.bytes[next++] = digits.length
    for (let i = 0; i < digits.length; i++) this.bytes[next++] = digits.charCodeAt(i)
    return next
  }
}

/**
 * Where the message expiry interval of a publisher's property block stands (its four bytes); -1
 * without one. The block was checked when it came.
 */
export function expiryAt(block: Uint8Array): number {
  let at = 0
  while (at < block.length) {
    const id = block[at++] as number
    if (id === MESSAGE_EXPIRY) return at + 4 <= block.length ? at : -1
    at = valueEnd(block, id, at)
  }
  return -1
}

/** Of the properties that a PUBLISH may bring [MQTT5 3.3.2.3]; an unknown one ends the walk. */
function valueEnd(block: Uint8Array, id: number, at: number): number {
  const length = (from: number) => ((block[from] ?? 0) << 8) | (block[from + 1] ?? 0)
  switch (id) {
    case 1: // payload format
      return at + 1
    case 3: // content type
    case 8: // response topic
    case 9: // correlation data
      return at + 2 + length(at)
    case USER_PROPERTY: {
      const valueAt = at + 2 + length(at)
      return valueAt + 2 + length(valueAt)
    }
    default:
      return block.length
  }
}

function name(text: string): Buffer {
  return Buffer.concat([Buffer.from([USER_PROPERTY]), mqttString(text)])
}

function pair(key: string, value: string): Buffer {
  return Buffer.concat([name(key), mqttString(value)])
}

function mqttString(text: string): Buffer {
  const bytes = Buffer.from(text)
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes])
}
