import { describe, expect, it, onTestFinished } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import { createMetrics } from '../../src/http/http.ts'
import type { ClockQuality, StreamSettings } from '../../src/log/log.ts'
import { MemoryLog } from '../../src/log/memory.ts'
import { closeReasons, dropReasons, emptyStats } from '../../src/mqtt/stats.ts'
import { appendText } from '../support/append.ts'
import { collectingLogger } from '../support/logger.ts'

const stream = (name: string, topic: string): StreamSettings => ({
  name,
  topics: [topic],
  partitions: 2,
  key: { kind: 'topic' },
  ackAfter: 'fsync',
  qos0: true,
  lingerMs: 0,
})

const removedNothing = () => ({
  age: { segments: 0, sizeBytes: 0 },
  size: { segments: 0, sizeBytes: 0 },
  'disk-guard': { segments: 0, sizeBytes: 0 },
})

function given() {
  const clock = new ManualClock(1_000_000)
  const log = new MemoryLog([stream('telemetry', 'devices/#'), stream('rest', '#')], clock)
  const stats = emptyStats()
  const logger = collectingLogger()
  const retention = {
    removed: new Map([['rest', removedNothing()]]),
    space: { freeBytes: 7, totalBytes: 9 },
  }
  const time = { quality: 'rtc' as ClockQuality, steps: 3 }
  const metrics = createMetrics({ log, stats, retention, time, clock, logger, version: '1.2.3' })
  onTestFinished(() => metrics.close())
  const scrape = async () => samplesOf(await metrics.scrape())
  return { clock, log, stats, retention, time, logger, metrics, scrape }
}

/** `name{labels}` → value. */
function samplesOf(text: string): Map<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ')
      return [line.slice(0, at), Number(line.slice(at + 1))]
    }),
  )
}

describe('the metrics', () => {
  it('have every reason and every stream from the start, with 0', async () => {
    const samples = await given().scrape()
    for (const reason of dropReasons) {
      expect(samples.get(`sluice_messages_dropped_total{reason="${reason}"}`)).toBe(0)
    }
    for (const reason of closeReasons) {
      expect(samples.get(`sluice_connections_closed_total{reason="${reason}"}`)).toBe(0)
    }
    for (const name of ['telemetry', 'rest']) {
      expect(samples.get(`sluice_records_appended_total{stream="${name}"}`)).toBe(0)
      expect(samples.get(`sluice_commit_records_count{stream="${name}"}`)).toBe(0)
      expect(samples.get(`sluice_stream_suspended{stream="${name}"}`)).toBe(0)
    }
  })

  it('show what the front end counts, as it is at the scrape', async () => {
    const { stats, scrape } = given()
    stats.received[1] = 7
    stats.delivered[0] = 3
    stats.acknowledged = 6
    stats.dropped['slow-subscriber'] = 2
    stats.connections = 5
    await scrape()
    stats.received[1] = 9
    const samples = await scrape()
    expect(samples.get('sluice_messages_received_total{qos="1"}')).toBe(9)
    expect(samples.get('sluice_messages_delivered_total{qos="0"}')).toBe(3)
    expect(samples.get('sluice_messages_acknowledged_total')).toBe(6)
    expect(samples.get('sluice_messages_dropped_total{reason="slow-subscriber"}')).toBe(2)
    expect(samples.get('sluice_connections')).toBe(5)
  })

  it('show what retention deleted, the space that is left, and who refuses for want of it', async () => {
    const { log, retention, scrape } = given()
    const labels = '{stream="rest",reason="size"}'
    expect((await scrape()).get(`sluice_retention_removed_segments_total${labels}`)).toBe(0)
    retention.removed.set('rest', { ...removedNothing(), size: { segments: 2, sizeBytes: 99 } })
    log.setFull('rest', 'no space')
    const samples = await scrape()
    expect(samples.get(`sluice_retention_removed_segments_total${labels}`)).toBe(2)
    expect(samples.get(`sluice_retention_removed_bytes_total${labels}`)).toBe(99)
    expect(samples.get('sluice_disk_free_bytes')).toBe(7)
    expect(samples.get('sluice_stream_refusing{stream="rest"}')).toBe(1)
    expect(samples.get('sluice_stream_refusing{stream="telemetry"}')).toBe(0)
  })

  it('show how far the clock is trusted, and how often it was set', async () => {
    const { time, scrape } = given()
    expect((await scrape()).get('sluice_clock_quality')).toBe(1)
    time.quality = 'synchronised'
    const samples = await scrape()
    expect(samples.get('sluice_clock_quality')).toBe(2)
    expect(samples.get('sluice_clock_steps_total')).toBe(3)
  })

  it('show commits and the bounds of each stream', async () => {
    const { log, scrape } = given()
    await appendText(log, 'devices/a', ['1', '2', '3'])
    const samples = await scrape()
    expect(samples.get('sluice_records_appended_total{stream="telemetry"}')).toBe(3)
    expect(samples.get('sluice_appended_bytes_total{stream="telemetry"}')).toBeGreaterThan(0)
    expect(samples.get('sluice_commit_records_sum{stream="telemetry"}')).toBe(3)
    expect(samples.get('sluice_commit_duration_seconds_count{stream="telemetry"}')).toBe(1)
    expect(samples.get('sluice_stream_first_position{stream="telemetry"}')).toBe(0)
    expect(samples.get('sluice_stream_end_position{stream="telemetry"}')).toBe(3)
    expect(samples.get('sluice_stream_end_position{stream="rest"}')).toBe(0)
  })

  it('ask the log for its bounds once in five seconds, however many scrape', async () => {
    const { clock, log, scrape } = given()
    const end = 'sluice_stream_end_position{stream="telemetry"}'
    await Promise.all([scrape(), scrape()])
    await appendText(log, 'devices/a', ['1'])
    clock.advance(4999)
    expect((await scrape()).get(end)).toBe(0)
    clock.advance(1)
    expect((await scrape()).get(end)).toBe(1)
  })

  it('go on without bounds that cannot be read, and say so once', async () => {
    const { clock, log, logger, scrape } = given()
    log.bounds = () => Promise.reject(new Error('no disk'))
    await scrape()
    clock.advance(5000)
    const samples = await scrape()
    expect(samples.get('sluice_bounds_failures_total')).toBe(2)
    expect(samples.has('sluice_stream_end_position{stream="telemetry"}')).toBe(false)
    expect(samples.get('sluice_boot_number')).toBe(1)
    expect(logger.lines).toEqual(['warn: bounds of the log cannot be read'])
  })

  it('measure the process', async () => {
    const samples = await given().scrape()
    expect(samples.get('process_resident_memory_bytes')).toBeGreaterThan(10_000_000)
    expect(samples.get('process_cpu_seconds_total')).toBeGreaterThan(0)
    const build = `sluice_build_info{version="1.2.3",node="${process.version}"}`
    expect(samples.get(build)).toBe(1)
    expect(samples.get('sluice_event_loop_lag_seconds{quantile="0.99"}')).toBeGreaterThanOrEqual(0)
  })

  it('have a help text, and names that end as their kind does', async () => {
    const { metrics } = given()
    const text = await metrics.scrape()
    for (const [, name, kind] of text.matchAll(/^# TYPE (\S+) (\S+)$/gm)) {
      expect(name).toMatch(/^(sluice|process)_[a-z_]+$/)
      expect(name?.endsWith('_total')).toBe(kind === 'counter')
      expect(text).toMatch(new RegExp(`^# HELP ${name} .{10,}\\.$`, 'm'))
    }
  })
})
