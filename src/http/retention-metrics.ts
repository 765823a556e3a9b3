import type { EventLog } from '../log/log.ts'
import type { RemovalReason, Retention } from '../log/retention/retention.ts'
import type { MetricRegistry } from './prometheus.ts'
import { readCounter, readGauge, type Samples, single } from './read-metric.ts'

/** What is shown of retention. */
export type RetentionNumbers = Pick<Retention, 'removed' | 'space'>

/** Adds what was deleted, the space that is left, and which streams refuse for want of it. */
export function addRetentionMetrics(
  registry: MetricRegistry,
  log: Pick<EventLog, 'streams' | 'full'>,
  retention: RetentionNumbers,
): void {
  const removed = (count: (of: { segments: number; sizeBytes: number }) => number): Samples =>
    [...retention.removed].flatMap(([stream, byReason]) =>
      (Object.keys(byReason) as RemovalReason[]).map(
        (reason) => [{ stream, reason }, count(byReason[reason])] as const,
      ),
    )
  readCounter(
    registry,
    'sluice_retention_removed_segments_total',
    'Segments that were deleted, by reason.',
    () => removed(({ segments }) => segments),
    ['stream', 'reason'],
  )
  readCounter(
    registry,
    'sluice_retention_removed_bytes_total',
    'Bytes of the segments that were deleted, by reason.',
    () => removed(({ sizeBytes }) => sizeBytes),
    ['stream', 'reason'],
  )
  readGauge(
    registry,
    'sluice_disk_free_bytes',
    'Free space of the file system of the data directory; absent while it is unknown.',
    () => (retention.space === undefined ? [] : single(retention.space.freeBytes)),
  )
  readGauge(
    registry,
    'sluice_stream_refusing',
    '1 for a stream that refuses new messages because the disk is short of space.',
    () => log.streams.map(({ name }) => [{ stream: name }, log.full.has(name) ? 1 : 0]),
    ['stream'],
  )
}
