import type { ClockNumbers } from '../log/clock/watch.ts'
import { clockQualities } from '../log/log.ts'
import type { MetricRegistry } from './prometheus.ts'
import { readCounter, readGauge, single } from './read-metric.ts'

/** Adds how far the wall clock is trusted, and how often it was set. */
export function addClockMetrics(registry: MetricRegistry, time: ClockNumbers): void {
  readGauge(
    registry,
    'sluice_clock_quality',
    'How far the wall clock is trusted: 0 not at all, 1 set by a real-time clock, 2 synchronised.',
    () => single(clockQualities.indexOf(time.quality)),
  )
  readCounter(
    registry,
    'sluice_clock_steps_total',
    'Times that the wall clock was set while the gateway ran.',
    () => single(time.steps),
  )
}
