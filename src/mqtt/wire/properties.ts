/**
 * Walks the property block of a PUBLISH [MQTT5 3.3.2.3] without building objects: the log keeps the
 * block as it came, so that the order of user properties survives [MQTT-3.3.2-18], and only what
 * decides something here is read from it.
 */
import { isUtf8 } from 'node:buffer'
import { Property } from './packets.ts'

/** What a PUBLISH's properties may hold, or the reason code with which the packet is refused. */
export type PropertiesVerdict =
  | {
      readonly kind: 'valid'
      readonly topicAlias: number | undefined
      /** Where the alias stands, its identifier included; -1 without one. */
      readonly aliasAt: number
    }
  | { readonly kind: 'malformed' }
  | { readonly kind: 'protocol-error' }

const VALID: PropertiesVerdict = { kind: 'valid', topicAlias: undefined, aliasAt: -1 }
const MALFORMED: PropertiesVerdict = { kind: 'malformed' }
const PROTOCOL_ERROR: PropertiesVerdict = { kind: 'protocol-error' }

/**
 * Checks `bytes[at, end)`: known identifiers, whole values, valid UTF-8, no property but user
 * properties twice [MQTT5 2.2.2.2], no subscription identifier from a client [MQTT-3.3.4-6].
 */
export function checkPublishProperties(bytes: Buffer, at: number, end: number): PropertiesVerdict {
  if (at === end) return VALID
  let seen = 0
  let topicAlias: number | undefined
  let aliasAt = -1
  let next = at
  while (next < end) {
    const id = bytes[next++] as number
    if (id !== Property.userProperty) {
      const bit = id < 32 ? 1 << id : id === Property.topicAlias ? 1 : 0
      if (bit === 0 || id === 0) return MALFORMED
      if ((seen & bit) !== 0) return PROTOCOL_ERROR
      seen |= bit
    }
    const valueEnd = endOfValue(id, bytes, next, end)
    if (valueEnd === undefined) return MALFORMED
    if (id === Property.subscriptionIdentifier) return PROTOCOL_ERROR
    if (id === Property.payloadFormat && (bytes[next] as number) > 1) return PROTOCOL_ERROR
    if (id === Property.responseTopic && hasWildcard(bytes, next + 2, valueEnd)) {
      return PROTOCOL_ERROR
    }
    if (id === Property.topicAlias) {
      topicAlias = bytes.readUInt16BE(next)
      aliasAt = next - 1
    }
    next = valueEnd
  }
  return topicAlias === undefined ? VALID : { kind: 'valid', topicAlias, aliasAt }
}

/** The first value of the user property `name` in a checked block; undefined without one. */
export function userProperty(
  bytes: Buffer,
  at: number,
  end: number,
  name: string,
): string | undefined {
  let next = at
  while (next < end) {
    const id = bytes[next++] as number
    const valueEnd = endOfValue(id, bytes, next, end)
    if (valueEnd === undefined) return undefined
    if (id === Property.userProperty) {
      const nameEnd = next + 2 + bytes.readUInt16BE(next)
      if (bytes.toString('utf8', next + 2, nameEnd) === name) {
        return bytes.toString('utf8', nameEnd + 2, valueEnd)
      }
    }
    next = valueEnd
  }
  return undefined
}

function endOfValue(id: number, bytes: Buffer, at: number, end: number): number | undefined {
  switch (id) {
    case Property.payloadFormat:
      return within(at + 1, end)
    case Property.topicAlias:
      return within(at + 2, end)
    case Property.messageExpiry:
      return within(at + 4, end)
    case Property.subscriptionIdentifier:
      return endOfVarint(bytes, at, end)
    case Property.correlationData:
      return endOfBinary(bytes, at, end)
    case Property.contentType:
    case Property.responseTopic:
      return endOfString(bytes, at, end)
    case Property.userProperty: {
      const nameEnd = endOfString(bytes, at, end)
      return nameEnd === undefined ? undefined : endOfString(bytes, nameEnd, end)
    }
    default:
      return undefined
  }
}

function within(next: number, end: number): number | undefined {
  return next <= end ? next : undefined
}

function endOfVarint(bytes: Buffer, at: number, end: number): number | undefined {
  for (let i = at; i < end && i < at + 4; i++) {
    if ((bytes[i] as number) < 128) return i + 1
  }
  return undefined
}

function endOfBinary(bytes: Buffer, at: number, end: number): number | undefined {
  return at + 2 <= end ? within(at + 2 + bytes.readUInt16BE(at), end) : undefined
}

function endOfString(bytes: Buffer, at: number, end: number): number | undefined {
  const next = endOfBinary(bytes, at, end)
  return next !== undefined && isMqttString(bytes, at + 2, next) ? next : undefined
}

/** Well-formed UTF-8 without the null character [MQTT-1.5.4-1] [MQTT-1.5.4-2]. */
export function isMqttString(bytes: Buffer, at: number, end: number): boolean {
  for (let i = at; i < end; i++) {
    const byte = bytes[i] as number
    if (byte === 0) return false
    if (byte > 127) {
      const text = bytes.subarray(at, end)
      return isUtf8(text) && !text.includes(0)
    }
  }
  return true
}

function hasWildcard(bytes: Buffer, at: number, end: number): boolean {
  for (let i = at; i < end; i++) {
    if (bytes[i] === 0x23 || bytes[i] === 0x2b) return true
  }
  return false
}
