import type { ConsumerName, StartRequest } from '../../consumers/consumers.ts'
import type { QoS } from '../../log/log.ts'

/** What a client can become with SUBSCRIBE, beside a subscriber of topics. */
export type ConsumerKind = Exclude<ConsumerName, { kind: 'invalid' }>

/** A SUBSCRIBE's filter that names a replay, a group, a queue or a shared subscription. */
export interface ConsumerSubscription {
  /** As the client wrote it, which is also how it is unsubscribed. */
  readonly filter: string
  readonly name: ConsumerKind
  readonly qos: QoS
  readonly retainAsPublished: boolean
  /** MQTT 5's subscription identifier. */
  readonly id: number | undefined
  readonly request: StartRequest
}

/** How SUBSCRIBE ended for one filter. */
export type SubscribeOutcome =
  | { readonly kind: 'granted'; readonly qos: QoS }
  /** `reason` is MQTT 5's; the sentence is for its reason string. */
  | { readonly kind: 'refused'; readonly reason: number; readonly sentence: string }
