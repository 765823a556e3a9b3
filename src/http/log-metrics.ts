import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { EventLog, StreamBounds } from '../log/log.ts'
import { BoundsCache } from './bounds-cache.ts'
import { Counter, Histogram, type MetricRegistry } from './prometheus.ts'
import { readCounter, readGauge, single } from './read-metric.ts'
import { addStateMetrics } from './state-metrics.ts'

/** From one record, a lone device, to thousands, a burst of many. */
const RECORDS_BUCKETS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000]
/** From a fast NVMe's sync (0.1 ms) to an SD card that collects its garbage. */
const SECONDS_BUCKETS = [0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1]
const SLOW_SECONDS_BUCKETS = [0.2, 0.5, 1, 2, 5]

/** Adds what the log does and holds. Every stream is there from the start, with zeros. */
export function addLogMetrics(
  registry: MetricRegistry,
  log: EventLog,
  clock: Clock,
  logger: Logger,
): void {
  addCommits(registry, log)
  const bounds = new BoundsCache(log, clock, logger)
  addBounds(registry, bounds)
  addStateMetrics(registry, log, bounds)
  readGauge(
    registry,
    'sluice_publish_backlog_bytes',
    'Bytes that were appended and wait for the disk.',
    () => single(log.backlogBytes),
  )
  readGauge(
    registry,
    'sluice_stream_suspended',
    '1 for a stream that cannot be written: what is appended waits, and nothing is acknowledged.',
    () => log.streams.map(({ name }) => [{ stream: name }, log.failures.has(name) ? 1 : 0]),
    ['stream'],
  )
  readGauge(registry, 'sluice_boot_number', 'The run of the process on this data directory.', () =>
    single(log.boot),
  )
}

function addCommits(registry: MetricRegistry, log: EventLog): void {
  const settings = { labelNames: ['stream'], registers: [registry] }
  const records = new Counter<string>({
    ...settings,
    name: 'sluice_records_appended_total',
    help: 'Records committed to the log.',
  })
  const bytes = new Counter<string>({
    ...settings,
    name: 'sluice_appended_bytes_total',
    help: 'Bytes of the records committed to the log.',
  })
  const commitRecords = new Histogram<string>({
    ...settings,
    name: 'sluice_commit_records',
    help: 'Records in a group commit.',
    buckets: RECORDS_BUCKETS,
  })
  const commitSeconds = new Histogram<string>({
    ...settings,
    name: 'sluice_commit_duration_seconds',
    help: 'Duration of a group commit, its sync to disk included.',
    buckets: [...SECONDS_BUCKETS, ...SLOW_SECONDS_BUCKETS],
  })
  for (const { name: stream } of log.streams) {
    records.inc({ stream }, 0)
    bytes.inc({ stream }, 0)
    commitRecords.zero({ stream })
    commitSeconds.zero({ stream })
  }
  log.onCommit((report) => {
    const labels = { stream: report.stream }
    records.inc(labels, report.records)
    bytes.inc(labels, report.sizeBytes)
    commitRecords.observe(labels, report.records)
    commitSeconds.observe(labels, report.durationMs / 1000)
  })
}

function addBounds(registry: MetricRegistry, cache: BoundsCache): void {
  const gauge = (name: string, help: string, value: (bounds: StreamBounds) => number) =>
    readGauge(
      registry,
      name,
      help,
      async () => {
        const all = await cache.get()
        return all.map((bounds) => [{ stream: bounds.stream }, value(bounds)])
      },
      ['stream'],
    )
  gauge('sluice_stream_first_position', 'Position of the first record kept.', ({ first }) => first)
  gauge('sluice_stream_end_position', 'Position the next record gets.', ({ end }) => end)
  gauge('sluice_stream_segments', 'Segment files of the stream.', ({ segments }) => segments)
  gauge(
    'sluice_stream_size_bytes',
    'Size of the segment files, write-ahead log included.',
    ({ sizeBytes }) => sizeBytes,
  )
  readCounter(
    registry,
    'sluice_bounds_failures_total',
    'Times the bounds of the log could not be read.',
    async () => {
      await cache.get()
      return single(cache.failures)
    },
  )
}
