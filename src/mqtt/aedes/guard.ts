/**
 * Looks at what the packet parser made of a packet before Aedes handles it. Each check stands for a
 * packet that ends or confuses Aedes 2.0.0-beta.1; the contract tests send every one of them.
 */
import { filterFault, topicFault } from '../../log/topics.ts'
import { topicLimitFault } from '../wire/publish.ts'

/** A packet as mqtt-packet decodes it; only what is looked at. */
export interface DecodedPacket {
  cmd: string
  properties?: Record<string, unknown>
  will?: { topic?: unknown; properties?: Record<string, unknown> }
  subscriptions?: { topic: string }[]
  unsubscriptions?: string[]
}

/** Properties that may stand more than once [MQTT5 2.2.2.2]. */
const REPEATABLE = new Set(['userProperties', 'subscriptionIdentifier'])

/** Why the packet must not reach Aedes; undefined when it may. */
export function packetFault(packet: DecodedPacket): string | undefined {
  return (
    repeatedProperty(packet.properties) ??
    repeatedProperty(packet.will?.properties) ??
    willFault(packet) ??
    filtersFault(packet)
  )
}

/** A property given twice arrives as an array: a session expiry of two values ends the process. */
function repeatedProperty(properties: Record<string, unknown> | undefined): string | undefined {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (Array.isArray(value) && !REPEATABLE.has(name)) return `property ${name} is given twice`
  }
  return undefined
}

function willFault(packet: DecodedPacket): string | undefined {
  const topic = packet.will?.topic
  if (topic === undefined) return undefined
  if (typeof topic !== 'string') return 'the will has no topic'
  const fault = topicFault(topic) ?? topicLimitFault(topic)
  if (fault !== undefined) return `the will's topic ${fault}`
  return topic.startsWith('$') ? "the will's topic begins with $" : undefined
}

function filtersFault(packet: DecodedPacket): string | undefined {
  const filters =
    packet.cmd === 'subscribe'
      ? packet.subscriptions?.map(({ topic }) => topic)
      : packet.cmd === 'unsubscribe'
        ? packet.unsubscriptions
        : undefined
  if (filters === undefined) return undefined
  if (filters.length === 0) return 'it names no topic filter' // [MQTT-3.8.3-3]
  for (const filter of filters) {
    const fault = filterFault(filter)
    if (fault !== undefined) return `a topic filter ${fault}`
    // Aedes joins the filters of one packet in a plain object, where this name vanishes.
    if (filter === '__proto__' && filters.length > 1) return 'a topic filter is named __proto__'
  }
  return undefined
}
