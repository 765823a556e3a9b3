/**
 * PUBLISH, both ways [MQTT-3.3]. Inbound it is decoded in place: the parts are ranges of the read
 * chunk, and the topic is looked up by its bytes, because a publisher mostly repeats itself.
 * Outbound it is written straight into the subscriber's output.
 */
import type { EventLog, LogRecord, QoS, Route } from '../../log/log.ts'
import { topicFault } from '../../log/topics.ts'
import type { LimitName, MqttLimits } from '../limits.ts'
import { PacketType, Reason, varintBytes, writeVarint } from './packets.ts'
import { checkPublishProperties, isMqttString } from './properties.ts'

/** A decoded PUBLISH; one object per connection, overwritten by the next. */
export class InboundPublish {
  qos: QoS = 0
  retain = false
  dup = false
  route: Route | undefined
  packetId = 0
  propertiesAt = 0
  propertiesEnd = 0
  payloadAt = 0
}

/** What is wrong with a packet: `reason` for MQTT 5; `fatal` says that the connection must end. */
export interface PacketFault {
  readonly reason: number
  readonly sentence: string
  readonly fatal: boolean
  /** The limit that was met. */
  readonly limit?: LimitName
}

const fatal = (reason: number, sentence: string): PacketFault => ({ reason, sentence, fatal: true })
const MALFORMED = fatal(Reason.malformedPacket, 'PUBLISH is cut short')
const BAD_QOS = fatal(Reason.malformedPacket, 'PUBLISH has QoS 3') // [MQTT-3.3.1-4]
const BAD_DUP = fatal(Reason.malformedPacket, 'PUBLISH with QoS 0 has DUP set') // [MQTT-3.3.1-2]
const BAD_ID = fatal(Reason.protocolError, 'PUBLISH has packet identifier 0') // [MQTT-2.3.1-1]
const BAD_PROPERTIES = fatal(Reason.malformedPacket, 'PUBLISH has malformed properties')
const PROPERTY_ERROR = fatal(Reason.protocolError, 'PUBLISH has a property that is not allowed')
const ALIAS = fatal(Reason.topicAliasInvalid, 'topic aliases were not offered') // [MQTT-3.3.2-9]
const BAD_UTF8 = fatal(Reason.malformedPacket, 'the topic is not valid UTF-8') // [MQTT-3.3.2-1]

/** Decodes the PUBLISHes of one connection. */
export class PublishDecoder {
  readonly packet = new InboundPublish()
  private readonly log: EventLog
  private readonly version: number
  private readonly limits: MqttLimits
  private lastRoute: Route | undefined

  constructor(log: EventLog, version: number, limits: MqttLimits) {
    this.log = log
    this.version = version
    this.limits = limits
  }

  /** Fills `packet` from a body; a fault leaves it without meaning. */
  decode(first: number, bytes: Buffer, at: number, end: number): PacketFault | undefined {
    const packet = this.packet
    const qos = (first >> 1) & 3
    if (qos === 3) return BAD_QOS
    packet.qos = qos as QoS
    packet.retain = (first & 1) === 1
    packet.dup = (first & 8) !== 0
    if (packet.dup && qos === 0) return BAD_DUP
    if (end - at < 2) return MALFORMED
    const topicAt = at + 2
    let next = topicAt + (((bytes[at] as number) << 8) | (bytes[at + 1] as number))
    if (next > end) return MALFORMED
    const topicEnd = next
    if (qos > 0) {
      if (next + 2 > end) return MALFORMED
      packet.packetId = ((bytes[next] as number) << 8) | (bytes[next + 1] as number)
      if (packet.packetId === 0) return BAD_ID
      next += 2
    }
    if (this.version === 5) {
      const fault = this.properties(bytes, next, end)
      if (fault !== undefined) return fault
    } else {
      packet.propertiesAt = next
      packet.propertiesEnd = next
      packet.payloadAt = next
    }
    return this.topic(bytes, topicAt, topicEnd)
  }

  private properties(bytes: Buffer, at: number, end: number): PacketFault | undefined {
    let length = 0
    let next = at
    for (let shift = 0; ; shift += 7) {
      if (next >= end || shift > 21) return MALFORMED
      const byte = bytes[next++] as number
      length += (byte & 127) << shift
      if (byte < 128) break
    }
    const packet = this.packet
    packet.propertiesAt = next
    packet.propertiesEnd = next + length
    packet.payloadAt = next + length
    if (packet.payloadAt > end) return MALFORMED
    const verdict = checkPublishProperties(bytes, next, next + length)
    if (verdict.kind === 'malformed') return BAD_PROPERTIES
    if (verdict.kind === 'protocol-error') return PROPERTY_ERROR
    return verdict.topicAlias === undefined ? undefined : ALIAS
  }

  private topic(bytes: Buffer, at: number, end: number): PacketFault | undefined {
    const last = this.lastRoute
    if (last !== undefined && sameBytes(last.topicBytes, bytes, at, end)) {
      this.packet.route = last
      return undefined
    }
    if (!isMqttString(bytes, at, end)) return BAD_UTF8
    const name = bytes.toString('utf8', at, end)
    const fault = this.topicRefused(name)
    if (fault !== undefined) return fault
    this.lastRoute = this.log.route(name)
    this.packet.route = this.lastRoute
    return undefined
  }

  private topicRefused(name: string): PacketFault | undefined {
    const fault = topicFault(name)
    if (fault !== undefined) return fatal(Reason.topicNameInvalid, `the topic ${fault}`)
    const met = topicLimitMet(name, this.limits)
    // MQTT 5 can refuse one message; MQTT 3.1.1 can only end the connection.
    if (met !== undefined) {
      const sentence = `the topic ${met.sentence}`
      const { limit } = met
      return { reason: Reason.topicNameInvalid, sentence, fatal: this.version < 5, limit }
    }
    if (name.startsWith('$')) {
      return { reason: Reason.notAuthorized, sentence: 'topics with $ are reserved', fatal: false }
    }
    return undefined
  }
}

/** Why a valid topic name is more than Sluice takes; undefined when it is not. */
export function topicLimitMet(
  name: string,
  { topicBytesMax, topicLevelsMax }: MqttLimits,
): { readonly limit: LimitName; readonly sentence: string } | undefined {
  if (Buffer.byteLength(name) > topicBytesMax) {
    return { limit: 'topic', sentence: `is longer than ${topicBytesMax} bytes` }
  }
  if (levelsOf(name) > topicLevelsMax) {
    return { limit: 'topic-levels', sentence: `has more than ${topicLevelsMax} levels` }
  }
  return undefined
}

function levelsOf(topic: string): number {
  let levels = 1
  for (let i = 0; i < topic.length; i++) if (topic.charCodeAt(i) === 0x2f) levels++
  return levels
}

/** Byte by byte: topics are short, and a native compare costs two views. */
function sameBytes(known: Uint8Array, bytes: Buffer, at: number, end: number): boolean {
  const length = end - at
  if (known.length !== length) return false
  for (let i = 0; i < length; i++) if (known[i] !== bytes[at + i]) return false
  return true
}

/** How a record is sent to one client: filled anew for each message, so that none is made. */
export class OutboundPublish {
  record: LogRecord | undefined
  qos: QoS = 0
  retain = false
  dup = false
  packetId = 0
  /** MQTT 5 only; empty otherwise. */
  subscriptionIds: readonly number[] = []
  /** Encoded properties that come behind the publisher's; MQTT 5 only, empty otherwise. */
  extra: Uint8Array = new Uint8Array(0)
  /** Where the record's bytes hold its message expiry; -1: nowhere. */
  expiryAt = -1
  /** What is left of it, seconds [MQTT-3.3.2-6]. */
  remainingS = 0
}

/** Bytes of the whole packet, or of its remaining length; both follow from the same parts. */
export function remainingLengthOf(
  record: LogRecord,
  version: number,
  qos: QoS,
  subscriptionIds: readonly number[],
  extraBytes: number,
): number {
  const topicBytes = record.topicEnd - record.topicAt
  const remaining = 2 + topicBytes + (qos > 0 ? 2 : 0) + (record.payloadEnd - record.payloadAt)
  if (version < 5) return remaining
  const properties = record.payloadAt - record.propertiesAt + idsBytes(subscriptionIds) + extraBytes
  return remaining + varintBytes(properties) + properties
}

/** Writes the packet at `at` and returns its end; the caller reserved the room. */
export function writePublish(
  target: Buffer,
  at: number,
  out: OutboundPublish,
  version: number,
  remainingLength: number,
): number {
  const { qos } = out
  const record = out.record as LogRecord
  target[at] = (PacketType.publish << 4) | (out.dup ? 8 : 0) | (qos << 1) | (out.retain ? 1 : 0)
  let next = writeVarint(target, remainingLength, at + 1)
  const topicBytes = record.topicEnd - record.topicAt
  target[next++] = topicBytes >> 8
  target[next++] = topicBytes & 255
  next = copyRange(record.bytes, record.topicAt, record.topicEnd, target, next)
  if (qos > 0) {
    target[next++] = out.packetId >> 8
    target[next++] = out.packetId & 255
  }
  if (version === 5) {
    const own = record.payloadAt - record.propertiesAt
    next = writeVarint(target, own + idsBytes(out.subscriptionIds) + out.extra.length, next)
    if (out.expiryAt >= 0) next = copyProperties(out, target, next)
    else next = copyRange(record.bytes, record.propertiesAt, record.payloadAt, target, next)
    if (out.extra.length > 0) next = copyRange(out.extra, 0, out.extra.length, target, next)
    for (const id of out.subscriptionIds) {
      target[next++] = 11 // Subscription Identifier [MQTT-3.3.4-3]
      next = writeVarint(target, id, next)
    }
  }
  return copyRange(record.bytes, record.payloadAt, record.payloadEnd, target, next)
}

/** The publisher's properties with what is left of the message's lifetime. */
function copyProperties(out: OutboundPublish, target: Buffer, at: number): number {
  const { expiryAt } = out
  const record = out.record as LogRecord
  const end = copyRange(record.bytes, record.propertiesAt, record.payloadAt, target, at)
  target.writeUInt32BE(out.remainingS, at + expiryAt - record.propertiesAt)
  return end
}

function idsBytes(ids: readonly number[]): number {
  let total = 0
  for (const id of ids) total += 1 + varintBytes(id)
  return total
}

/** Below 40 bytes a loop is cheaper than making the view that a native copy needs. */
function copyRange(
  source: Uint8Array,
  from: number,
  to: number,
  target: Uint8Array,
  at: number,
): number {
  if (to - from < 40) {
    let next = at
    for (let i = from; i < to; i++) target[next++] = source[i] as number
    return next
  }
  target.set(source.subarray(from, to), at)
  return at + to - from
}
