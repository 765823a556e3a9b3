/**
 * Sentences for MQTT 5 clients beside the reason codes that say that something was refused
 * [MQTT5 3.4.2.2.2]. They are for the log of whoever looks after the device: no client decides
 * anything by them, and success needs none.
 */
import { Property, Reason, varintBytes, writeVarint } from './packets.ts'

/** For acks, where one code stands for one cause. */
const SENTENCES: ReadonlyMap<number, string> = new Map([
  [Reason.implementationSpecific, 'the filter is not served here'],
  [Reason.notAuthorized, 'no rule of the gateway allows it'],
  [Reason.topicNameInvalid, 'the topic is longer or deeper than the gateway takes'],
  [Reason.topicFilterInvalid, 'the filter is longer or deeper than the gateway takes, or wrong'],
  [Reason.packetIdentifierNotFound, 'no message is in flight under this packet identifier'],
  [Reason.quotaExceeded, 'there is no room for more of this on the gateway'],
  [Reason.sharedNotSupported, 'shared subscriptions are not served here'],
])

const NONE = new Uint8Array(0)

/** What one client wants to be told, and how long its packets may be. */
export class ReasonStrings {
  /** [MQTT-3.1.2-29] of all packets but PUBLISH, CONNACK and DISCONNECT. */
  private readonly inAcks: boolean
  private readonly packetBytesMax: number

  constructor(inAcks: boolean, packetBytesMax: number | undefined) {
    this.inAcks = inAcks
    this.packetBytesMax = packetBytesMax ?? Number.MAX_SAFE_INTEGER
  }

  /**
   * The property that explains `reason` in an ack that has `bytes` bytes without properties; empty
   * when the client does not want it, or could not take the packet with it [MQTT-3.4.2-2]
   * [MQTT-3.5.2-2] [MQTT-3.6.2-2] [MQTT-3.7.2-2] [MQTT-3.9.2-1] [MQTT-3.11.2-1].
   */
  ofAck(reason: number, bytes: number, sentence = SENTENCES.get(reason)): Uint8Array {
    if (!this.inAcks || reason < 0x80) return NONE
    return this.of(sentence, bytes)
  }

  /** Likewise for CONNACK and DISCONNECT, which may always explain [MQTT-3.14.2-3]. */
  of(sentence: string | undefined, bytes: number): Uint8Array {
    if (sentence === undefined) return NONE
    const property = reasonString(sentence)
    // Two length fields may grow by a byte each.
    return bytes + property.length + 2 <= this.packetBytesMax ? property : NONE
  }

  /** PUBACK, PUBREC, PUBREL or PUBCOMP that says `reason`, not 0. */
  ack(first: number, packetId: number, reason: number): Uint8Array {
    const property = this.ofAck(reason, 5)
    // Without a property the property length goes as well [MQTT5 3.4.2.2.1].
    return property.length === 0
      ? Uint8Array.of(first, 3, packetId >> 8, packetId & 255, reason)
      : packetOf(first, [packetId >> 8, packetId & 255, reason], property)
  }

  /** DISCONNECT that says why [MQTT5 3.14]. */
  disconnect(reason: number, sentence: string | undefined): Uint8Array {
    return packetOf(0xe0, [reason], this.of(sentence, 4))
  }
}

/** CONNACK of MQTT 5 that refuses; a CONNECT that was not understood has said no maximum. */
export function refusingConnack(reason: number, sentence: string): Uint8Array {
  return packetOf(0x20, [0, reason], reasonString(sentence))
}

/** A packet of `head`, the length of `properties`, and these. */
export function packetOf(
  first: number,
  head: readonly number[],
  properties: Uint8Array,
): Uint8Array {
  const length = head.length + varintBytes(properties.length) + properties.length
  const packet = new Uint8Array(1 + varintBytes(length) + length)
  packet[0] = first
  let at = writeVarint(packet, length, 1)
  packet.set(head, at)
  at = writeVarint(packet, properties.length, at + head.length)
  packet.set(properties, at)
  return packet
}

function reasonString(sentence: string): Uint8Array {
  const text = Buffer.from(sentence)
  return Buffer.concat([
    Buffer.of(Property.reasonString, text.length >> 8, text.length & 255),
    text,
  ])
}
