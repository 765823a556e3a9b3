/**
 * The composition root: builds the parts in order, gives each its slice of the configuration, and
 * stops them again. No part knows another but through the doors that are joined here.
 *
 * The log comes first, then HTTP, and MQTT accepts last: so /readyz can say "not yet" while it is
 * not yet. At a stop MQTT ends first and HTTP last, so that health can be watched until the end.
 */
import type { Clock } from './base/clock.ts'
import type { Logger } from './base/logger.ts'
import type { Config, StreamConfig } from './config/config.ts'
import {
  createHttp,
  createMetrics,
  Health,
  type HttpAddress,
  type HttpServer,
} from './http/http.ts'
import type { EventLog, StreamSettings } from './log/log.ts'
import { openLog } from './log/open.ts'
import { Retention } from './log/retention/retention.ts'
import { createMqttFrontEnd } from './mqtt/front-end.ts'
import type { ListenerAddress, MqttFrontEnd, MqttSettings, MqttStats } from './mqtt/mqtt.ts'

export interface GatewayParts {
  readonly logger: Logger
  readonly clock: Clock
  readonly version: string
}

export interface Gateway {
  /** Where the parts listen, with the ports the system chose. */
  readonly mqtt: readonly ListenerAddress[]
  readonly http: HttpAddress
  readonly log: EventLog
  readonly stats: MqttStats
  /**
   * For what nobody caught: true when it came out of one client's packet, whose connection is
   * closed then. False: the process must end.
   */
  contain(thrown: unknown): boolean
  /** Ends connections, commits what is open and releases everything; again: the same promise. */
  stop(): Promise<void>
}

/**
 * Resolves once MQTT accepts connections. Rejects with a SluiceError for what a person can put
 * right (a taken port, a data directory that cannot be used); nothing is left open then.
 */
export async function startGateway(config: Config, parts: GatewayParts): Promise<Gateway> {
  const { logger, clock, version } = parts
  const log = await openLog({
    dataDir: config.gateway.dataDir,
    streams: config.streams.map(streamSettings),
    segmentBytes: config.disk.segmentBytes,
    clock,
    logger,
  })
  log.onFailure((stream, reason) => {
    const sentence = `stream ${stream} cannot be written: ${reason}`
    logger.error({ stream, reason }, `${sentence}; nothing is acknowledged until it can`)
  })
  log.onResume((stream, waited) => {
    logger.warn({ stream, waited }, `stream ${stream} is written again; ${waited} records waited`)
  })
  const retention = new Retention({
    log,
    rules: new Map(config.streams.map((stream) => [stream.name, stream.retention])),
    minFree: config.disk.minFree,
    dataDir: config.gateway.dataDir,
    clock,
    logger,
    commitBytes: config.disk.segmentBytes,
    trustedNow: () => log.time.trustedNow(),
  })
  const mqtt = createMqttFrontEnd({ log, settings: mqttSettings(config), clock, logger })
  const health = new Health(log)
  const metrics = createMetrics({
    log,
    stats: mqtt.stats,
    retention,
    time: log.time,
    clock,
    logger,
    version,
  })
  const http = createHttp({ address: config.http, health, metrics, logger })
  const stop = async (): Promise<void> => {
    health.enter('stopping')
    metrics.close()
    await stopParts(mqtt, retention, log, http)
  }
  try {
    const httpAddress = await http.listen()
    const mqttAddresses = await mqtt.listen()
    health.enter('serving')
    logger.info({ mqtt: mqttAddresses, http: httpAddress, boot: log.boot }, 'the gateway is ready')
    let stopped: Promise<void> | undefined
    return {
      mqtt: mqttAddresses,
      http: httpAddress,
      log,
      stats: mqtt.stats,
      contain: (thrown) => mqtt.contain(thrown),
      stop: () => {
        stopped ??= stop()
        return stopped
      },
    }
  } catch (error) {
    await stop()
    throw error
  }
}

/** The front end first, so that nothing more is appended; each is closed whatever the others do. */
async function stopParts(
  mqtt: MqttFrontEnd,
  retention: Retention,
  log: EventLog,
  http: HttpServer,
): Promise<void> {
  try {
    await mqtt.close()
  } finally {
    try {
      await retention.stop()
      await log.close()
    } finally {
      await http.close()
    }
  }
}

function streamSettings(stream: StreamConfig): StreamSettings {
  const { name, topics, partitions, key, ackAfter, qos0, lingerMs } = stream
  return { name, topics, partitions, key, ackAfter, qos0, lingerMs }
}

function mqttSettings({ mqtt }: Config): MqttSettings {
  return {
    listeners: mqtt.listeners.map(({ host, port }) => ({ host, port })),
    maxPacketBytes: mqtt.maxPacketBytes,
    maxConnections: mqtt.maxConnections,
    maxInflight: mqtt.maxInflight,
    maxPublishBacklogBytes: mqtt.maxPublishBacklogBytes,
  }
}
