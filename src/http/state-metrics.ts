import type { EventLog } from '../log/log.ts'
import type { BoundsCache } from './bounds-cache.ts'
import type { MetricRegistry } from './prometheus.ts'
import { readCounter, readGauge, type Samples, single } from './read-metric.ts'

/** A series for each cursor: beyond this, in the order they were made, they are only counted. */
const CURSORS_SHOWN_MAX = 1000

/** Adds what is beside the records: gaps, cursors, the epoch. */
export function addStateMetrics(
  registry: MetricRegistry,
  { state }: EventLog,
  bounds: BoundsCache,
): void {
  const gaps = (value: 'records' | 'sizeBytes') => () =>
    Object.entries(state.gaps.totals()).map(
      ([reason, total]) => [{ reason }, total[value]] as const,
    )
  readCounter(
    registry,
    'sluice_gap_records_total',
    'Records that a reader will not get, once for each reader, by reason.',
    gaps('records'),
    ['reason'],
  )
  readCounter(
    registry,
    'sluice_gap_bytes_total',
    'Bytes of the records that a reader will not get, by reason.',
    gaps('sizeBytes'),
    ['reason'],
  )
  readGauge(
    registry,
    'sluice_cursor_lag_records',
    'Records that a cursor has not read; the first 1,000 cursors are shown.',
    () => lags(state.cursors, bounds),
    ['cursor', 'stream'],
  )
  readGauge(registry, 'sluice_cursors', 'Cursors that there are.', () =>
    single(state.cursors.list().length),
  )
  readGauge(registry, 'sluice_epoch', 'Rises when positions could be given out again.', () =>
    single(state.epoch),
  )
  readGauge(
    registry,
    'sluice_state_failed',
    '1 while cursors and gaps cannot be written to disk.',
    () => single(state.failure === undefined ? 0 : 1),
  )
}

async function lags(cursors: EventLog['state']['cursors'], cache: BoundsCache): Promise<Samples> {
  const bounds = new Map((await cache.get()).map((one) => [one.stream, one]))
  return cursors
    .list()
    .slice(0, CURSORS_SHOWN_MAX)
    .flatMap(({ name, stream }) => {
      const own = bounds.get(stream)
      const labels = { cursor: name, stream }
      return own === undefined ? [] : [[labels, cursors.lagRecords(name, own)] as const]
    })
}
