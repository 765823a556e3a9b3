import { z } from 'zod'
import { defaults } from '../defaults.ts'
import { address, compact, duration, fileName, flag, size, whole } from '../leaves.ts'

export interface ListenerTls {
  readonly certFile: string
  readonly keyFile: string
  readonly clientCaFile?: string
  readonly requireClientCert: boolean
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
  /** At least one. */
  readonly listeners: readonly ListenerConfig[]
}

/** MQTT's largest packet: a remaining length of 268,435,455 and its header of 5 bytes. */
const PACKET_BYTES_MAX = 268_435_460
/** A CONNECT with a long client id must fit. */
const PACKET_BYTES_MIN = 128
/** More than any one process can serve. */
const CONNECTIONS_MAX = 1_000_000
/** Packet ids and the receive maximum have 16 bits. */
const INFLIGHT_MAX = 65_535

const tlsSchema = z
  .strictObject({
    cert_file: fileName(),
    key_file: fileName(),
    client_ca_file: fileName().optional(),
    require_client_cert: flag().default(defaults.listener.requireClientCert),
  })
  .transform(
    (table): ListenerTls =>
      compact({
        certFile: table.cert_file,
        keyFile: table.key_file,
        clientCaFile: table.client_ca_file,
        requireClientCert: table.require_client_cert,
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
      listeners: table.listener.length === 0 ? [defaultListener] : table.listener,
    }),
  )
