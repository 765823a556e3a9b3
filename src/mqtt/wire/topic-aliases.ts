/**
 * Topic aliases [MQTT5 3.3.2.3.4]: numbers for topics that come often, agreed on by their first
 * use, for one connection only [MQTT-3.3.2-7] and for each direction by itself.
 */
import type { Route } from '../../log/log.ts'
import type { PacketFault } from './publish.ts'

/**
 * Offered to publishers: a device has a handful of topics. Each alias in use keeps its topic in
 * memory, at most 4 KiB by default.
 */
export const TOPIC_ALIAS_MAXIMUM = 16

/** Of those that a subscriber offers; with more it gets the first ones. */
const USED_MAX = 64

/** What a publisher's aliases stand for: a topic, or what is wrong with it. */
export class InboundAliases {
  readonly maximum: number
  private known: (Route | PacketFault)[] | undefined

  constructor(maximum: number) {
    this.maximum = maximum
  }

  get(alias: number): Route | PacketFault | undefined {
    return this.known?.[alias]
  }

  set(alias: number, meaning: Route | PacketFault): void {
    this.known ??= []
    this.known[alias] = meaning
  }
}

/**
 * For a subscriber: whichever topics come first get an alias, until there are no more. Replacing
 * one costs what it is to save, and a subscriber of few topics never comes to that.
 */
export class OutboundAliases {
  private readonly maximum: number
  private readonly byTopic = new Map<string, number>()
  /** Whether the client knows the alias that `of` gave last. */
  isKnown = false

  constructor(maximum: number) {
    this.maximum = Math.min(maximum, USED_MAX)
  }

  /** The topic's alias, perhaps a new one; 0: it gets none. */
  of(topic: string): number {
    const alias = this.byTopic.get(topic)
    this.isKnown = alias !== undefined
    if (alias !== undefined) return alias
    return this.byTopic.size < this.maximum ? this.byTopic.size + 1 : 0
  }

  /** The packet with the alias that `of` gave for the topic is sent. */
  sent(topic: string, alias: number): void {
    if (alias > 0) this.byTopic.set(topic, alias)
  }
}
