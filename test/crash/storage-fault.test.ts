/**
 * A gateway under load whose storage fails for a while, through the system calls themselves: the
 * test compiles storage-fault.c and puts it under the process.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { gatewayConfig } from '../support/gateway-config.ts'
import { type GatewayProcess, startGateway } from '../support/gateway-process.ts'
import { RawClient } from '../support/raw-client.ts'
import { audit } from './audit.ts'
import { NumberedPublisher, type Sent } from './load.ts'

const SOURCE = fileURLToPath(new URL('./storage-fault.c', import.meta.url))
const hasCompiler = spawnSync('cc', ['--version']).status === 0
if (!hasCompiler) process.stdout.write('no cc here: storage faults of a process are not tested\n')

/** What fails: every sync with EIO, as on a dying medium, or every write with ENOSPC. */
const kinds = ['sync', 'write'] as const

const CONFIG = gatewayConfig({ segment: '1MiB' }, [
  { name: 'plant', settings: { partitions: 4, key: 'topic' } },
  { name: 'quick', settings: { ack_after: 'receive' } },
  { name: 'rest', settings: { partitions: 2, key: 'client' } },
])

const WAIT = { timeout: 25_000, interval: 10 }

interface Faulty {
  readonly gateway: GatewayProcess
  readonly dataDir: string
  begin(kind: (typeof kinds)[number]): void
  end(): void
  /** How many calls have failed. */
  count(): number
}

const patient = (check: () => unknown) => vi.waitFor(check, WAIT)

describe.skipIf(!hasCompiler)('storage that fails and comes back', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'sluice-fault-'))
  const library = path.join(folder, 'storage-fault.so')

  beforeAll(() => {
    const built = spawnSync('cc', ['-shared', '-fPIC', '-o', library, SOURCE, '-ldl'])
    expect(built.status, built.stderr.toString()).toBe(0)
    return () => rmSync(folder, { recursive: true, force: true })
  })

  async function start(config = CONFIG): Promise<Faulty> {
    const own = mkdtempSync(path.join(folder, 'run-'))
    const dataDir = path.join(own, 'data')
    const flag = path.join(own, 'flag')
    const gateway = await startGateway({
      config,
      dataDir,
      env: {
        LD_PRELOAD: library,
        SLUICE_FAULT_DIR: path.join(dataDir, 'streams'),
        SLUICE_FAULT_FLAG: flag,
      },
    })
    onTestFinished(() => gateway.dispose())
    return {
      gateway,
      dataDir,
      begin: (kind) => writeFileSync(flag, kind),
      end: () => rmSync(flag),
      count: () => (existsSync(`${flag}.count`) ? statSync(`${flag}.count`).size : 0),
    }
  }

  it.each(kinds)(
    'acknowledges nothing while each %s fails, and then everything',
    async (kind) => {
      const { gateway, dataDir, ...fault } = await start()
      const publishers = [
        new NumberedPublisher('p1', 'plant/a', 1),
        new NumberedPublisher('p2', 'plant/b', 2),
        new NumberedPublisher('p3', 'rest/c', 1),
        new NumberedPublisher('p4', 'quick/d', 1),
      ]
      const runs = publishers.map((publisher) => publisher.run(gateway.mqttPort))
      const counts = () => publishers.map(({ acknowledged }) => acknowledged.size)
      await patient(() => expect(Math.min(...counts())).toBeGreaterThan(200))

      fault.begin(kind)
      await patient(async () => {
        expect(await suspended(gateway)).toEqual({ plant: 1, quick: 1, rest: 1 })
      })
      const response = await fetch(`http://127.0.0.1:${gateway.httpPort}/readyz`)
      expect(response.status).toBe(503)
      expect(await response.text()).toMatch(/stream plant cannot be written: .*\(\w+\)/)
      // A retry later nothing is on its way any more that was acknowledged before.
      const failed = fault.count()
      await patient(() => expect(fault.count()).toBeGreaterThan(failed + 2))
      const frozen = counts()
      const later = fault.count()
      await patient(() => expect(fault.count()).toBeGreaterThan(later + 3))
      expect(counts()).toEqual(frozen)

      fault.end()
      await patient(() => {
        for (const [i, count] of counts().entries()) {
          expect(count).toBeGreaterThan((frozen[i] ?? 0) + 200)
        }
      })
      expect(await suspended(gateway)).toEqual({ plant: 0, quick: 0, rest: 0 })
      for (const publisher of publishers) publisher.finish()
      await patient(() => expect(counts()).toEqual(publishers.map(({ sent }) => sent)))
      const total = publishers.reduce((sum, { sent }) => sum + sent, 0)
      await gateway.stop()
      await Promise.all(runs)
      const { records, faults } = audit(dataDir, publishers)
      expect(faults).toEqual([])
      expect(records).toBe(total)
      const said = gateway.output()
      expect(said.match(/cannot be written: .*nothing is acknowledged until it can/g)).toHaveLength(
        3,
      )
      expect(said.match(/is written again; \d+ records waited/g)).toHaveLength(3)
    },
    120_000,
  )

  it.each(kinds)(
    'has everything acknowledged after a kill -9 while each %s fails',
    async (kind) => {
      const { gateway, dataDir, ...fault } = await start()
      const publishers = [
        new NumberedPublisher('p1', 'plant/a', 1),
        new NumberedPublisher('p2', 'rest/b', 2),
      ]
      const runs = publishers.map((publisher) => publisher.run(gateway.mqttPort))
      await patient(() => {
        for (const { acknowledged } of publishers) expect(acknowledged.size).toBeGreaterThan(200)
      })
      fault.begin(kind)
      await patient(async () => expect((await suspended(gateway))['plant']).toBe(1))
      const failed = fault.count()
      await patient(() => expect(fault.count()).toBeGreaterThan(failed + 3))
      await gateway.kill()
      await Promise.all(runs)
      expect(audit(dataDir, publishers).faults).toEqual([])

      const again = await startGateway({ config: CONFIG, dataDir })
      onTestFinished(() => again.dispose())
      const rerun = publishers.map((publisher) => publisher.run(again.mqttPort))
      const before = publishers.map(({ acknowledged }) => acknowledged.size)
      await patient(() => {
        for (const [i, { acknowledged }] of publishers.entries()) {
          expect(acknowledged.size).toBeGreaterThan((before[i] ?? 0) + 100)
        }
      })
      await again.stop()
      await Promise.all(rerun)
      expect(audit(dataDir, publishers).faults).toEqual([])
    },
    120_000,
  )

  it('stops in time while its storage fails, and closes publishers without an ack', async () => {
    const { gateway, dataDir, ...fault } = await start()
    const publisher = new NumberedPublisher('p1', 'plant/a', 1)
    const run = publisher.run(gateway.mqttPort)
    await patient(() => expect(publisher.acknowledged.size).toBeGreaterThan(200))
    fault.begin('sync')
    await patient(async () => expect((await suspended(gateway))['plant']).toBe(1))
    expect(await gateway.stop()).toEqual({ code: 0, signal: null })
    await run
    expect(publisher.acknowledged.size).toBeLessThan(publisher.sent)
    expect(audit(dataDir, [publisher]).faults).toEqual([])
  }, 60_000)

  it('slows publishers of QoS 0 too, within the memory that is allowed, and loses none', async () => {
    const { gateway, dataDir, ...fault } = await start(
      `${CONFIG}\n[mqtt]\nmax_publish_backlog = "2MiB"\nmax_packet = "256KiB"\n`,
    )
    fault.begin('write')
    const clients = await Promise.all(
      [1, 2, 3].map((n) =>
        RawClient.connect(gateway.mqttPort, { clientId: `q${n}`, keepalive: 1 }),
      ),
    )
    const filler = 'x'.repeat(2000)
    const each = 8000
    for (const [n, client] of clients.entries()) {
      for (let sequence = 1; sequence <= each; sequence++) {
        const message: Sent & { filler: string } = { publisher: `q${n + 1}`, sequence, filler }
        client.publish(`plant/${n}`, JSON.stringify(message))
      }
    }
    await patient(async () => {
      expect(await metric(gateway, /^sluice_publishers_paused (\d+)$/m)).toBe(3)
    })
    // Longer than the keep-alive of 1 s allows a client that is not being read.
    const failed = fault.count()
    await patient(() => expect(fault.count()).toBeGreaterThan(failed + 2))
    const backlog = await metric(gateway, /^sluice_publish_backlog_bytes (\d+)$/m)
    expect(backlog).toBeGreaterThan(1024 * 1024)
    expect(backlog).toBeLessThan(3 * 1024 * 1024)
    expect(clients.map(({ closed }) => closed)).toEqual([false, false, false])
    fault.end()
    for (const client of clients) await client.ping()
    await gateway.stop()
    const { records, faults } = audit(dataDir, [])
    expect(faults).toEqual([])
    expect(records).toBe(3 * each)
  }, 120_000)
})

/** The gauge of each stream. */
async function suspended(gateway: GatewayProcess): Promise<Record<string, number>> {
  const text = await metrics(gateway)
  const found = text.matchAll(/^sluice_stream_suspended\{stream="(\w+)"\} (\d)$/gm)
  const streams: Record<string, number> = {}
  for (const [, stream, value] of found) {
    if (stream !== 'default') streams[stream ?? ''] = Number(value)
  }
  return streams
}

async function metric(gateway: GatewayProcess, pattern: RegExp): Promise<number> {
  return Number(pattern.exec(await metrics(gateway))?.[1])
}

async function metrics(gateway: GatewayProcess): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${gateway.httpPort}/metrics`)
  return await response.text()
}
