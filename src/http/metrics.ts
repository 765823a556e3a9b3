/**
 * The gateway's numbers in Prometheus' text format. Counters live with those who count, as plain
 * numbers; a scrape reads them. Only commits are observed as they happen, for their histograms.
 */
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { Bridges } from '../bridge/bridge.ts'
import type { Consumers } from '../consumers/consumers.ts'
import type { EventLog } from '../log/log.ts'
import type { ClockNumbers } from '../log/open.ts'
import type { MqttStats } from '../mqtt/stats.ts'
import { addBridgeMetrics } from './bridge-metrics.ts'
import { addClockMetrics } from './clock-metrics.ts'
import { addConsumerMetrics } from './consumer-metrics.ts'
import { addLogMetrics } from './log-metrics.ts'
import { addMqttMetrics } from './mqtt-metrics.ts'
import { addProcessMetrics } from './process-metrics.ts'
import { Registry } from './prometheus.ts'
import { addRetentionMetrics, type RetentionNumbers } from './retention-metrics.ts'

export interface MetricsParts {
  readonly log: EventLog
  readonly stats: MqttStats
  readonly retention: RetentionNumbers
  readonly time: ClockNumbers
  /** Undefined: there is none. */
  readonly bridges?: Bridges | undefined
  readonly consumers?: Consumers | undefined
  readonly clock: Clock
  readonly logger: Logger
  readonly version: string
}

export interface Metrics {
  readonly contentType: string
  scrape(): Promise<string>
  /** Stops what it measures with. */
  close(): void
}

/** Observes the log's commits from now on. */
export function createMetrics(parts: MetricsParts): Metrics {
  const { log, stats, clock, logger, version } = parts
  const registry = new Registry()
  addMqttMetrics(registry, stats)
  addLogMetrics(registry, log, clock, logger)
  addRetentionMetrics(registry, log, parts.retention)
  addClockMetrics(registry, parts.time)
  addBridgeMetrics(registry, parts.bridges)
  if (parts.consumers !== undefined) addConsumerMetrics(registry, parts.consumers)
  const stop = addProcessMetrics(registry, version)
  return {
    contentType: registry.contentType,
    scrape: () => registry.metrics(),
    close: stop,
  }
}
