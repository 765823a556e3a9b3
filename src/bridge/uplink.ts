/**
 * The port to an upstream broker. An uplink makes one connection at a time, each a new client with
 * nothing kept from the one before: what is under way lives in the log, so a connection that ends
 * may forget everything.
 *
 * U1. `settled` is called at most once for each message, and only for what the upstream said about
 *     that very message; never after `closed`, and never for one that was not sent.
 * U2. `closed` is called exactly once for each connection, whoever ended it, and nothing after it.
 * U3. No more than `inflightMax` messages of QoS 1 and 2 are unsettled.
 * U4. The bytes of a message are copied before `publish` returns.
 */

export const closeKinds = [
  /** Nobody listens there. */
  'refused',
  /** The name has no address. */
  'name-unknown',
  /** No way there, or no answer in time. */
  'unreachable',
  'tls-failed',
  'bad-credentials',
  'not-authorized',
  /** The broker does not take this client id. */
  'client-id',
  'quota',
  /** The broker is there and does not serve now. */
  'unavailable',
  /** The broker ended the connection and said why. */
  'server-disconnected',
  /** Connected, and nothing comes back. */
  'half-open',
  /** Nothing of what is under way was acknowledged for too long. */
  'stuck',
  /** The broker answered what MQTT does not allow. */
  'protocol',
  /** The connection broke. */
  'lost',
  /** A file that it needs cannot be read. */
  'unusable',
  /** We ended it. */
  'local',
] as const
export type CloseKind = (typeof closeKinds)[number]

export interface CloseReason {
  readonly kind: CloseKind
  /** Completes "the upstream ...": what happened, for people. */
  readonly sentence: string
}

/** Told once what the upstream said: 0 when it took the message, else an MQTT 5 reason code. */
export interface PublishWaiter {
  settled(reason: number): void
}

/** One object for all messages of a forward, filled anew for each: none is made per message. */
export class OutboundMessage {
  topic: Uint8Array = new Uint8Array(0)
  qos: 0 | 1 | 2 = 1
  retain = false
  /** The publisher's MQTT 5 properties, a block without its length; empty without. */
  properties: Uint8Array = new Uint8Array(0)
  /** Properties of our own that come behind, in the same form, up to `extraEnd`. */
  extra: Uint8Array = new Uint8Array(0)
  extraEnd = 0
  payload: Uint8Array = new Uint8Array(0)
}

export interface InboundMessage {
  readonly topic: string
  readonly payload: Uint8Array
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  /** In the order in which they came. */
  readonly userProperties: readonly (readonly [string, string])[]
  /** What is left of its lifetime, as the upstream says; undefined without a limit. */
  readonly expiryS: number | undefined
}

export interface Connected {
  /** The upstream still knows our subscriptions. */
  readonly sessionPresent: boolean
}

export interface UplinkEvents {
  connected(facts: Connected): void
  /** `taken` acknowledges it; not called, the upstream sends the message again. */
  message(message: InboundMessage, taken: () => void): void
  /** There is room again after `hasRoom` was false. */
  roomy(): void
  closed(reason: CloseReason): void
}

export interface UplinkConnection {
  /** Whether another message may be published now: identifiers, receive maximum and socket. */
  readonly hasRoom: boolean
  /** Of QoS 1 and 2, unsettled. */
  readonly inflight: number
  /** The upstream's receive maximum, or our own bound. */
  readonly inflightMax: number
  /** The largest packet the upstream takes. */
  readonly packetBytesMax: number
  /** Carries MQTT 5 properties. */
  readonly hasProperties: boolean
  /** Bytes of the whole packet that `message` becomes. */
  sizeOf(message: OutboundMessage): number
  /** Sends it, when `hasRoom`. A message of QoS 0 is settled once the socket has taken it. */
  publish(message: OutboundMessage, waiter: PublishWaiter): void
  /** Hands what was published to the socket now instead of at the end of the loop turn. */
  flush(): void
  /** Rejects when the upstream refuses one of the filters. */
  subscribe(filters: readonly string[]): Promise<void>
  unsubscribe(filters: readonly string[]): Promise<void>
  /** Ends it; `closed` follows with that reason. */
  close(reason: CloseReason): void
}

export interface Uplink {
  /** Begins a connection; `connected` or `closed` follows. */
  connect(events: UplinkEvents): UplinkConnection
}
