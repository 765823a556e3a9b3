/**
 * The door of the MQTT front end: it takes connections, appends what they publish to the log,
 * acknowledges what the log has kept, and delivers from the log to subscribers.
 */
import type { Access } from '../access/access.ts'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { Consumers } from '../consumers/consumers.ts'
import type { EventLog } from '../log/log.ts'
import type { ClientRate, MqttLimits } from './limits.ts'
import type { MqttStats } from './stats.ts'

export type { CloseReason, DropReason, MqttStats } from './stats.ts'

export interface ListenerAddress {
  readonly host: string
  /** 0: a free one. */
  readonly port: number
}

export type { ClientRate, MqttLimits } from './limits.ts'

/** One listener: plain, or with TLS, WebSocket, or both. */
export interface ListenerSettings extends ListenerAddress {
  readonly tls?: ListenerTls
  /** MQTT over WebSocket at /mqtt. */
  readonly websocket?: boolean
}

export interface ListenerTls {
  readonly certFile: string
  readonly keyFile: string
  /** Whose client certificates are believed. */
  readonly clientCaFile?: string
  readonly requireClientCert: boolean
  /** What of a client's certificate is its user: the common name, or the first alternative one. */
  readonly userFrom?: 'cn' | 'san'
}

export interface MqttSettings {
  readonly listeners: readonly ListenerSettings[]
  readonly maxPacketBytes: number
  readonly maxConnections: number
  /** QoS 1 and 2 messages in flight to one subscriber. */
  readonly maxInflight: number
  /** Of all publishers together, waiting for the disk. */
  readonly maxPublishBacklogBytes: number
  /** The most that a session may outlive its connection. */
  readonly sessionExpiryMs: number
  /** How far a session may lag while its client is away. */
  readonly maxSessionQueueMs: number
  /** Topics that may have a retained message. */
  readonly maxRetained: number
  readonly limits: MqttLimits
  readonly clientRate: ClientRate
  /** New connections from one address, on one listener. */
  readonly connectionsPerSecond: number
}

export interface MqttFrontEnd {
  readonly stats: MqttStats
  /**
   * Binds every listener; resolves with where they listen once all accept connections.
   * Rejects with `address-in-use`, `address-refused` or `tls-invalid`, nothing left bound.
   */
  listen(): Promise<readonly ListenerAddress[]>
  /**
   * For an exception that nobody caught: when it came out of the handling of one client's packet,
   * closes that client and answers true. False: it is a bug of ours, and the process must end.
   */
  contain(thrown: unknown): boolean
  /** Whether a message of this topic may be retained; what is not is counted. */
  admitsRetained(topic: string): boolean
  /**
   * Access has changed: who may no longer be connected is disconnected, all others are held to the
   * new rules with the next message.
   */
  accessChanged(): void
  /** Reads certificates and keys again; a listener whose new ones do not do keeps the old. */
  reloadCertificates(): void
  /**
   * Looks at all sessions now instead of with the timer: ends those whose time has passed, and
   * moves those that lag too far. Resolves when that is done.
   */
  maintainSessions(): Promise<void>
  /** Stops accepting, tells MQTT 5 clients that the server shuts down, closes all connections. */
  close(): Promise<void>
}

export interface MqttParts {
  readonly log: EventLog
  /** Over the same log; whoever made it closes it, behind the front end. */
  readonly consumers: Consumers
  readonly access: Access
  readonly settings: MqttSettings
  /** The wall time for what ends by age; undefined while nobody knows it. Default: the clock's. */
  readonly trustedNow?: () => number | undefined
  /** Of the gateway, for `$SYS/broker/version`. */
  readonly version: string
  readonly clock: Clock
  readonly logger: Logger
}
