import type { ClockQuality } from '../log/log.ts'
import type { ClockNumbers } from '../log/open.ts'
import type { MetricRegistry } from './prometheus.ts'
import { readCounter, readGauge, single } from './read-metric.ts'

const qualityNumbers: Readonly<Record<ClockQuality, number>> = {
  none: 0,
  rtc: 1,
  synchronised: 2,
}

/** Adds how far the wall clock is trusted, and how often it was set. */
export function addClockMetrics(registry: MetricRegistry, time: ClockNumbers): void {
  readGauge(
    registry,
    'sluice_clock_quality',
    'How far the wall clock is trusted: 0 not at all, 1 set by a real-time clock, 2 synchronised.',
    () => single(qualityNumbers[time.quality]),
  )
  readCounter(
    registry,
    'sluice_clock_steps_total',
    'Times that the wall clock was set while the gateway ran.',
    () => single(time.steps),
  )
}
