/**
 * A record in memory, and the packed layout that carries it between threads, into the checksum and
 * through the reader's pages. One layout for all of them, so that a payload is copied once on its
 * way in and never re-encoded.
 *
 *   at + 0   u32  size of the entry, a multiple of 8, head included
 *      + 4   u16  index of the stream in the log's list        (not part of the checksum)
 *      + 8   u32  topic ref: the same number means the same topic within a boot  (nor this)
 *      + 12  u32  client ref, likewise                                           (nor this)
 *      + 16  f64  position            ─┐
 *      + 24  f64  offset               │
 *      + 32  f64  wall time, ms        │
 *      + 40  f64  monotonic time, us   │  the checksum (CRC-32) covers these bytes
 *      + 48  u32  boot                 │  up to the end of the payload
 *      + 52  u16  partition            │
 *      + 54  u8   QoS, retain << 2,    │
 *                 will << 3            │
 *      + 55  u8   0                    │
 *      + 56  u16  topic length         │
 *      + 58  u16  client length        │
 *      + 60  u32  properties length    │
 *      + 64  u32  payload length       │
 *      + 68  u16  packet identifier    │
 *      + 70  u16  0                    │
 *      + 72  topic, client, properties, payload, one behind the other  ─┘  then padding
 *
 * Little-endian throughout. Numbers that can pass 2^32 are doubles: exact up to 2^53.
 */
import { assert } from '../base/assert.ts'

declare const positionBrand: unique symbol
declare const offsetBrand: unique symbol
declare const partitionBrand: unique symbol

/**
 * The number of a record in its stream, dense from 0. Exact: a million a second fill 2^53 in 285
 * years.
 */
export type Position = number & { readonly [positionBrand]: true }
/** The number of a record in its partition, dense from 0. */
export type Offset = number & { readonly [offsetBrand]: true }
/** An ordered lane of a stream, from 0. */
export type Partition = number & { readonly [partitionBrand]: true }
export type QoS = 0 | 1 | 2

// Called for each record: the texts of these checks are built only when one fails.

export function asPosition(n: number): Position {
  if (!Number.isSafeInteger(n) || n < 0) assert(false, `position ${n} is a whole number from 0`)
  return n as Position
}

export function asOffset(n: number): Offset {
  if (!Number.isSafeInteger(n) || n < 0) assert(false, `offset ${n} is a whole number from 0`)
  return n as Offset
}

export function asPartition(n: number): Partition {
  if (!Number.isInteger(n) || n < 0 || n >= 65_536) {
    assert(false, `partition ${n} is a whole number below 65536`)
  }
  return n as Partition
}

/** Bytes of an entry before its topic. */
export const HEAD_BYTES = 72
/** Where an entry has the publisher's packet identifier. */
export const PACKET_ID_AT = 68
/** Where an entry says its topic's length. */
export const TOPIC_LENGTH_AT = 56
/** Where the checksummed bytes of an entry begin. */
export const CHECKED_AT = 16

const NONE = new Uint8Array(0)

/**
 * A record as consumers see it. It views memory that the log may take back (the tail cache is
 * bounded): once `inMemory` is false the bytes are gone and only the numbers and names remain.
 */
export class LogRecord {
  readonly stream: string
  readonly position: Position
  readonly partition: Partition
  readonly offset: Offset
  readonly topic: string
  /** The publisher's client id; empty for what the gateway itself wrote. */
  readonly client: string
  readonly qos: QoS
  readonly retain: boolean
  readonly timeMs: number
  readonly boot: number
  readonly monotonicUs: number
  /** The memory around the entry; consumers on the hot path copy ranges of it. */
  bytes: Uint8Array
  readonly topicAt: number
  readonly propertiesAt: number
  readonly payloadAt: number
  readonly payloadEnd: number
  inMemory = true
  /** The publisher's packet identifier of a QoS 2 message; 0 for all others. */
  readonly packetId: number
  /** Published by the gateway for a client that was lost. */
  readonly will: boolean

  constructor(
    stream: string,
    position: Position,
    partition: Partition,
    offset: Offset,
    topic: string,
    client: string,
    qos: QoS,
    retain: boolean,
    timeMs: number,
    boot: number,
    monotonicUs: number,
    bytes: Uint8Array,
    topicAt: number,
    propertiesAt: number,
    payloadAt: number,
    payloadEnd: number,
    packetId = 0,
    will = false,
  ) {
    this.stream = stream
    this.position = position
    this.partition = partition
    this.offset = offset
    this.topic = topic
    this.client = client
    this.qos = qos
    this.retain = retain
    this.timeMs = timeMs
    this.boot = boot
    this.monotonicUs = monotonicUs
    this.bytes = bytes
    this.topicAt = topicAt
    this.propertiesAt = propertiesAt
    this.payloadAt = payloadAt
    this.payloadEnd = payloadEnd
    this.packetId = packetId
    this.will = will
  }

  /** A view, valid only while `inMemory`. */
  get payload(): Uint8Array {
    return this.bytes.subarray(this.payloadAt, this.payloadEnd)
  }

  /**
   * The MQTT 5 property block as published, without its length; empty when there was none. A view.
   */
  get properties(): Uint8Array {
    return this.bytes.subarray(this.propertiesAt, this.payloadAt)
  }

  /** Where the topic's bytes end; valid while `inMemory`. */
  get topicEnd(): number {
    const at = this.topicAt - HEAD_BYTES + TOPIC_LENGTH_AT
    return this.topicAt + ((this.bytes[at] as number) | ((this.bytes[at + 1] as number) << 8))
  }

  /** Bytes it counts with against limits: payload, properties and names. */
  get sizeBytes(): number {
    return this.payloadEnd - this.topicAt
  }

  /** For the log: the memory is being used again. */
  evict(): void {
    this.inMemory = false
    this.bytes = NONE
  }
}
