/**
 * The filters that one client subscribes to, for reading its messages from the log. A filter counts
 * from the moment of its SUBSCRIBE on: records before that are not for it, even when the client is
 * still reading them for its other filters.
 */
import type { LogRecord, Position } from '../../log/log.ts'
import { topicMatches } from '../../log/topics.ts'
import { type Grant, joined, type Subscription, SubscriptionTree } from './subscriptions.ts'

/** The end of each stream when the filter was subscribed. */
export type Since = ReadonlyMap<string, Position>

export interface OwnFilter {
  readonly subscription: Subscription
  /** Undefined: nothing older was left to read then. */
  readonly since: Since | undefined
}

export class Filters {
  private readonly byFilter = new Map<string, OwnFilter>()
  /** Made for reading the log, which a client seldom does. */
  private tree: SubscriptionTree<Filters> | undefined
  private sinceCount = 0

  get size(): number {
    return this.byFilter.size
  }

  get hasSince(): boolean {
    return this.sinceCount > 0
  }

  has(filter: string): boolean {
    return this.byFilter.has(filter)
  }

  get(filter: string): Subscription | undefined {
    return this.byFilter.get(filter)?.subscription
  }

  list(): Iterable<OwnFilter> {
    return this.byFilter.values()
  }

  names(): readonly string[] {
    return [...this.byFilter.keys()]
  }

  /** A filter that is replaced goes on without a break [MQTT-3.8.4-3]. */
  set(subscription: Subscription, since: Since | undefined): void {
    const known = this.byFilter.get(subscription.filter)
    const kept = known === undefined ? since : known.since
    if (known === undefined && since !== undefined) this.sinceCount++
    this.byFilter.set(subscription.filter, { subscription, since: kept })
    this.tree = undefined
  }

  delete(filter: string): boolean {
    const known = this.byFilter.get(filter)
    if (known === undefined) return false
    if (known.since !== undefined) this.sinceCount--
    this.tree = undefined
    return this.byFilter.delete(filter)
  }

  /** All that is older has been read, or shall be read again for every filter. */
  forgetSince(): void {
    if (this.sinceCount === 0) return
    for (const [filter, { subscription }] of this.byFilter) {
      this.byFilter.set(filter, { subscription, since: undefined })
    }
    this.sinceCount = 0
  }

  /** How the client gets a record of the log; undefined when it does not. */
  grant(record: LogRecord): Grant | undefined {
    if (this.sinceCount > 0) return this.grantSince(record)
    if (this.tree === undefined) {
      this.tree = new SubscriptionTree()
      for (const { subscription } of this.byFilter.values()) this.tree.add(this, subscription)
    }
    return this.tree.match(record.topic)[0]
  }

  private grantSince(record: LogRecord): Grant | undefined {
    const matching: Subscription[] = []
    for (const { subscription, since } of this.byFilter.values()) {
      const from = since?.get(record.stream) ?? 0
      if (record.position >= from && topicMatches(subscription.filter, record.topic)) {
        matching.push(subscription)
      }
    }
    return matching.length === 0 ? undefined : joined(matching)
  }
}
