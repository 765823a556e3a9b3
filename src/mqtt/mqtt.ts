/**
 * The door of the MQTT front end: it takes connections, appends what they publish to the log,
 * acknowledges what the log has kept, and delivers from the log to subscribers.
 */
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { EventLog } from '../log/log.ts'
import type { MqttStats } from './stats.ts'

export type { CloseReason, DropReason, MqttStats } from './stats.ts'

export interface ListenerAddress {
  readonly host: string
  /** 0: a free one. */
  readonly port: number
}

export interface MqttSettings {
  readonly listeners: readonly ListenerAddress[]
  readonly maxPacketBytes: number
  readonly maxConnections: number
  /** QoS 1 and 2 messages in flight to one subscriber. */
  readonly maxInflight: number
  /** Of all publishers together, waiting for the disk. */
  readonly maxPublishBacklogBytes: number
}

export interface MqttFrontEnd {
  readonly stats: MqttStats
  /**
   * Binds every listener; resolves with where they listen once all accept connections.
   * Rejects with `address-in-use` or `address-refused`, nothing left bound.
   */
  listen(): Promise<readonly ListenerAddress[]>
  /**
   * For an exception that nobody caught: when it came out of the handling of one client's packet,
   * closes that client and answers true. False: it is a bug of ours, and the process must end.
   */
  contain(thrown: unknown): boolean
  /** Stops accepting, tells MQTT 5 clients that the server shuts down, closes all connections. */
  close(): Promise<void>
}

export interface MqttParts {
  readonly log: EventLog
  readonly settings: MqttSettings
  readonly clock: Clock
  readonly logger: Logger
}
