/**
 * Property blocks of the packets that are rare [MQTT5 2.2.2]: CONNECT, the will, SUBSCRIBE,
 * UNSUBSCRIBE, DISCONNECT. (PUBLISH has a walk of its own, see properties.ts.)
 */
import type { BodyReader } from './body-reader.ts'
import { Property, Reason } from './packets.ts'

type Kind = 'flag' | 'uint16' | 'uint32' | 'varint' | 'string' | 'binary' | 'pair'

const KINDS: ReadonlyMap<number, Kind> = new Map<number, Kind>([
  [Property.payloadFormat, 'flag'],
  [Property.messageExpiry, 'uint32'],
  [Property.contentType, 'string'],
  [Property.responseTopic, 'string'],
  [Property.correlationData, 'binary'],
  [Property.subscriptionIdentifier, 'varint'],
  [Property.sessionExpiry, 'uint32'],
  [Property.authenticationMethod, 'string'],
  [Property.authenticationData, 'binary'],
  [Property.requestProblemInformation, 'flag'],
  [Property.willDelay, 'uint32'],
  [Property.requestResponseInformation, 'flag'],
  [Property.reasonString, 'string'],
  [Property.receiveMaximum, 'uint16'],
  [Property.topicAliasMaximum, 'uint16'],
  [Property.userProperty, 'pair'],
  [Property.maximumPacketSize, 'uint32'],
])

/** Numbers that must not be 0 [MQTT5 3.1.2.11.3] [MQTT5 3.1.2.11.4] [MQTT-3.8.2.1.2]. */
const NOT_ZERO: ReadonlySet<number> = new Set([
  Property.receiveMaximum,
  Property.maximumPacketSize,
  Property.subscriptionIdentifier,
])

/** The numeric properties by identifier, or the reason code with which the packet is refused. */
export type PropertyBlock =
  | {
      readonly kind: 'valid'
      readonly numbers: ReadonlyMap<number, number>
      /** User properties in their order; bounded by the packet. */
      readonly pairs: readonly (readonly [string, string])[]
      /** The identifiers of all properties. */
      readonly present: ReadonlySet<number>
    }
  | { readonly kind: 'invalid'; readonly reason: number; readonly sentence: string }

const invalid = (reason: number, sentence: string): PropertyBlock => ({
  kind: 'invalid',
  reason,
  sentence,
})

/**
 * Reads a block to its end; only `allowed` identifiers may stand in it, each once but user
 * properties.
 */
export function readProperties(block: BodyReader, allowed: ReadonlySet<number>): PropertyBlock {
  const numbers = new Map<number, number>()
  const pairs: [string, string][] = []
  const seen = new Set<number>()
  while (!block.isAtEnd && !block.isBroken) {
    const id = block.varint()
    const kind = KINDS.get(id)
    if (kind === undefined || !allowed.has(id)) {
      return invalid(Reason.malformedPacket, `property ${id} is not allowed here`)
    }
    if (id !== Property.userProperty && seen.has(id)) {
      return invalid(Reason.protocolError, `property ${id} is given twice`)
    }
    seen.add(id)
    if (kind === 'pair') {
      pairs.push([block.string(), block.string()])
      continue
    }
    const value = readValue(block, kind)
    if (value === undefined) continue
    if ((value === 0 && NOT_ZERO.has(id)) || (kind === 'flag' && value > 1)) {
      return invalid(Reason.protocolError, `property ${id} cannot be ${value}`)
    }
    numbers.set(id, value)
  }
  if (block.isBroken) return invalid(Reason.malformedPacket, 'the properties are malformed')
  return { kind: 'valid', numbers, pairs, present: seen }
}

/** The value of a number; undefined for what is only skipped. */
function readValue(block: BodyReader, kind: Exclude<Kind, 'pair'>): number | undefined {
  switch (kind) {
    case 'flag':
      return block.byte()
    case 'uint16':
      return block.uint16()
    case 'uint32':
      return block.uint32()
    case 'varint':
      return block.varint()
    case 'string':
      block.string()
      return undefined
    case 'binary':
      block.binary()
      return undefined
    default:
      return kind satisfies never
  }
}
