/**
 * SUBSCRIBE and UNSUBSCRIBE [MQTT-3.8] [MQTT-3.10] and their answers. Ours, because the protocol
 * library joins equal filters and sorts ones that look like numbers, so that the codes of its
 * SUBACK do not stand in the order of the filters [MQTT-3.9.3-1].
 */
import type { QoS } from '../../log/log.ts'
import { filterFault } from '../../log/topics.ts'
import { askedConsumer, type ConsumerOptions, shareFault } from '../consumers/asked.ts'
import type { ConsumerSubscription } from '../consumers/subscription.ts'
import type { Subscription } from '../delivery/subscriptions.ts'
import type { LimitName, MqttLimits } from '../limits.ts'
import { BodyReader } from './body-reader.ts'
import { PacketType, Property, Reason, varintBytes, writeVarint } from './packets.ts'
import { type PropertyBlock, readProperties } from './property-block.ts'
import { type PacketFault, topicLimitMet } from './publish.ts'
import type { ReasonStrings } from './reason-string.ts'

const SUBSCRIBE_PROPERTIES: ReadonlySet<number> = new Set([
  Property.subscriptionIdentifier,
  Property.userProperty,
])
const UNSUBSCRIBE_PROPERTIES: ReadonlySet<number> = new Set([Property.userProperty])
const DISCONNECT_PROPERTIES: ReadonlySet<number> = new Set([
  Property.sessionExpiry,
  Property.reasonString,
  Property.userProperty,
])

/** A filter that is asked for, or the code with which it is refused. */
export type Asked =
  | {
      readonly kind: 'subscription'
      readonly subscription: Subscription
      /** 0: retained messages, 1: only for a new subscription, 2: none [MQTT5 3.8.3.1]. */
      readonly retainHandling: number
    }
  | { readonly kind: 'consumer'; readonly subscription: ConsumerSubscription }
  | {
      readonly kind: 'refused'
      readonly reason: number
      readonly limit?: LimitName
      /** Says more than the reason does. */
      readonly sentence?: string
    }

export type AskedSubscription = Extract<Asked, { kind: 'subscription' }>

export interface SubscribePacket {
  readonly packetId: number
  readonly asked: readonly Asked[]
}

export interface UnsubscribePacket {
  readonly packetId: number
  readonly filters: readonly string[]
}

function fault(reason: number, sentence: string): PacketFault {
  return { reason, sentence, fatal: true }
}

export function isFault(packet: object): packet is PacketFault {
  return 'sentence' in packet
}

/** Reads a SUBSCRIBE; a fault ends the connection. */
export function readSubscribe(
  bytes: Buffer,
  bodyAt: number,
  end: number,
  version: number,
  limits: MqttLimits,
): SubscribePacket | PacketFault {
  const body = new BodyReader(bytes, bodyAt, end)
  const head = readHead(body, version, SUBSCRIBE_PROPERTIES)
  if (isFault(head)) return head
  const id = head.properties.get(Property.subscriptionIdentifier)
  const { pairs } = head
  const asked: Asked[] = []
  while (!body.isAtEnd && !body.isBroken) {
    const filter = body.string()
    const options = body.byte()
    if (body.isBroken) break
    const wrong = filterFault(filter) ?? optionsFault(options, version)
    if (wrong !== undefined) return fault(Reason.malformedPacket, `a topic filter ${wrong}`)
    const unshared = version < 5 ? undefined : shareFault(filter, (options & 4) !== 0)
    if (unshared !== undefined) return fault(unshared.reason, unshared.sentence)
    asked.push(askedFor(filter, options, { id, pairs }, version, limits))
  }
  if (body.isBroken) return fault(Reason.malformedPacket, 'SUBSCRIBE is cut short')
  // [MQTT-3.8.3-2]
  if (asked.length === 0) return fault(Reason.protocolError, 'SUBSCRIBE has no filter')
  return { packetId: head.packetId, asked }
}

/** Reads an UNSUBSCRIBE; a fault ends the connection. */
export function readUnsubscribe(
  bytes: Buffer,
  bodyAt: number,
  end: number,
  version: number,
): UnsubscribePacket | PacketFault {
  const body = new BodyReader(bytes, bodyAt, end)
  const head = readHead(body, version, UNSUBSCRIBE_PROPERTIES)
  if (isFault(head)) return head
  const filters: string[] = []
  while (!body.isAtEnd && !body.isBroken) {
    const filter = body.string()
    const wrong = body.isBroken ? undefined : filterFault(filter)
    if (wrong !== undefined) return fault(Reason.malformedPacket, `a topic filter ${wrong}`)
    filters.push(filter)
  }
  if (body.isBroken) return fault(Reason.malformedPacket, 'UNSUBSCRIBE is cut short')
  if (filters.length === 0) return fault(Reason.protocolError, 'UNSUBSCRIBE has no filter')
  return { packetId: head.packetId, filters }
}

/** Reasons that a client may give [MQTT5 3.14.2.1]. */
const CLIENT_DISCONNECTS: ReadonlySet<number> = new Set([
  0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
])

/**
 * Why a DISCONNECT is malformed [MQTT-3.14.1-1]; undefined when it is not. `maySetExpiry`: CONNECT
 * asked for a session that outlives the connection.
 */
export function disconnectFault(
  bytes: Buffer,
  bodyAt: number,
  end: number,
  version: number,
  maySetExpiry: boolean,
): PacketFault | undefined {
  if (bodyAt === end) return undefined
  if (version < 5) return fault(Reason.malformedPacket, 'DISCONNECT has a body')
  const body = new BodyReader(bytes, bodyAt, end)
  const reason = body.byte()
  // [MQTT-3.14.2-1]
  if (!CLIENT_DISCONNECTS.has(reason)) {
    return fault(Reason.protocolError, `DISCONNECT has the reason ${reason}, which says nothing`)
  }
  if (!body.isAtEnd) {
    const properties = readProperties(body.block(), DISCONNECT_PROPERTIES)
    if (properties.kind === 'invalid') return fault(properties.reason, properties.sentence)
    // [MQTT-3.14.2-2]
    if (!maySetExpiry && (properties.numbers.get(Property.sessionExpiry) ?? 0) > 0) {
      return fault(Reason.protocolError, 'DISCONNECT sets a session expiry that CONNECT did not')
    }
  }
  const whole = !body.isBroken && body.isAtEnd
  return whole ? undefined : fault(Reason.malformedPacket, 'DISCONNECT is malformed')
}

/** What SUBACK or UNSUBACK says. */
export interface FiltersAnswer {
  /** One for each filter, in their order [MQTT-3.8.4-6]. */
  readonly codes: readonly number[]
  /** Of the first that was refused, where there is more to say than its code does. */
  readonly sentence?: string | undefined
}

/** SUBACK or UNSUBACK with a code for each filter, in their order [MQTT-3.8.4-6]. */
export function filtersAck(
  type: number,
  packetId: number,
  { codes, sentence }: FiltersAnswer,
  version: number,
  explain: ReasonStrings,
): Uint8Array {
  // UNSUBACK of MQTT 3.1.1 has no codes [MQTT-3.11].
  const said = version < 5 && type === PacketType.unsuback ? [] : codes
  // One string for all filters: about the first that was refused.
  const refused = version === 5 ? codes.find((code) => code >= 0x80) : undefined
  const properties =
    refused === undefined ? NO_BYTES : explain.ofAck(refused, 8 + said.length, sentence)
  const propertiesBytes = version === 5 ? varintBytes(properties.length) + properties.length : 0
  const length = 2 + propertiesBytes + said.length
  const packet = new Uint8Array(1 + varintBytes(length) + length)
  packet[0] = type << 4
  let at = writeVarint(packet, length, 1)
  packet[at++] = packetId >> 8
  packet[at++] = packetId & 255
  if (version === 5) {
    at = writeVarint(packet, properties.length, at)
    packet.set(properties, at)
  }
  packet.set(said, at + properties.length)
  return packet
}

const NO_BYTES = new Uint8Array(0)

interface Head {
  readonly packetId: number
  readonly properties: ReadonlyMap<number, number>
  /** User properties. */
  readonly pairs: readonly (readonly [string, string])[]
}

const NO_PROPERTIES: PropertyBlock = {
  kind: 'valid',
  numbers: new Map(),
  pairs: [],
  present: new Set(),
}

function readHead(
  body: BodyReader,
  version: number,
  allowed: ReadonlySet<number>,
): Head | PacketFault {
  const packetId = body.uint16()
  const properties = version === 5 ? readProperties(body.block(), allowed) : NO_PROPERTIES
  if (body.isBroken) return fault(Reason.malformedPacket, 'the packet is cut short')
  if (packetId === 0) return fault(Reason.protocolError, 'the packet identifier is 0')
  if (properties.kind === 'invalid') return fault(properties.reason, properties.sentence)
  return { packetId, properties: properties.numbers, pairs: properties.pairs }
}

/** [MQTT-3.8.3-4] [MQTT5 3.8.3.1]; options of MQTT 3.1.1 are the QoS alone. */
function optionsFault(options: number, version: number): string | undefined {
  if ((options & 3) === 3) return 'has QoS 3'
  if (version < 5) return options > 2 ? 'has reserved bits set' : undefined
  if ((options & 0xc0) !== 0) return 'has reserved bits set'
  return ((options >> 4) & 3) === 3 ? 'has retain handling 3' : undefined
}

function askedFor(
  filter: string,
  options: number,
  of: Pick<ConsumerOptions, 'id' | 'pairs'>,
  version: number,
  limits: MqttLimits,
): Asked {
  const met = topicLimitMet(filter, limits)
  if (met !== undefined) {
    const reason = version < 5 ? 0x80 : Reason.topicFilterInvalid
    return { kind: 'refused', reason, limit: met.limit }
  }
  const qos = (options & 3) as QoS
  const noLocal = version === 5 && (options & 4) !== 0
  const retainAsPublished = version === 5 && (options & 8) !== 0
  if (filter.startsWith('$')) {
    const consumer = askedConsumer(filter, { ...of, qos, retainAsPublished }, version)
    if (consumer !== undefined) return consumer
  }
  const subscription = { filter, qos, noLocal, retainAsPublished, id: of.id }
  const retainHandling = version === 5 ? (options >> 4) & 3 : 0
  return { kind: 'subscription', subscription, retainHandling }
}
