/**
 * CONNACK that accepts [MQTT5 3.2]. Ours, because the protocol library says that shared
 * subscriptions are not there and has its own idea of client ids: in an MQTT 5 CONNACK stands what
 * this gateway does, and nothing that is as the standard assumes it without being told.
 */
import { Property } from './packets.ts'
import { packetOf } from './reason-string.ts'

/** What CONNACK says; undefined: as the client asked, or nothing to say. */
export interface ConnackFacts {
  readonly sessionPresent: boolean
  readonly sessionExpiryS: number | undefined
  readonly receiveMaximum: number
  readonly packetBytesMax: number
  readonly topicAliasMaximum: number
  readonly assignedClientId: string | undefined
  readonly serverKeepAliveS: number | undefined
  readonly responseInformation: string | undefined
}

/**
 * The packet; undefined when the client takes none that says what must be said [MQTT-3.1.2-24].
 * Maximum QoS, Retain Available, Wildcard, Subscription Identifiers and Shared Subscription
 * Available are left out: all of them are there, which is what their absence says.
 */
export function connack(
  version: number,
  facts: ConnackFacts,
  packetBytesMax: number,
): Uint8Array | undefined {
  // To MQTT 3.1 the byte says nothing, and is 0.
  const flags = facts.sessionPresent && version > 3 ? 1 : 0
  if (version < 5) return Uint8Array.of(0x20, 2, flags, 0)
  const needed = [
    uint32(Property.sessionExpiry, facts.sessionExpiryS),
    uint16(Property.receiveMaximum, facts.receiveMaximum),
    text(Property.assignedClientIdentifier, facts.assignedClientId),
    uint16(Property.serverKeepAlive, facts.serverKeepAliveS),
  ]
  const useful = [
    uint32(Property.maximumPacketSize, facts.packetBytesMax),
    uint16(Property.topicAliasMaximum, facts.topicAliasMaximum),
  ]
  const information = text(Property.responseInformation, facts.responseInformation)
  // What can be done without goes first [MQTT-3.2.2-19].
  for (const properties of [[...needed, ...useful, information], [...needed, ...useful], needed]) {
    const packet = packetOf(0x20, [flags, 0], Buffer.concat(properties))
    if (packet.length <= packetBytesMax) return packet
  }
  return undefined
}

function uint16(id: number, value: number | undefined): Buffer {
  return value === undefined ? Buffer.alloc(0) : Buffer.of(id, value >> 8, value & 255)
}

function uint32(id: number, value: number | undefined): Buffer {
  if (value === undefined) return Buffer.alloc(0)
  const property = Buffer.of(id, 0, 0, 0, 0)
  property.writeUInt32BE(value, 1)
  return property
}

function text(id: number, value: string | undefined): Buffer {
  if (value === undefined) return Buffer.alloc(0)
  const bytes = Buffer.from(value)
  return Buffer.concat([uint16(id, bytes.length), bytes])
}
