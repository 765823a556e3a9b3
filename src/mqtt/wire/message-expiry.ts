/**
 * The lifetime of messages [MQTT5 3.3.2.3.3]: it counts down while a message waits, is forwarded as
 * what is left of it [MQTT-3.3.2-6], and a message whose time has passed is not sent
 * [MQTT-3.3.2-5].
 */
import type { Clock } from '../../base/clock.ts'
import type { LogRecord } from '../../log/log.ts'
import { Property } from './packets.ts'

/** A message without a lifetime. */
export const NEVER = Number.POSITIVE_INFINITY

/**
 * Says what is left of a message. One for all clients: a message goes to many of them one after the
 * other, and its properties are walked once.
 */
export class MessageExpiry {
  private readonly clock: Clock
  private readonly boot: number
  private last: LogRecord | undefined
  /** Of the record that was asked about last: where its bytes hold the lifetime; -1: nowhere. */
  at = -1

  /** `boot`: this run of the process; records of others count by wall time. */
  constructor(clock: Clock, boot: number) {
    this.clock = clock
    this.boot = boot
  }

  /** Whole seconds that are left, 0 or less when it has expired; NEVER without a lifetime. */
  remainingS(record: LogRecord): number {
    if (record.propertiesAt === record.payloadAt) {
      this.at = -1
      return NEVER
    }
    if (record !== this.last) {
      this.last = record
      this.at = expiryAt(record.bytes, record.propertiesAt, record.payloadAt)
    }
    if (this.at < 0) return NEVER
    return uint32(record.bytes, this.at) - Math.floor(this.ageMs(record) / 1000)
  }

  /** Messages that no stream took say boot 0: they are of this one. */
  private ageMs(record: LogRecord): number {
    const isOfThisBoot = record.boot === this.boot || record.boot === 0
    const ageMs = isOfThisBoot
      ? (this.clock.monotonicUs() - record.monotonicUs) / 1000
      : this.clock.now() - record.timeMs
    return Math.max(0, ageMs)
  }
}

/** Where a checked property block holds the message expiry's four bytes; -1 without one. */
export function expiryAt(bytes: Uint8Array, from: number, end: number): number {
  let at = from
  while (at < end) {
    const id = bytes[at++]
    if (id === Property.messageExpiry) return at
    if (id === Property.payloadFormat) at += 1
    else if (id === Property.topicAlias) at += 2
    else {
      if (id === Property.userProperty) at += 2 + uint16(bytes, at)
      at += 2 + uint16(bytes, at)
    }
  }
  return -1
}

function uint16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
}

function uint32(bytes: Uint8Array, at: number): number {
  return uint16(bytes, at) * 65_536 + uint16(bytes, at + 2)
}
