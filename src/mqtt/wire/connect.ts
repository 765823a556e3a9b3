/**
 * CONNECT [MQTT-3.1], checked byte by byte before the protocol library sees it: the library takes
 * ids that are no UTF-8, wills with QoS 3 and properties that end the process when the will is due.
 */
import { randomUUID } from 'node:crypto'
import type { LimitName, MqttLimits } from '../limits.ts'
import { BodyReader } from './body-reader.ts'
import { PacketType, Property, Reason, varintBytes, writeVarint } from './packets.ts'
import { readProperties } from './property-block.ts'
import { refusingConnack } from './reason-string.ts'

const CONNECT_PROPERTIES: ReadonlySet<number> = new Set([
  Property.sessionExpiry,
  Property.receiveMaximum,
  Property.maximumPacketSize,
  Property.topicAliasMaximum,
  Property.requestResponseInformation,
  Property.requestProblemInformation,
  Property.userProperty,
  Property.authenticationMethod,
  Property.authenticationData,
])

const WILL_PROPERTIES: ReadonlySet<number> = new Set([
  Property.willDelay,
  Property.payloadFormat,
  Property.messageExpiry,
  Property.contentType,
  Property.responseTopic,
  Property.correlationData,
  Property.userProperty,
])

export type ConnectVerdict =
  | {
      readonly kind: 'valid'
      readonly version: number
      readonly will: ConnectWill | undefined
      /** [MQTT-3.1.2-4] */
      readonly cleanStart: boolean
      /** How long the session outlives the connection, as the client asks; 0xffffffff: for ever. */
      readonly sessionExpiryS: number
      readonly credentials: Credentials
      readonly asked: ConnectAsked
      /** Where the client id stands, its length included. */
      readonly idAt: number
    }
  | {
      readonly kind: 'refused'
      /** CONNACK that says so; undefined: the connection is closed without one [MQTT-3.1.4-1]. */
      readonly connack: Uint8Array | undefined
      readonly sentence: string
      readonly limit?: LimitName
    }

/** What else a client asks for; of MQTT 3 as if MQTT 5's properties were not there. */
export interface ConnectAsked {
  /** The client had no id; `credentials` has the one that it was given [MQTT-3.1.3-6]. */
  readonly isAssignedId: boolean
  /** What it is held to instead of its own keep-alive, seconds [MQTT-3.2.2-21]. */
  readonly serverKeepAliveS: number | undefined
  /** The largest packet that it takes [MQTT-3.1.2-24]; undefined: any. */
  readonly packetBytesMax: number | undefined
  /** The topic aliases that it takes [MQTT-3.1.2-26]. */
  readonly topicAliasMaximum: number
  /** [MQTT-3.1.2-28] */
  readonly wantsResponseInformation: boolean
  /** [MQTT-3.1.2-29] */
  readonly wantsProblemInformation: boolean
}

export interface ConnectWill {
  /** As a whole PUBLISH packet of the client's version. */
  readonly packet: Buffer
  readonly delayS: number
  /** What of CONNECT is the will: its flags, and its part of the payload. */
  readonly flagsAt: number
  readonly from: number
  readonly to: number
}

/** Flags of CONNECT that speak of the will. */
const WILL_FLAGS = 0x3c

/**
 * A copy of a valid CONNECT's body `bytes[bodyAt, end)` as a packet for the protocol library: with
 * the id that a client without one was given, with the keep-alive that it is held to, and without
 * its will, because wills are published by us alone.
 */
export function forLibrary(
  bytes: Buffer,
  bodyAt: number,
  end: number,
  { idAt, will, credentials, asked }: ValidConnect,
): Buffer {
  const id = Buffer.from(credentials.clientId)
  const idEnd = idAt + 2 + bytes.readUInt16BE(idAt)
  const body = Buffer.concat([
    bytes.subarray(bodyAt, idAt),
    Buffer.of(id.length >> 8, id.length & 255),
    id,
    bytes.subarray(idEnd, will?.from ?? end),
    bytes.subarray(will?.to ?? end, end),
  ])
  const packet = Buffer.alloc(1 + varintBytes(body.length) + body.length)
  packet[0] = PacketType.connect << 4
  const ownBodyAt = writeVarint(packet, body.length, 1)
  body.copy(packet, ownBodyAt)
  const { serverKeepAliveS } = asked
  if (serverKeepAliveS !== undefined) packet.writeUInt16BE(serverKeepAliveS, ownBodyAt + 8)
  if (will !== undefined) {
    const flagsAt = ownBodyAt + will.flagsAt - bodyAt
    packet[flagsAt] = (packet[flagsAt] as number) & ~WILL_FLAGS
  }
  return packet
}

/** Who a client says it is; the password is a copy of its own. */
export interface Credentials {
  /** The client's own, or the one that it is given. */
  readonly clientId: string
  readonly user: string | undefined
  readonly password: Uint8Array | undefined
}

/** Checks the body of a CONNECT. */
export function checkConnect(
  bytes: Buffer,
  bodyAt: number,
  end: number,
  limits: MqttLimits,
): ConnectVerdict {
  const body = new BodyReader(bytes, bodyAt, end)
  const name = body.string()
  const version = body.byte()
  if (body.isBroken) return refused(undefined, 'CONNECT is cut short')
  const known = (name === 'MQTT' && (version === 4 || version === 5)) || isVersion3(name, version)
  if (!known) {
    // [MQTT-3.1.2-1] [MQTT-3.1.2-2]
    const connack = name === 'MQTT' || name === 'MQIsdp' ? Uint8Array.of(0x20, 2, 0, 1) : undefined
    return refused(connack, `protocol ${JSON.stringify(name)} of level ${version} is not supported`)
  }
  return new ConnectCheck(body, version, limits).verdict()
}

function isVersion3(name: string, version: number): boolean {
  return name === 'MQIsdp' && version === 3
}

export type ValidConnect = Extract<ConnectVerdict, { kind: 'valid' }>
type RefusedConnect = Extract<ConnectVerdict, { kind: 'refused' }>

function refused(connack: Uint8Array | undefined, sentence: string): RefusedConnect {
  return { kind: 'refused', connack, sentence }
}

class ConnectCheck {
  private readonly body: BodyReader
  private readonly version: number
  private readonly limits: MqttLimits

  constructor(body: BodyReader, version: number, limits: MqttLimits) {
    this.body = body
    this.version = version
    this.limits = limits
  }

  verdict(): ConnectVerdict {
    const { body, version } = this
    const flagsAt = body.at
    const flags = body.byte()
    const cleanStart = (flags & 2) !== 0
    // Without a session that ends with the connection, MQTT 3 has one that never ends.
    let sessionExpiryS = version < 5 && !cleanStart ? SESSION_NEVER_EXPIRES_S : 0
    const keepAliveS = body.uint16()
    const fault = this.flagsFault(flags)
    if (fault !== undefined) return this.refuse(Reason.malformedPacket, fault)
    let numbers: ReadonlyMap<number, number> = NO_NUMBERS
    if (version === 5) {
      const properties = readProperties(body.block(), CONNECT_PROPERTIES)
      if (properties.kind === 'invalid') {
        return this.refuse(properties.reason, `CONNECT: ${properties.sentence}`)
      }
      const refusal = this.authenticationRefused(properties.present)
      if (refusal !== undefined) return refusal
      numbers = properties.numbers
      sessionExpiryS = numbers.get(Property.sessionExpiry) ?? 0
    }
    const idAt = body.at
    const id = body.string()
    const idFault = this.idFault(id, cleanStart)
    if (idFault !== undefined) return idFault
    const will = (flags & 4) === 0 ? undefined : this.will(flags, flagsAt)
    if (will !== undefined && 'sentence' in will) return this.refuse(will.reason, will.sentence)
    const user = (flags & 0x80) === 0 ? undefined : body.string()
    const password = (flags & 0x40) === 0 ? undefined : Uint8Array.from(body.binary())
    if (body.isBroken || !body.isAtEnd) {
      return this.refuse(Reason.malformedPacket, 'CONNECT is malformed')
    }
    const credentials = { clientId: id === '' ? assignedId() : id, user, password }
    const asked = askedIn(numbers, id === '', this.keepAliveHeldTo(keepAliveS))
    return { kind: 'valid', version, will, cleanStart, sessionExpiryS, credentials, asked, idAt }
  }

  /** Authentication beyond user and password is not there [MQTT5 4.12]. */
  private authenticationRefused(present: ReadonlySet<number>): RefusedConnect | undefined {
    if (present.has(Property.authenticationMethod)) {
      const sentence = 'authentication methods are not supported'
      return this.refuse(Reason.badAuthenticationMethod, sentence)
    }
    return present.has(Property.authenticationData)
      ? this.refuse(Reason.protocolError, 'CONNECT has authentication data and no method')
      : undefined
  }

  /** Only MQTT 5 can be told to be heard of more often than it meant to. */
  private keepAliveHeldTo(keepAliveS: number): number | undefined {
    const { keepAliveMaxS } = this.limits
    if (this.version < 5 || keepAliveMaxS === 0) return undefined
    return keepAliveS === 0 || keepAliveS > keepAliveMaxS ? keepAliveMaxS : undefined
  }

  private idFault(id: string, cleanStart: boolean): RefusedConnect | undefined {
    const { version } = this
    const { clientIdBytesMax } = this.limits
    if (id === '' && !cleanStart && version < 5 && !this.body.isBroken) {
      // [MQTT-3.1.3-8]
      return this.refuse(Reason.clientIdentifierNotValid, 'a session needs a client id')
    }
    if (Buffer.byteLength(id) <= clientIdBytesMax) return undefined
    const sentence = `the client id is longer than ${clientIdBytesMax} bytes`
    return { ...this.refuse(Reason.clientIdentifierNotValid, sentence), limit: 'client-id' }
  }

  private flagsFault(flags: number): string | undefined {
    const willQos = (flags >> 3) & 3
    if ((flags & 1) !== 0) return 'CONNECT has its reserved flag set' // [MQTT-3.1.2-3]
    if (willQos === 3) return 'the will has QoS 3' // [MQTT-3.1.2-14]
    if ((flags & 4) === 0 && (flags & 0x38) !== 0) return 'CONNECT has will flags and no will'
    if (this.version < 5 && (flags & 0xc0) === 0x40) {
      return 'CONNECT has a password and no user name' // [MQTT-3.1.2-22]
    }
    return undefined
  }

  /** The will as a PUBLISH, without its delay, which is an agreement and not a property of it. */
  private will(flags: number, flagsAt: number): ConnectWill | WillFault {
    const { body, version } = this
    const willAt = body.at
    let delayS = 0
    let properties: Buffer = body.bytes.subarray(0, 0)
    if (version === 5) {
      const block = body.block()
      const from = block.at
      const verdict = readProperties(block, WILL_PROPERTIES)
      if (verdict.kind === 'invalid') {
        return { reason: verdict.reason, sentence: `the will: ${verdict.sentence}` }
      }
      properties = withoutDelay(body.bytes, from, block.end)
      delayS = verdict.numbers.get(Property.willDelay) ?? 0
    }
    const topic = body.binary()
    const payload = body.binary()
    const retain = (flags & 0x20) !== 0
    const packet = publishPacket((flags >> 3) & 3, retain, version, topic, properties, payload)
    return { packet, delayS, flagsAt, from: willAt, to: body.at }
  }

  /** MQTT 5 can say why; MQTT 3 only that the id is not accepted. */
  private refuse(reason: number, sentence: string): RefusedConnect {
    if (this.version === 5) return refused(refusingConnack(reason, sentence), sentence)
    const isId = reason === Reason.clientIdentifierNotValid
    return refused(isId ? Uint8Array.of(0x20, 2, 0, 2) : undefined, sentence)
  }
}

const NO_NUMBERS: ReadonlyMap<number, number> = new Map()

/** Unique, so that its session is nobody else's [MQTT-3.2.2-16]. */
function assignedId(): string {
  return `auto-${randomUUID()}`
}

function askedIn(
  numbers: ReadonlyMap<number, number>,
  isAssignedId: boolean,
  serverKeepAliveS: number | undefined,
): ConnectAsked {
  return {
    isAssignedId,
    serverKeepAliveS,
    packetBytesMax: numbers.get(Property.maximumPacketSize),
    topicAliasMaximum: numbers.get(Property.topicAliasMaximum) ?? 0,
    wantsResponseInformation: numbers.get(Property.requestResponseInformation) === 1,
    wantsProblemInformation: numbers.get(Property.requestProblemInformation) !== 0,
  }
}

interface WillFault {
  readonly reason: number
  readonly sentence: string
}

/** [MQTT5 3.1.2.11.2] */
export const SESSION_NEVER_EXPIRES_S = 0xffff_ffff

/** A checked block without its will delay: one byte of identifier and four of value. */
function withoutDelay(bytes: Buffer, from: number, end: number): Buffer {
  const block = new BodyReader(bytes, from, end)
  while (!block.isAtEnd) {
    const at = block.at
    const id = block.varint()
    if (id === Property.willDelay) {
      return Buffer.concat([bytes.subarray(from, at), bytes.subarray(at + 5, end)])
    }
    skipValue(block, id)
  }
  return bytes.subarray(from, end)
}

function skipValue(block: BodyReader, id: number): void {
  if (id === Property.payloadFormat) block.byte()
  else if (id === Property.messageExpiry) block.uint32()
  else {
    block.binary()
    if (id === Property.userProperty) block.binary()
  }
}

function publishPacket(
  qos: number,
  retain: boolean,
  version: number,
  topic: Buffer,
  properties: Buffer,
  payload: Buffer,
): Buffer {
  const propertiesBytes = version === 5 ? varintBytes(properties.length) + properties.length : 0
  const length = 2 + topic.length + (qos > 0 ? 2 : 0) + propertiesBytes + payload.length
  const packet = Buffer.alloc(1 + varintBytes(length) + length)
  packet[0] = (PacketType.publish << 4) | (qos << 1) | (retain ? 1 : 0)
  let at = writeVarint(packet, length, 1)
  at = packet.writeUInt16BE(topic.length, at)
  at += topic.copy(packet, at)
  // Nobody acknowledges it; the decoder wants an identifier that is not 0.
  if (qos > 0) at = packet.writeUInt16BE(1, at)
  if (version === 5) {
    at = writeVarint(packet, properties.length, at)
    at += properties.copy(packet, at)
  }
  payload.copy(packet, at)
  return packet
}
