/**
 * CONNECT [MQTT-3.1], checked byte by byte before the protocol library sees it: the library takes
 * ids that are no UTF-8, wills with QoS 3 and properties that end the process when the will is due.
 */
import type { LimitName, MqttLimits } from '../limits.ts'
import { BodyReader } from './body-reader.ts'
import { PacketType, Property, Reason, varintBytes, writeVarint } from './packets.ts'
import { readProperties } from './property-block.ts'

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
    }
  | {
      readonly kind: 'refused'
      /** CONNACK that says so; undefined: the connection is closed without one [MQTT-3.1.4-1]. */
      readonly connack: Uint8Array | undefined
      readonly sentence: string
      readonly limit?: LimitName
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
 * A copy of the CONNECT `bytes[at, end)` without its will, for the protocol library: wills are
 * published by us alone.
 */
export function withoutWill(
  bytes: Buffer,
  at: number,
  bodyAt: number,
  end: number,
  { flagsAt, from, to }: ConnectWill,
): Buffer {
  const length = end - bodyAt - (to - from)
  const packet = Buffer.alloc(1 + varintBytes(length) + length)
  packet[0] = bytes[at] as number
  const ownBodyAt = writeVarint(packet, length, 1)
  bytes.copy(packet, ownBodyAt, bodyAt, from)
  bytes.copy(packet, ownBodyAt + from - bodyAt, to, end)
  packet[ownBodyAt + flagsAt - bodyAt] = (bytes[flagsAt] as number) & ~WILL_FLAGS
  return packet
}

/** Who a client says it is; the password is a copy of its own. */
export interface Credentials {
  /** Empty: the gateway is to choose one. */
  readonly clientId: string
  readonly user: string | undefined
  readonly password: Uint8Array | undefined
}

/** Checks the body of a CONNECT. */
export function checkConnect(
  bytes: Buffer,
  bodyAt: number,
  end: number,
  { clientIdBytesMax }: MqttLimits,
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
  return new ConnectCheck(body, version, clientIdBytesMax).verdict()
}

function isVersion3(name: string, version: number): boolean {
  return name === 'MQIsdp' && version === 3
}

type RefusedConnect = Extract<ConnectVerdict, { kind: 'refused' }>

function refused(connack: Uint8Array | undefined, sentence: string): RefusedConnect {
  return { kind: 'refused', connack, sentence }
}

class ConnectCheck {
  private readonly body: BodyReader
  private readonly version: number
  private readonly clientIdBytesMax: number

  constructor(body: BodyReader, version: number, clientIdBytesMax: number) {
    this.body = body
    this.version = version
    this.clientIdBytesMax = clientIdBytesMax
  }

  verdict(): ConnectVerdict {
    const { body, version } = this
    const flagsAt = body.at
    const flags = body.byte()
    const cleanStart = (flags & 2) !== 0
    // Without a session that ends with the connection, MQTT 3 has one that never ends.
    let sessionExpiryS = version < 5 && !cleanStart ? SESSION_NEVER_EXPIRES_S : 0
    body.uint16()
    const fault = this.flagsFault(flags)
    if (fault !== undefined) return this.refuse(Reason.malformedPacket, fault)
    if (version === 5) {
      const properties = readProperties(body.block(), CONNECT_PROPERTIES)
      if (properties.kind === 'invalid') {
        return this.refuse(properties.reason, `CONNECT: ${properties.sentence}`)
      }
      sessionExpiryS = properties.numbers.get(Property.sessionExpiry) ?? 0
    }
    const id = body.string()
    if (Buffer.byteLength(id) > this.clientIdBytesMax) {
      const sentence = `the client id is longer than ${this.clientIdBytesMax} bytes`
      return { ...this.refuse(Reason.clientIdentifierNotValid, sentence), limit: 'client-id' }
    }
    const will = (flags & 4) === 0 ? undefined : this.will(flags, flagsAt)
    if (will !== undefined && 'sentence' in will) return this.refuse(will.reason, will.sentence)
    const user = (flags & 0x80) === 0 ? undefined : body.string()
    const password = (flags & 0x40) === 0 ? undefined : Uint8Array.from(body.binary())
    if (body.isBroken || !body.isAtEnd) {
      return this.refuse(Reason.malformedPacket, 'CONNECT is malformed')
    }
    const credentials = { clientId: id, user, password }
    return { kind: 'valid', version, will, cleanStart, sessionExpiryS, credentials }
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
    if (this.version === 5) return refused(Uint8Array.of(0x20, 3, 0, reason, 0), sentence)
    const isId = reason === Reason.clientIdentifierNotValid
    return refused(isId ? Uint8Array.of(0x20, 2, 0, 2) : undefined, sentence)
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
