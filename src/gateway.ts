/**
 * The composition root: builds the parts in order, gives each its slice of the configuration, and
 * stops them again. No part knows another but through the doors that are joined here.
 *
 * The log comes first, then HTTP, and MQTT accepts last: so /readyz can say "not yet" while it is
 * not yet. At a stop MQTT ends first and HTTP last, so that health can be watched until the end.
 */
import { Access, readToken, type Token } from './access/access.ts'
import type { Clock } from './base/clock.ts'
import { SluiceError } from './base/errors.ts'
import type { Logger } from './base/logger.ts'
import type { Bridges } from './bridge/bridge.ts'
import type { Config, RetentionConfig, StreamConfig } from './config/config.ts'
import { defaultStream } from './config/config.ts'
import { Consumers, streamOfQueue } from './consumers/consumers.ts'
import {
  createHttp,
  createMetrics,
  Health,
  type HttpAddress,
  type HttpParts,
  type HttpServer,
} from './http/http.ts'
import type { EventLog, StreamSettings } from './log/log.ts'
import { type OpenedLog, openLog } from './log/open.ts'
import { Retention } from './log/retention/retention.ts'
import { parseStart } from './log/start.ts'
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
  /**
   * Takes what may change while it runs: [access] of the new configuration, and the password,
   * token and certificate files. What cannot be used is said, and the old goes on.
   */
  reload(config: Config): void
  /** Ends connections, commits what is open and releases everything; again: the same promise. */
  stop(): Promise<void>
}

/**
 * Resolves once MQTT accepts connections. Rejects with a SluiceError for what a person can put
 * right (a taken port, a data directory that cannot be used); nothing is left open then.
 */
export async function startGateway(config: Config, parts: GatewayParts): Promise<Gateway> {
  const { logger, clock, version } = parts
  // Before anything is opened: a wrong file name is found at once.
  const access = new Access(config.access, { clock, logger })
  const token = tokenOf(config)
  const log = await openLog({
    dataDir: config.gateway.dataDir,
    // A queue takes its topics before any stream: it would be of no use otherwise.
    streams: [...config.queues.map(streamOfQueue), ...config.streams.map(streamSettings)],
    segmentBytes: config.disk.segmentBytes,
    clock,
    logger,
  })
  sayFailures(log, logger)
  const retention = openRetention(config, log, parts)
  const consumers = await startConsumers(config, log, parts)
  const mqtt = createMqttFrontEnd({
    log,
    consumers,
    access,
    settings: mqttSettings(config),
    trustedNow: () => log.time.trustedNow(),
    version,
    clock,
    logger,
  })
  const bridges = await bridgesOf(config, log, retention, parts)
  const routes = bridges && { bridges, parseStart: (text: string) => parseStart(text, clock) }
  const health = new Health(log)
  const measured = { log, stats: mqtt.stats, retention, time: log.time, bridges, consumers }
  const metrics = createMetrics({ ...measured, clock, logger, version })
  const api = apiOf(config, log, mqtt, parts)
  const served = { bridges: routes, consumers: { consumers, log }, api }
  const http = createHttp({ address: config.http, token, health, metrics, ...served, logger })
  const stop = async (): Promise<void> => {
    health.enter('stopping')
    metrics.close()
    await stopParts(mqtt, consumers, bridges, retention, log, http)
  }
  try {
    const httpAddress = await http.listen()
    const mqttAddresses = await mqtt.listen()
    bridges?.start()
    health.enter('serving')
    logger.info({ mqtt: mqttAddresses, http: httpAddress, boot: log.boot }, 'the gateway is ready')
    let stopped: Promise<void> | undefined
    return {
      mqtt: mqttAddresses,
      http: httpAddress,
      log,
      stats: mqtt.stats,
      contain: (thrown) => mqtt.contain(thrown),
      reload: (changed) => reload(config, changed, { access, mqtt, http, logger }),
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

interface Reloaded {
  readonly access: Access
  readonly mqtt: MqttFrontEnd
  readonly http: HttpServer
  readonly logger: Logger
}

/**
 * The listeners stay as they were at the start, so [access] and the token may change but not go:
 * without them a listener beyond loopback would be open.
 */
function reload(running: Config, changed: Config, parts: Reloaded): void {
  const { access, mqtt, http, logger } = parts
  const attempt = (what: string, change: () => void): void => {
    try {
      change()
    } catch (thrown) {
      if (!(thrown instanceof SluiceError)) throw thrown
      const fields = { reason: thrown.message, hint: thrown.hint }
      logger.error(fields, `${what}: the old ones stay, the new ones cannot be used`)
    }
  }
  attempt('passwords and rules', () => {
    mustStay('[access]', running.access, changed.access)
    access.replace(changed.access)
    mqtt.accessChanged()
    logger.info({ rules: changed.access?.rules.length ?? 0 }, 'passwords and rules were read again')
  })
  attempt('HTTP tokens', () => {
    mustStay('http.token_file', running.http.tokenFile, changed.http.tokenFile)
    http.setToken(tokenOf(changed))
  })
  mqtt.reloadCertificates()
}

function mustStay(key: string, running: unknown, changed: unknown): void {
  if (running === undefined || changed !== undefined) return
  throw new SluiceError('access-invalid', `${key} was removed: that takes a restart`)
}

function tokenOf({ http }: Config): Token | undefined {
  return http.tokenFile === undefined ? undefined : readToken(http.tokenFile)
}

function sayFailures(log: EventLog, logger: Logger): void {
  log.onFailure((stream, reason) => {
    const sentence = `stream ${stream} cannot be written: ${reason}`
    logger.error({ stream, reason }, `${sentence}; nothing is acknowledged until it can`)
  })
  log.onResume((stream, waited) => {
    logger.warn({ stream, waited }, `stream ${stream} is written again; ${waited} records waited`)
  })
}

/** The front end first, so that nothing more is appended; each is closed whatever the others do. */
async function stopParts(
  mqtt: MqttFrontEnd,
  consumers: Consumers,
  bridges: Bridges | undefined,
  retention: Retention,
  log: EventLog,
  http: HttpServer,
): Promise<void> {
  try {
    await mqtt.close()
  } finally {
    try {
      await bridges?.stop()
      await consumers.close()
      await retention.stop()
      await log.close()
    } finally {
      await http.close()
    }
  }
}

async function startConsumers(
  { queues }: Config,
  log: OpenedLog,
  { clock, logger }: GatewayParts,
): Promise<Consumers> {
  try {
    return await Consumers.start({ log, clock, logger, queues })
  } catch (thrown) {
    await log.close()
    throw thrown
  }
}

/** Loaded only where one is configured: the client library costs 10 MiB of memory. */
async function bridgesOf(
  config: Config,
  log: EventLog,
  retention: Retention,
  { clock, logger }: GatewayParts,
): Promise<Bridges | undefined> {
  if (config.bridges.length === 0) return undefined
  const { openBridges } = await import('./bridge/bridge.ts')
  return await openBridges({
    bridges: config.bridges,
    gateway: config.gateway.id,
    log,
    roomBytes: (stream) => roomBytes(config, retention, stream),
    clock,
    logger,
  })
}

/** Bytes until retention or the disk guard deletes something of a stream; undefined: unknown. */
function roomBytes(config: Config, { space }: Retention, stream: string): number | undefined {
  const rule = config.streams.find(({ name }) => name === stream)?.retention
  const { minFree } = config.disk
  const keptFree =
    minFree.kind === 'bytes' ? minFree.bytes : ((space?.totalBytes ?? 0) * minFree.percent) / 100
  const onDisk = space === undefined ? Number.POSITIVE_INFINITY : space.freeBytes - keptFree
  const room = Math.min(onDisk, rule?.sizeBytes ?? Number.POSITIVE_INFINITY)
  return Number.isFinite(room) ? Math.max(0, room) : undefined
}

function apiOf(
  { mqtt: { maxPacketBytes, maxTopicBytes, maxTopicLevels } }: Config,
  log: EventLog,
  mqtt: MqttFrontEnd,
  { clock, version }: GatewayParts,
): HttpParts['api'] {
  const limits = {
    recordBytesMax: maxPacketBytes,
    topicBytesMax: maxTopicBytes,
    topicLevelsMax: maxTopicLevels,
  }
  return { log, limits, admitsRetained: (topic) => mqtt.admitsRetained(topic), clock, version }
}

function openRetention(config: Config, log: OpenedLog, { clock, logger }: GatewayParts): Retention {
  return new Retention({
    log,
    rules: retentionRules(config, log),
    minFree: config.disk.minFree,
    dataDir: config.gateway.dataDir,
    clock,
    logger,
    commitBytes: config.disk.segmentBytes,
    trustedNow: () => log.time.trustedNow(),
  })
}

/** The built-in stream is in no configuration unless somebody writes it. */
function retentionRules({ streams }: Config, log: EventLog): Map<string, RetentionConfig> {
  const written = new Map(streams.map(({ name, retention }) => [name, retention]))
  return new Map(
    log.streams.map(({ name }) => [name, written.get(name) ?? defaultStream.retention]),
  )
}

function streamSettings(stream: StreamConfig): StreamSettings {
  const { name, topics, partitions, key, ackAfter, qos0, lingerMs } = stream
  return { name, topics, partitions, key, ackAfter, qos0, lingerMs }
}

function mqttSettings({ mqtt }: Config): MqttSettings {
  return {
    listeners: mqtt.listeners,
    maxPacketBytes: mqtt.maxPacketBytes,
    maxConnections: mqtt.maxConnections,
    maxInflight: mqtt.maxInflight,
    maxPublishBacklogBytes: mqtt.maxPublishBacklogBytes,
    sessionExpiryMs: mqtt.sessionExpiryMs,
    maxSessionQueueMs: mqtt.maxSessionQueueMs,
    maxRetained: mqtt.maxRetained,
    limits: {
      subscriptionsMax: mqtt.maxSubscriptions,
      topicBytesMax: mqtt.maxTopicBytes,
      topicLevelsMax: mqtt.maxTopicLevels,
      clientIdBytesMax: mqtt.maxClientIdBytes,
      unsentBytesMax: mqtt.maxUnsentBytes,
      keepAliveMaxS: Math.floor((mqtt.maxKeepAliveMs ?? 0) / 1000),
    },
    clientRate: mqtt.clientLimit,
    connectionsPerSecond: mqtt.connectionsPerSecond,
  }
}
