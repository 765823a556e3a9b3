/**
 * SUBSCRIBE and UNSUBSCRIBE, filter by filter: to the client's own subscriptions, or to what shares
 * and replays streams. Ordinary filters are answered at once; consumers join in their own time.
 */
import { isConsumerFilter } from './consumers/asked.ts'
import type { ConsumerClient, MqttConsumers } from './consumers/mqtt-consumers.ts'
import type { Subscriber } from './delivery/subscriber.ts'
import type { RetainedAtSubscribe } from './retained/at-subscribe.ts'
import type { Clients } from './sessions/clients.ts'
import type { MqttStats } from './stats.ts'
import { Reason } from './wire/packets.ts'
import type { Asked, AskedSubscription, FiltersAnswer } from './wire/subscribe.ts'

export interface SubscribingParts {
  readonly clients: Clients
  readonly consumers: MqttConsumers
  readonly atSubscribe: RetainedAtSubscribe
  readonly stats: MqttStats
  /** Of one client. */
  readonly subscriptionsMax: number
  /** Those that there are, in the tree. */
  readonly tree: { readonly size: number }
}

export interface SubscribingClient {
  readonly subscriber: Subscriber
  readonly consumer: ConsumerClient
}

/** What SUBACK or UNSUBACK says about one filter. */
interface FilterOutcome {
  readonly code: number
  readonly sentence?: string | undefined
}

type MaybeLater<T> = T | Promise<T>

export class Subscribing {
  private readonly parts: SubscribingParts

  constructor(parts: SubscribingParts) {
    this.parts = parts
  }

  subscribe(
    client: SubscribingClient,
    asked: readonly Asked[],
    version: number,
  ): MaybeLater<FiltersAnswer> {
    return this.answer(asked.map((one) => this.subscribeTo(client, one, version)))
  }

  unsubscribe(client: SubscribingClient, filters: readonly string[]): MaybeLater<FiltersAnswer> {
    return this.answer(filters.map((filter) => this.unsubscribeFrom(client, filter)))
  }

  /** Brings the number of subscriptions up to date. */
  count(): void {
    const { consumers, stats, tree } = this.parts
    stats.subscriptions = tree.size - consumers.targets + consumers.count
  }

  private answer(outcomes: readonly MaybeLater<FilterOutcome>[]): MaybeLater<FiltersAnswer> {
    this.count()
    const known = outcomes.filter((outcome): outcome is FilterOutcome => 'code' in outcome)
    if (known.length === outcomes.length) return answerOf(known)
    return Promise.all(outcomes).then(answerOf)
  }

  private subscribeTo(
    { subscriber, consumer }: SubscribingClient,
    one: Asked,
    version: number,
  ): MaybeLater<FilterOutcome> {
    const { stats, consumers } = this.parts
    if (one.kind === 'refused') {
      if (one.limit !== undefined) stats.limited[one.limit]++
      return { code: one.reason, sentence: one.sentence }
    }
    const { filter } = one.subscription
    if (!consumer.grants.maySubscribe(filter)) {
      stats.denied.subscribe++
      return { code: version < 5 ? 0x80 : Reason.notAuthorized }
    }
    const isNew = !subscriber.filters.has(filter) && !consumers.has(consumer.outbound, filter)
    if (isNew && this.isFull(subscriber)) {
      stats.limited.subscriptions++
      return { code: version < 5 ? 0x80 : Reason.quotaExceeded }
    }
    if (one.kind === 'subscription') return { code: this.grant(subscriber, one, isNew) }
    return consumers.subscribe(consumer, one.subscription).then((outcome) => {
      if (outcome.kind === 'granted') return { code: outcome.qos }
      const { reason, sentence } = outcome
      if (reason === Reason.quotaExceeded) stats.limited.subscriptions++
      return { code: version < 5 ? 0x80 : reason, sentence }
    })
  }

  private grant(
    subscriber: Subscriber,
    { subscription, retainHandling }: AskedSubscription,
    isNew: boolean,
  ): number {
    const { clients, atSubscribe } = this.parts
    clients.subscribe(subscriber, subscription)
    atSubscribe.subscribed(subscriber, subscription, retainHandling, isNew)
    return subscription.qos
  }

  private unsubscribeFrom(
    { subscriber, consumer }: SubscribingClient,
    filter: string,
  ): MaybeLater<FilterOutcome> {
    const { clients, consumers, atSubscribe } = this.parts
    const codeFor = (had: boolean) => (had ? Reason.success : Reason.noSubscriptionExisted)
    if (isConsumerFilter(filter)) {
      return consumers.unsubscribe(consumer, filter).then((had) => ({ code: codeFor(had) }))
    }
    atSubscribe.unsubscribed(subscriber, filter)
    return { code: codeFor(clients.unsubscribe(subscriber, filter)) }
  }

  private isFull({ filters, outbound }: Subscriber): boolean {
    const { consumers, subscriptionsMax } = this.parts
    return filters.size + consumers.countOf(outbound) >= subscriptionsMax
  }
}

function answerOf(outcomes: readonly FilterOutcome[]): FiltersAnswer {
  const refused = outcomes.find(({ code }) => code >= 0x80)
  return { codes: outcomes.map(({ code }) => code), sentence: refused?.sentence }
}
