import { expect, onTestFinished, test } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import { createHttp, createMetrics, Health } from '../../src/http/http.ts'
import { MemoryLog } from '../../src/log/memory.ts'
import { parseStart } from '../../src/log/start.ts'
import { emptyStats } from '../../src/mqtt/stats.ts'
import { given } from '../bridge/given.ts'
import { collectingLogger } from '../support/logger.ts'

async function httpOver(withBridge: boolean): Promise<string> {
  const { bridges, time } = await given()
  const logger = collectingLogger()
  const log = new MemoryLog([], new ManualClock(0))
  const own = withBridge ? bridges : undefined
  const metrics = createMetrics({
    log,
    stats: emptyStats(),
    retention: { removed: new Map(), space: undefined },
    time: { quality: 'none', steps: 0 },
    bridges: own,
    clock: time.clock,
    logger,
    version: '1',
  })
  const http = createHttp({
    address: { host: '127.0.0.1', port: 0 },
    token: undefined,
    health: new Health(log),
    metrics,
    bridges: own && { bridges: own, parseStart: (text) => parseStart(text, time.clock) },
    logger,
  })
  const { port } = await http.listen()
  onTestFinished(async () => {
    metrics.close()
    await http.close()
  })
  return `http://127.0.0.1:${port}`
}

const post = (url: string, body: unknown, type = 'application/json') =>
  fetch(url, { method: 'POST', headers: { 'content-type': type }, body: JSON.stringify(body) })

test('lists the bridges with what they do', async () => {
  const url = await httpOver(true)
  const answer = (await (await fetch(`${url}/v1/bridges`)).json()) as { bridges: object[] }
  expect(answer.bridges).toMatchObject([
    { name: 'cloud', state: 'paused', forwards: [{ cursor: 'bridge/cloud/telemetry' }] },
  ])
  expect(await (await fetch(`${url}/metrics`)).text()).toContain(
    'sluice_bridge_lag_records{bridge="cloud",forward="bridge/cloud/telemetry"} 0',
  )
})

test('moves a bridge, and says what is wrong with a request', async () => {
  const url = await httpOver(true)
  const seek = `${url}/v1/bridges/cloud/seek`
  const moved = await post(seek, { to: 'earliest' })
  expect(await moved.json()).toEqual({
    bridge: 'cloud',
    moved: [{ cursor: 'bridge/cloud/telemetry', position: 0 }],
  })
  expect((await post(seek, {})).status).toBe(400)
  expect((await post(seek, { to: 'yesterday' })).status).toBe(400)
  expect((await post(seek, { to: 'latest', stream: 'none' })).status).toBe(404)
  const unknown = await post(`${url}/v1/bridges/nobody/pause`, {})
  expect(unknown.status).toBe(404)
  expect(await unknown.json()).toMatchObject({ message: 'there is no bridge "nobody"' })
})

test('takes no order that a foreign web page can give', async () => {
  const url = await httpOver(true)
  const refused = await post(`${url}/v1/bridges/cloud/pause`, {}, 'text/plain')
  expect(refused.status).toBe(415)
})

test('has an empty list where there is no bridge', async () => {
  const url = await httpOver(false)
  expect(await (await fetch(`${url}/v1/bridges`)).json()).toEqual({ bridges: [] })
  expect((await post(`${url}/v1/bridges/cloud/pause`, {})).status).toBe(404)
})
