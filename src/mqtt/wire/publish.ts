/**
 * PUBLISH, both ways [MQTT-3.3]. Inbound it is decoded in place: the parts are ranges of the read
 * chunk, and the topic is looked up by its bytes, because a publisher mostly repeats itself.
 * Outbound it is written straight into the subscriber's output.
 */
import type { EventLog, LogRecord, QoS, Route } from '../../log/log.ts'
import { topicFault } from '../../log/topics.ts'
import type { LimitName, MqttLimits } from '../limits.ts'
import { PacketType, Property, Reason, varintBytes, writeVarint } from './packets.ts'
import { checkPublishProperties, isMqttString } from './properties.ts'
import { InboundAliases } from './topic-aliases.ts'

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
const BAD_ALIAS = fatal(Reason.topicAliasInvalid, 'PUBLISH has a topic alias beyond those offered')
const UNKNOWN_ALIAS = fatal(Reason.protocolError, 'PUBLISH has no topic and an alias without one')
const BAD_UTF8 = fatal(Reason.malformedPacket, 'the topic is not valid UTF-8') // [MQTT-3.3.2-1]

const NO_TOPIC = fatal(Reason.protocolError, 'PUBLISH has neither a topic nor a topic alias')

/** A topic alias with its identifier. */
const ALIAS_BYTES = 3

/** Decodes the PUBLISHes of one connection. */
export class PublishDecoder {
  readonly packet = new InboundPublish()
  private readonly log: EventLog
  private readonly version: number
  private readonly limits: MqttLimits
  private readonly aliases: InboundAliases
  private lastRoute: Route | undefined
  /** Of the packet at hand; 0: it has none. */
  private alias = 0

  /** `topicAliasMaximum`: what the client was told of them. */
  constructor(log: EventLog, version: number, limits: MqttLimits, topicAliasMaximum = 0) {
    this.log = log
    this.version = version
    this.limits = limits
    this.aliases = new InboundAliases(topicAliasMaximum)
  }

  /**
   * Fills `packet` from a body; a fault leaves it without meaning. A topic alias is taken out of
   * the properties, in place: it means something on this connection only [MQTT-3.3.2-7].
   */
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
    return this.alias === 0
      ? this.topic(bytes, topicAt, topicEnd)
      : this.aliased(bytes, topicAt, topicEnd)
  }

  /** The topic of a message with an alias, which it gets or brings [MQTT5 3.3.2.3.4]. */
  private aliased(bytes: Buffer, at: number, end: number): PacketFault | undefined {
    const { alias, aliases, packet } = this
    this.alias = 0
    if (at === end) {
      const meaning = aliases.get(alias)
      if (meaning === undefined) return UNKNOWN_ALIAS
      if ('sentence' in meaning) return meaning
      packet.route = meaning
      return undefined
    }
    const fault = this.topic(bytes, at, end)
    const meaning = fault ?? packet.route
    if (meaning !== undefined) aliases.set(alias, meaning)
    return fault
  }

  private properties(bytes: Buffer, at: number, end: number): PacketFault | undefined {
    let length = 0
    let next = at
    for (let shift = 0; ; shift += 7) {
      if (next >= end || shift > 21) return MALFORMED
      const byte = bytes[next++] as number
      length += (byte & 127) << shift
      if (byte >= 128) continue
      if (byte === 0 && shift > 0) return MALFORMED // [MQTT-1.5.5-1]
      break
    }
    const packet = this.packet
    packet.propertiesAt = next
    packet.propertiesEnd = next + length
    packet.payloadAt = next + length
    if (packet.payloadAt > end) return MALFORMED
    const verdict = checkPublishProperties(bytes, next, next + length)
    if (verdict.kind === 'malformed') return BAD_PROPERTIES
    if (verdict.kind === 'protocol-error') return PROPERTY_ERROR
    if (verdict.topicAlias === undefined) return undefined
    // [MQTT-3.3.2-8] [MQTT-3.3.2-9]
    if (verdict.topicAlias === 0 || verdict.topicAlias > this.aliases.maximum) return BAD_ALIAS
    this.alias = verdict.topicAlias
    bytes.copyWithin(next + ALIAS_BYTES, next, verdict.aliasAt)
    packet.propertiesAt += ALIAS_BYTES
    return undefined
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
    if (name === '' && this.version === 5) return NO_TOPIC
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
  /** Topic alias; 0: none. */
  alias = 0
  /** The client knows the alias: the topic is left out. */
  isTopicKnown = false
  /** MQTT 5 only; empty otherwise. */
  subscriptionIds: readonly number[] = []
  /** Encoded properties that come behind the publisher's; MQTT 5 only, empty otherwise. */
  extra: Uint8Array = new Uint8Array(0)
  /** Where the record's bytes hold its message expiry; -1: nowhere. */
  expiryAt = -1
  /** What is left of it, seconds [MQTT-3.3.2-6]. */
  remainingS = 0
}

/** The remaining length of the packet that `out` becomes. */
export function remainingLengthOf(out: OutboundPublish, version: number): number {
  const record = out.record as LogRecord
  const topicBytes = out.isTopicKnown ? 0 : record.topicEnd - record.topicAt
  const remaining = 2 + topicBytes + (out.qos > 0 ? 2 : 0) + (record.payloadEnd - record.payloadAt)
  if (version < 5) return remaining
  const properties = propertiesBytes(out, record)
  return remaining + varintBytes(properties) + properties
}

function propertiesBytes(out: OutboundPublish, record: LogRecord): number {
  const own = record.payloadAt - record.propertiesAt
  const alias = out.alias > 0 ? ALIAS_BYTES : 0
  return own + idsBytes(out.subscriptionIds) + out.extra.length + alias
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
  const topicBytes = out.isTopicKnown ? 0 : record.topicEnd - record.topicAt
  target[next++] = topicBytes >> 8
  target[next++] = topicBytes & 255
  next = copyRange(record.bytes, record.topicAt, record.topicAt + topicBytes, target, next)
  if (qos > 0) {
    target[next++] = out.packetId >> 8
    target[next++] = out.packetId & 255
  }
  if (version === 5) {
    next = writeVarint(target, propertiesBytes(out, record), next)
    if (out.expiryAt >= 0) next = copyProperties(out, target, next)
    else next = copyRange(record.bytes, record.propertiesAt, record.payloadAt, target, next)
    if (out.extra.length > 0) next = copyRange(out.extra, 0, out.extra.length, target, next)
    for (const id of out.subscriptionIds) {
      target[next++] = Property.subscriptionIdentifier // [MQTT-3.3.4-3]
      next = writeVarint(target, id, next)
    }
    if (out.alias > 0) {
      target[next++] = Property.topicAlias
      target[next++] = out.alias >> 8
      target[next++] = out.alias & 255
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
