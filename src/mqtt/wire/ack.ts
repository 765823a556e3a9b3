/**
 * PUBACK, PUBREC, PUBREL and PUBCOMP of MQTT 5 clients with more than a packet identifier. They are
 * rare: success needs no more.
 */
import { BodyReader } from './body-reader.ts'
import { PacketType, Property, Reason } from './packets.ts'
import { readProperties } from './property-block.ts'
import type { PacketFault } from './publish.ts'

const PROPERTIES: ReadonlySet<number> = new Set([Property.reasonString, Property.userProperty])

/** [MQTT-3.4.2-1] [MQTT-3.5.2-1] */
const OF_PUBLISH: ReadonlySet<number> = new Set([
  0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99,
])
/** [MQTT-3.6.2-1] [MQTT-3.7.2-1] */
const OF_ACK: ReadonlySet<number> = new Set([Reason.success, Reason.packetIdentifierNotFound])

/** What is wrong with what comes behind the packet identifier; `bytes[at, end)` is not empty. */
export function longAckFault(
  type: number,
  bytes: Buffer,
  at: number,
  end: number,
): PacketFault | undefined {
  const body = new BodyReader(bytes, at, end)
  const reason = body.byte()
  const isOfPublish = type === PacketType.puback || type === PacketType.pubrec
  if (!(isOfPublish ? OF_PUBLISH : OF_ACK).has(reason)) {
    return fatal(Reason.protocolError, `an ack has the reason ${reason}, which it cannot have`)
  }
  if (body.isAtEnd) return undefined
  const properties = readProperties(body.block(), PROPERTIES)
  if (properties.kind === 'invalid') return fatal(properties.reason, properties.sentence)
  return body.isBroken || !body.isAtEnd
    ? fatal(Reason.malformedPacket, 'an ack is malformed')
    : undefined
}

function fatal(reason: number, sentence: string): PacketFault {
  return { reason, sentence, fatal: true }
}
