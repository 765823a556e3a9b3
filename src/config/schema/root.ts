import { z } from 'zod'
import { type AccessConfig, accessSchema } from './access.ts'
import { type BridgeConfig, bridgeSchema } from './bridge.ts'
import { type DiskConfig, diskSchema } from './disk.ts'
import { type GatewayConfig, gatewaySchema } from './gateway.ts'
import { type HttpConfig, httpSchema } from './http.ts'
import { type LogConfig, logSchema } from './log.ts'
import { type MqttConfig, mqttSchema } from './mqtt.ts'
import { type QueueConfig, queueSchema } from './queue.ts'
import { defaultStream, type StreamConfig, streamSchema } from './stream.ts'

/** Everything that can be set, complete: nothing behind it asks for a default again. */
export interface Config {
  readonly gateway: GatewayConfig
  readonly mqtt: MqttConfig
  /** Undefined: everyone may connect, from this machine only. */
  readonly access?: AccessConfig
  /** At least one. The order counts: a message goes to the first that matches. */
  readonly streams: readonly StreamConfig[]
  readonly queues: readonly QueueConfig[]
  readonly disk: DiskConfig
  readonly bridges: readonly BridgeConfig[]
  readonly http: HttpConfig
  readonly log: LogConfig
}

/** The whole file. `hostId` is the gateway's id when none is written. */
export const rootSchema = (hostId: string) =>
  z
    .strictObject({
      gateway: gatewaySchema(hostId).prefault({}),
      mqtt: mqttSchema.prefault({}),
      access: accessSchema.optional(),
      stream: z.array(streamSchema).default([]),
      queue: z.array(queueSchema).default([]),
      disk: diskSchema.prefault({}),
      bridge: z.array(bridgeSchema).default([]),
      http: httpSchema.prefault({}),
      log: logSchema.prefault({}),
    })
    .transform((table): Config => {
      const { stream, queue, bridge, access, ...same } = table
      const streams = stream.length === 0 ? [defaultStream] : stream
      const config = { ...same, streams, queues: queue, bridges: bridge }
      return access === undefined ? config : { ...config, access }
    })
