import { expect, it } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import { addLogMetrics } from '../../src/http/log-metrics.ts'
import { Registry } from '../../src/http/prometheus.ts'
import { asPosition, gapReasons } from '../../src/log/log.ts'
import { MemoryLog } from '../../src/log/memory.ts'
import { gap } from '../contract/log-state.ts'
import { appendText } from '../support/append.ts'
import { streamOf } from '../support/data-dir.ts'
import { collectingLogger } from '../support/logger.ts'

function given() {
  const clock = new ManualClock(1_000_000)
  const log = new MemoryLog([streamOf('s', '#')], clock)
  const registry = new Registry()
  addLogMetrics(registry, log, clock, collectingLogger())
  return { log, scrape: () => registry.metrics() }
}

it('the metrics have every reason of a gap from the start, and count what is lost', async () => {
  const { log, scrape } = given()
  const before = await scrape()
  for (const reason of gapReasons) {
    expect(before).toContain(`sluice_gap_records_total{reason="${reason}"} 0\n`)
    expect(before).toContain(`sluice_gap_bytes_total{reason="${reason}"} 0\n`)
  }
  await log.state.gaps.add([gap(0, 4), gap(9, 10)])
  const after = await scrape()
  expect(after).toContain('sluice_gap_records_total{reason="retention"} 5\n')
  expect(after).toContain('sluice_gap_bytes_total{reason="retention"} 50\n')
})

it('the metrics show the lag of each cursor, and the epoch', async () => {
  const { log, scrape } = given()
  await appendText(log, 't', ['1', '2', '3'])
  const { cursors } = log.state
  await cursors.open('a "b"', 's', 'stream', { kind: 'earliest' })
  await cursors.open('c', 's', 'partitions', { kind: 'latest' })
  cursors.commit('a "b"', { kind: 'stream', next: asPosition(1) })
  await log.state.raiseEpoch()
  const text = await scrape()
  expect(text).toContain('sluice_cursor_lag_records{cursor="a \\"b\\"",stream="s"} 2\n')
  expect(text).toContain('sluice_cursor_lag_records{cursor="c",stream="s"} 0\n')
  expect(text).toContain('sluice_cursors 2\n')
  expect(text).toContain('sluice_epoch 2\n')
  expect(text).toContain('sluice_state_failed 0\n')
})

it('the metrics show 1,000 cursors at most, however many there are', async () => {
  const { log, scrape } = given()
  for (let i = 0; i < 1100; i++) {
    await log.state.cursors.open(`c${i}`, 's', 'stream', { kind: 'latest' })
  }
  const text = await scrape()
  expect(text.match(/^sluice_cursor_lag_records\{/gm)).toHaveLength(1000)
  expect(text).toContain('sluice_cursors 1100\n')
})
