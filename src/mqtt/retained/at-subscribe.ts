/** What a SUBSCRIBE brings of retained messages, and of the values of `$SYS`. */
import type { CatchUpParts } from '../delivery/catch-up.ts'
import { RetainedSource } from '../delivery/retained-source.ts'
import type { Subscriber } from '../delivery/subscriber.ts'
import type { Subscription } from '../delivery/subscriptions.ts'
import type { Sys } from '../sys/sys.ts'
import { retainedPages } from './pages.ts'
import type { Retained } from './retained.ts'

/** Retain handling [MQTT5 3.8.3.1]; MQTT 3.1.1 has the first. */
const ONLY_NEW = 1
const NONE = 2

export class RetainedAtSubscribe {
  private readonly retained: Retained
  private readonly sys: Sys
  private readonly parts: CatchUpParts
  /** What is being sent, by filter: to subscribe again begins again, and piles nothing up. */
  private readonly sending = new WeakMap<Subscriber, Map<string, RetainedSource>>()

  constructor(retained: Retained, sys: Sys, parts: CatchUpParts) {
    this.retained = retained
    this.sys = sys
    this.parts = parts
  }

  /** `isNew`: the session did not have the filter. */
  subscribed(
    subscriber: Subscriber,
    subscription: Subscription,
    retainHandling: number,
    isNew: boolean,
  ): void {
    if (retainHandling === NONE || (retainHandling === ONLY_NEW && !isNew)) return
    const { filter } = subscription
    this.unsubscribed(subscriber, filter)
    const store = filter.startsWith('$') ? this.sys : this.retained
    if (store.index.size === 0) return
    const { clientId, grants } = subscriber
    const pages = retainedPages(store.walk(filter), subscription, {
      clientId,
      mayReceive: (topic) => grants.mayReceive(topic),
    })
    const sources = this.sending.get(subscriber) ?? new Map<string, RetainedSource>()
    this.sending.set(subscriber, sources)
    const isRetained = (topic: string) => store.index.get(topic) !== undefined
    const source = new RetainedSource(subscriber, subscription, pages, isRetained, this.parts)
    sources.set(filter, source)
  }

  /** SUBACK is on its way: what was retained may follow. */
  answered(subscriber: Subscriber): void {
    for (const source of this.sending.get(subscriber)?.values() ?? []) source.begin()
  }

  unsubscribed(subscriber: Subscriber, filter: string): void {
    const sources = this.sending.get(subscriber)
    sources?.get(filter)?.cancel()
    sources?.delete(filter)
  }
}
