import { z } from 'zod'
import { defaults } from '../defaults.ts'
import {
  address,
  byteRate,
  compact,
  duration,
  fileName,
  flag,
  oneOf,
  rate,
  size,
  whole,
} from '../leaves.ts'

export interface ListenerTls {
  readonly certFile: string
  readonly keyFile: string
  readonly clientCaFile?: string
  readonly requireClientCert: boolean
  /** What of a client's certificate is its user; without it, certificates name nobody. */
  readonly userFrom?: UserFrom
}

/** The common name, or the first subject alternative name. */
export const certificateNames = ['cn', 'san'] as const
export type UserFrom = (typeof certificateNames)[number]

/** What one client may publish before it is read more slowly; what is not there has no limit. */
export interface ClientLimitConfig {
  readonly messagesPerSecond?: number
  readonly bytesPerSecond?: number
}

export interface ListenerConfig {
  readonly host: string
  /** 0 lets the system choose. */
  readonly port: number
  readonly tls?: ListenerTls
  /** MQTT over WebSocket, path /mqtt. */
  readonly websocket: boolean
}

export interface MqttConfig {
  /** Of one packet, its header included; a larger one closes its client. */
  readonly maxPacketBytes: number
  readonly maxConnections: number
  /** Unacknowledged messages to one subscriber. */
  readonly maxInflight: number
  /** How far an offline session may lag behind. */
  readonly maxSessionQueueMs: number
  /** The most a client may ask for. */
  readonly sessionExpiryMs: number
  /** Of all publishers together, waiting for the disk. */
  readonly maxPublishBacklogBytes: number
  /** Topics that may have a retained message. */
  readonly maxRetained: number
  readonly maxSubscriptions: number
  readonly maxTopicBytes: number
  readonly maxTopicLevels: number
  readonly maxClientIdBytes: number
  readonly maxUnsentBytes: number
  /** The longest keep-alive that MQTT 5 clients are left with; without it, their own. */
  readonly maxKeepAliveMs?: number
  /** New connections from one address. */
  readonly connectionsPerSecond: number
  readonly clientLimit: ClientLimitConfig
  /** At least one. */
  readonly listeners: readonly ListenerConfig[]
}

/** MQTT's largest packet: a remaining length of 268,435,455 and its header of 5 bytes. */
const PACKET_BYTES_MAX = 268_435_460
/** A CONNECT with a long client id must fit. */
const PACKET_BYTES_MIN = 128
/** At some 400 bytes of memory each, more than any gateway has room for. */
const RETAINED_MAX = 10_000_000
/** More than any one process can serve. */
const CONNECTIONS_MAX = 1_000_000
/** Packet ids and the receive maximum have 16 bits. */
const INFLIGHT_MAX = 65_535

/** Every filter costs some 300 bytes. */
const SUBSCRIPTIONS_MAX = 100_000
/** What MQTT can say. */
const TOPIC_BYTES_MAX = 65_535
const TOPIC_BYTES_MIN = 64
/** A topic of slashes alone has one more. */
const TOPIC_LEVELS_MAX = 65_536
/** What every server must take [MQTT-3.1.3-5], and what still is a name. */
const CLIENT_ID_BYTES_MIN = 23
const CLIENT_ID_BYTES_MAX = 1024
/** A packet on its way, and a quarter of a gigabyte for one client. */
const UNSENT_BYTES_MIN = 16 * 1024
const UNSENT_BYTES_MAX = 256 * 1024 * 1024

/** Whole seconds in 16 bits, of which 0 would mean any. */
const KEEP_ALIVE_MS_MIN = 1000
const KEEP_ALIVE_MS_MAX = 65_535_000

const tlsSchema = z
  .strictObject({
    cert_file: fileName(),
    key_file: fileName(),
    client_ca_file: fileName().optional(),
    require_client_cert: flag().default(defaults.listener.requireClientCert),
    user_from: oneOf(certificateNames).optional(),
  })
  .transform(
    (table): ListenerTls =>
      compact({
        certFile: table.cert_file,
        keyFile: table.key_file,
        clientCaFile: table.client_ca_file,
        requireClientCert: table.require_client_cert,
        userFrom: table.user_from,
      }),
  )

const listenerSchema = z
  .strictObject({
    address: address().default({ host: defaults.listener.host, port: defaults.listener.port }),
    tls: tlsSchema.optional(),
    websocket: flag().default(defaults.listener.websocket),
  })
  .transform(
    ({ address: { host, port }, tls, websocket }): ListenerConfig =>
      compact({ host, port, tls, websocket }),
  )

const clientLimitSchema = z
  .strictObject({ rate: rate().optional(), bytes: byteRate().optional() })
  .transform(
    (table): ClientLimitConfig =>
      compact({ messagesPerSecond: table.rate, bytesPerSecond: table.bytes }),
  )

const defaultListener: ListenerConfig = {
  host: defaults.listener.host,
  port: defaults.listener.port,
  websocket: defaults.listener.websocket,
}

export const mqttSchema = z
  .strictObject({
    max_packet: size(PACKET_BYTES_MIN, PACKET_BYTES_MAX).default(defaults.mqtt.maxPacketBytes),
    max_connections: whole(1, CONNECTIONS_MAX).default(defaults.mqtt.maxConnections),
    max_inflight: whole(1, INFLIGHT_MAX).default(defaults.mqtt.maxInflight),
    max_session_queue: duration().default(defaults.mqtt.maxSessionQueueMs),
    session_expiry: duration().default(defaults.mqtt.sessionExpiryMs),
    max_publish_backlog: size().default(defaults.mqtt.maxPublishBacklogBytes),
    max_retained: whole(0, RETAINED_MAX).default(defaults.mqtt.maxRetained),
    max_subscriptions: whole(1, SUBSCRIPTIONS_MAX).default(defaults.mqtt.maxSubscriptions),
    max_topic: size(TOPIC_BYTES_MIN, TOPIC_BYTES_MAX).default(defaults.mqtt.maxTopicBytes),
    max_topic_levels: whole(1, TOPIC_LEVELS_MAX).default(defaults.mqtt.maxTopicLevels),
    max_client_id: size(CLIENT_ID_BYTES_MIN, CLIENT_ID_BYTES_MAX).default(
      defaults.mqtt.maxClientIdBytes,
    ),
    max_unsent: size(UNSENT_BYTES_MIN, UNSENT_BYTES_MAX).default(defaults.mqtt.maxUnsentBytes),
    max_keepalive: duration(KEEP_ALIVE_MS_MIN, KEEP_ALIVE_MS_MAX).optional(),
    connection_rate: rate().default(defaults.mqtt.connectionsPerSecond),
    client_limit: clientLimitSchema.prefault({}),
    listener: z.array(listenerSchema).default([]),
  })
  .transform(
    (table): MqttConfig => ({
      maxPacketBytes: table.max_packet,
      maxConnections: table.max_connections,
      maxInflight: table.max_inflight,
      maxSessionQueueMs: table.max_session_queue,
      sessionExpiryMs: table.session_expiry,
      maxPublishBacklogBytes: table.max_publish_backlog,
      maxRetained: table.max_retained,
      maxSubscriptions: table.max_subscriptions,
      maxTopicBytes: table.max_topic,
      maxTopicLevels: table.max_topic_levels,
      maxClientIdBytes: table.max_client_id,
      maxUnsentBytes: table.max_unsent,
      ...compact({ maxKeepAliveMs: table.max_keepalive }),
      connectionsPerSecond: table.connection_rate,
      clientLimit: table.client_limit,
      listeners: table.listener.length === 0 ? [defaultListener] : table.listener,
    }),
  )
