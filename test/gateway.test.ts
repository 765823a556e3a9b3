import { createServer } from 'node:net'
import path from 'node:path'
import mqtt from 'mqtt'
import { describe, expect, it, onTestFinished } from 'vitest'
import { systemClock } from '../src/base/clock.ts'
import { type Config, tinyConfig } from '../src/config/config.ts'
import { type Gateway, startGateway } from '../src/gateway.ts'
import { openLog } from '../src/log/open.ts'
import { streamOf } from './support/data-dir.ts'
import { collectingLogger } from './support/logger.ts'
import { tempDir } from './support/temp-dir.ts'

async function start(config: Config): Promise<Gateway> {
  const parts = { logger: collectingLogger(), clock: systemClock, version: '1.2.3' }
  const gateway = await startGateway(config, parts)
  onTestFinished(() => gateway.stop())
  return gateway
}

const newConfig = () => tinyConfig(path.join(tempDir(), 'data'))

const get = (gateway: Gateway, what: string) =>
  fetch(`http://127.0.0.1:${gateway.http.port}${what}`)

describe('the gateway', () => {
  it('takes a message, keeps it, delivers it, and counts all that', async () => {
    const gateway = await start(newConfig())
    const url = `mqtt://127.0.0.1:${gateway.mqtt[0]?.port}`
    const client = await mqtt.connectAsync(url)
    onTestFinished(() => client.endAsync(true))
    const received = new Promise((resolve) => {
      client.once('message', (topic, payload) => resolve([topic, payload.toString()]))
    })
    await client.subscribeAsync('devices/#', { qos: 1 })
    await client.publishAsync('devices/a', 'hello', { qos: 1 })
    expect(await received).toEqual(['devices/a', 'hello'])
    expect((await gateway.log.bounds('default')).end).toBe(1)
    const metrics = await (await get(gateway, '/metrics')).text()
    expect(metrics).toContain('sluice_messages_received_total{qos="1"} 1\n')
    expect(metrics).toContain('sluice_messages_acknowledged_total 1\n')
    expect(metrics).toContain('sluice_messages_delivered_total{qos="1"} 1\n')
    expect(metrics).toContain('sluice_records_appended_total{stream="default"} 1\n')
    expect(metrics).toContain('sluice_connections 1\n')
  })

  it('is ready once it has started, and gone once it has stopped', async () => {
    const gateway = await start(newConfig())
    expect((await get(gateway, '/readyz')).status).toBe(200)
    await Promise.all([gateway.stop(), gateway.stop()])
    await expect(get(gateway, '/healthz')).rejects.toThrow()
    await expect(mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqtt[0]?.port}`)).rejects.toThrow()
  })

  it('leaves nothing open when a later part fails', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await new Promise((resolve) => server.once('listening', resolve))
    const bound = server.address()
    const port = typeof bound === 'object' && bound !== null ? bound.port : 0
    const config = newConfig()
    const listeners = [{ host: '127.0.0.1', port, websocket: false }]
    const broken = { ...config, mqtt: { ...config.mqtt, listeners } }
    await expect(start(broken)).rejects.toMatchObject({ code: 'address-in-use' })
    await expect(start({ ...config, http: { host: '127.0.0.1', port } })).rejects.toMatchObject({
      code: 'address-in-use',
    })
    // Were the log still open, its data directory would be locked.
    const { dataDir } = config.gateway
    const log = await openLog({ dataDir, streams: [streamOf('default', '#')], clock: systemClock })
    await log.close()
  })

  it('deletes what a stream keeps beyond its size, and shows it', async () => {
    const config = newConfig()
    const streams = config.streams.map((stream) => ({
      ...stream,
      retention: { sizeBytes: 1, onLag: 'gap' as const },
    }))
    const gateway = await start({ ...config, streams })
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${gateway.mqtt[0]?.port}`)
    onTestFinished(() => client.endAsync(true))
    // It looks after each segment's worth of commits.
    const payload = Buffer.alloc(2048)
    const first = async () => {
      for (let i = 0; i < 16; i++) await client.publishAsync('a', payload, { qos: 1 })
      return (await gateway.log.bounds('default')).first
    }
    await expect.poll(first, { timeout: 20_000 }).toBeGreaterThan(0)
    const metrics = await (await get(gateway, '/metrics')).text()
    const name = 'sluice_retention_removed_segments_total'
    expect(metrics).toMatch(new RegExp(`^${name}{stream="default",reason="size"} [1-9]`, 'm'))
    expect(metrics).toMatch(/^sluice_disk_free_bytes [1-9]/m)
  })

  it('keeps what it acknowledged, over a restart', async () => {
    const config = newConfig()
    const first = await start(config)
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${first.mqtt[0]?.port}`)
    onTestFinished(() => client.endAsync(true))
    for (const n of [1, 2, 3]) await client.publishAsync('a', String(n), { qos: 2 })
    await first.stop()
    const second = await start(config)
    expect(second.log.boot).toBe(first.log.boot + 1)
    expect((await second.log.bounds('default')).end).toBe(3)
  })
})
