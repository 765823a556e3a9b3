/**
 * What the front end counts. Plain numbers, raised on the hot path and read by whoever shows them:
 * a metrics library call per message would cost more than the message.
 */
import { type LimitName, limitNames } from './limits.ts'

export const dropReasons = [
  /** A QoS 0 or unlogged message to a subscriber whose socket and queue are full. */
  'slow-subscriber',
  /** Larger than the subscriber's maximum packet size [MQTT-3.1.2-24]. */
  'too-large-for-subscriber',
  /** Its message expiry had passed before it could be sent [MQTT-3.3.2-5]. */
  'expired',
  /** Gone from the log before a lagging subscriber came to them; of its topics or not. */
  'lagged-past-retention',
  /** The subscriber's connection ended with messages waiting for it. */
  'subscriber-gone',
  /** The log refused it: storage failed. */
  'storage-refused',
  /** No rule lets its publisher publish it. */
  'not-authorized',
  /** The log had no space for it and must not delete what is there; it was not taken. */
  'stream-full',
] as const
export type DropReason = (typeof dropReasons)[number]

export const closeReasons = [
  'client-disconnected',
  'connection-lost',
  'malformed-packet',
  'protocol-error',
  'packet-too-large',
  'keep-alive',
  'taken-over',
  'connect-timeout',
  'refused',
  /** Access was taken away from a connected client. */
  'not-authorized',
  'storage',
  'internal-error',
  'shutdown',
] as const
export type CloseReason = (typeof closeReasons)[number]

/** What access refused. */
export const denials = [
  'bad-credentials',
  'not-authorized',
  'backing-off',
  'busy',
  /** The client id is another user's. */
  'client-id',
  'publish',
  'subscribe',
  'will',
] as const
export type Denial = (typeof denials)[number]

export interface MqttStats {
  /** Open sockets, and those of them with a CONNACK. */
  sockets: number
  socketsOpened: number
  connections: number
  connectionsAccepted: number
  connectionsRefused: number
  subscriptions: number
  /** Sessions that outlive their connection; the front end counts them when asked. */
  sessions: () => Readonly<Record<'online' | 'offline', number>>
  /** PUBLISH packets received, by QoS. */
  readonly received: [number, number, number]
  /** PUBACK and PUBREC sent. */
  acknowledged: number
  /** PUBLISH packets sent, by QoS; a redelivery counts again. */
  readonly delivered: [number, number, number]
  receivedBytes: number
  sentBytes: number
  /** Control packets of any type. */
  packetsReceived: number
  packetsSent: number
  /** Payload bytes of PUBLISH packets. */
  publishBytesReceived: number
  publishBytesSent: number
  /** Messages that are retained now. */
  retained: number
  /** Messages that were not retained because as many as may be are. */
  notRetained: number
  /** Publishers that are not read: too much of theirs waits for the disk, or a stream is full. */
  pausedPublishers: number
  /** Subscribers that read from the log because they fell behind the live tail. */
  laggingSubscribers: number
  readonly dropped: Record<DropReason, number>
  readonly closed: Record<CloseReason, number>
  readonly denied: Record<Denial, number>
  /** How often a limit was met. */
  readonly limited: Record<LimitName, number>
}

export function emptyStats(): MqttStats {
  const zero = <K extends string>(keys: readonly K[]): Record<K, number> =>
    Object.fromEntries(keys.map((key) => [key, 0])) as Record<K, number>
  return {
    sockets: 0,
    socketsOpened: 0,
    connections: 0,
    connectionsAccepted: 0,
    connectionsRefused: 0,
    subscriptions: 0,
    sessions: () => ({ online: 0, offline: 0 }),
    received: [0, 0, 0],
    acknowledged: 0,
    delivered: [0, 0, 0],
    receivedBytes: 0,
    sentBytes: 0,
    packetsReceived: 0,
    packetsSent: 0,
    publishBytesReceived: 0,
    publishBytesSent: 0,
    retained: 0,
    notRetained: 0,
    pausedPublishers: 0,
    laggingSubscribers: 0,
    dropped: zero(dropReasons),
    closed: zero(closeReasons),
    denied: zero(denials),
    limited: zero(limitNames),
  }
}
