import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { MetricRegistry } from './prometheus.ts'
import { readCounter, readGauge, type Samples, single } from './read-metric.ts'

/** Fine enough for stalls that matter to PUBACK latency, at 50 wake-ups a second. */
const RESOLUTION_MS = 20
const NS_PER_SECOND = 1e9

/**
 * Adds the process's own numbers; returns what stops the measuring. Memory, CPU and start time
 * carry the names that every Prometheus client uses, so that ready-made dashboards find them.
 */
export function addProcessMetrics(registry: MetricRegistry, version: string): () => void {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delay.enable()
  readGauge(
    registry,
    'sluice_event_loop_lag_seconds',
    'How late timers ran since the previous scrape: median, 99th percentile and maximum (1).',
    () => {
      const samples: Samples = [
        [{ quantile: '0.5' }, lagSeconds(delay.percentile(50))],
        [{ quantile: '0.99' }, lagSeconds(delay.percentile(99))],
        [{ quantile: '1' }, lagSeconds(delay.max)],
      ]
      delay.reset()
      return samples
    },
    ['quantile'],
  )
  readGauge(registry, 'process_resident_memory_bytes', 'Resident memory of the process.', () =>
    single(process.memoryUsage.rss()),
  )
  readCounter(registry, 'process_cpu_seconds_total', 'CPU time of the process.', () => {
    const { user, system } = process.cpuUsage()
    return single((user + system) / 1e6)
  })
  const startedAtSeconds = performance.timeOrigin / 1000
  readGauge(
    registry,
    'process_start_time_seconds',
    'When the process started, in seconds since 1970.',
    () => single(startedAtSeconds),
  )
  readGauge(
    registry,
    'sluice_build_info',
    'Always 1; the labels say what runs.',
    () => [[{ version, node: process.version }, 1]],
    ['version', 'node'],
  )
  return () => delay.disable()
}

/** What Node measures is the time between two ticks of its timer: the lag is what exceeds it. */
function lagSeconds(tickNs: number): number {
  const lagNs = tickNs - RESOLUTION_MS * 1e6
  return Number.isFinite(lagNs) && lagNs > 0 ? lagNs / NS_PER_SECOND : 0
}
