/**
 * How a consumer sends to one client. Groups, queues, replays and shared subscriptions know no MQTT
 * server: whoever has the connection gives them a `Member`, tells them `roomy(member)` when its
 * window and socket have room again, and `left(member)` when it is gone.
 */
import type { LogRecord, QoS } from '../log/log.ts'

/**
 * How a QoS 1 or 2 message ended: 'acked' by the client, or 'refused' by it (a reason code of 0x80
 * or more) or for it (larger than the packets it takes).
 */
export type Settled = (outcome: 'acked' | 'refused') => void

/** How a record goes out, beside what it says itself. */
export interface Sending {
  readonly qos: QoS
  /** It may have reached this client before [MQTT-3.3.1-1]. */
  readonly dup: boolean
  readonly retain: boolean
  /** Added to those that the publisher gave; MQTT 5 only. */
  readonly userProperties: readonly (readonly [string, string])[]
  /** MQTT 5's subscription identifiers [MQTT-3.3.4-3]. */
  readonly subscriptionIds: readonly number[]
}

export interface Member {
  readonly clientId: string
  /** Whether a QoS 1 or 2 message can be sent now (window and socket). */
  readonly hasRoom: boolean
  /**
   * False: no room, nothing happened. `settled` is called once for QoS 1 and 2, unless the member
   * leaves before: then never. For QoS 0 it is called before send returns. A message the client
   * cannot take (too large) is settled 'refused'.
   */
  send(record: LogRecord, how: Sending, settled: Settled): boolean
}
