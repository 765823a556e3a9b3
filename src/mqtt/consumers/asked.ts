import { parseConsumerName } from '../../consumers/consumers.ts'
import type { QoS } from '../../log/log.ts'
import { Reason } from '../wire/packets.ts'
import type { ConsumerSubscription } from './subscription.ts'

/** What of SUBSCRIBE goes for a filter that names a consumer. */
export interface ConsumerOptions {
  readonly qos: QoS
  readonly retainAsPublished: boolean
  readonly id: number | undefined
  /** User properties of the packet: they go for all its filters. */
  readonly pairs: readonly (readonly [string, string])[]
}

/** Undefined: an ordinary filter. */
export function askedConsumer(
  filter: string,
  { qos, retainAsPublished, id, pairs }: ConsumerOptions,
  version: number,
):
  | { readonly kind: 'consumer'; readonly subscription: ConsumerSubscription }
  | { readonly kind: 'refused'; readonly reason: number; readonly sentence: string }
  | undefined {
  const name = parseConsumerName(filter)
  if (name === undefined) return undefined
  if (name.kind === 'invalid') {
    const reason = version < 5 ? 0x80 : Reason.topicFilterInvalid
    return { kind: 'refused', reason, sentence: name.sentence }
  }
  const first = (wanted: string): string | undefined => pairs.find(([name]) => name === wanted)?.[1]
  const request = {
    from: name.kind === 'replay' || name.kind === 'group' ? name.from : undefined,
    streamOffset: first('stream-offset'),
    streamPartition: first('stream-partition'),
  }
  return {
    kind: 'consumer',
    subscription: { filter, name, qos, retainAsPublished, id, request },
  }
}

/**
 * What a `$share` filter of MQTT 5 does that ends the connection: a name that is none
 * [MQTT-4.8.2-1] [MQTT-4.8.2-2], or No Local [MQTT-3.8.3-4].
 */
export function shareFault(
  filter: string,
  noLocal: boolean,
): { readonly reason: number; readonly sentence: string } | undefined {
  if (filter !== '$share' && !filter.startsWith('$share/')) return undefined
  if (!/^\$share\/[^/+#]+\/./.test(filter)) {
    const sentence = 'a shared subscription is not $share/<group>/<filter>'
    return { reason: Reason.malformedPacket, sentence }
  }
  if (!noLocal) return undefined
  return { reason: Reason.protocolError, sentence: 'a shared subscription has No Local' }
}

/** Whether UNSUBSCRIBE of this filter is about a consumer. */
export function isConsumerFilter(filter: string): boolean {
  return filter.startsWith('$') && parseConsumerName(filter) !== undefined
}
