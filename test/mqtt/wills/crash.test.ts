/**
 * W1 to W3 with a real gateway that is killed: the wills of its clients are published at the next
 * start, each once, wherever the gateway died. SLUICE_WILL_ROUNDS makes it longer.
 */
import { setTimeout as wait } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import { SeededRandom } from '../../../src/base/random.ts'
import { asPosition, type LogRecord } from '../../../src/log/log.ts'
import { openLogReader } from '../../../src/log/reader/log-reader.ts'
import { dyingAt } from '../../crash/fail-points.ts'
import { type GatewayOptions, startGateway } from '../../support/gateway-process.ts'
import { type ConnectOptions, RawClient } from '../../support/raw-client.ts'
import { tempDir } from '../../support/temp-dir.ts'

const ROUNDS = Number(process.env['SLUICE_WILL_ROUNDS'] ?? 3)
const SEED = Number(process.env['SLUICE_SEED'] ?? Math.floor(performance.now() * 1000))

async function gateway(options: GatewayOptions) {
  const started = await startGateway(options)
  onTestFinished(() => started.dispose())
  return started
}

/** The wills in the log of a gateway that is not running. */
function willsIn(dataDir: string): string[] {
  const reader = openLogReader(dataDir)
  const found: LogRecord[] = []
  for (let from = asPosition(0); ; ) {
    const page = reader.read({ stream: 'default', from, recordsMax: 1000, bytesMax: 1_000_000 })
    found.push(...page.records.filter(({ will }) => will))
    if (page.next >= page.end) break
    from = page.next
  }
  reader.close()
  return found.map(({ payload }) => Buffer.from(payload).toString())
}

const willOf = (text: string, more: object = {}) => ({
  topic: 'wills',
  payload: Buffer.from(text),
  qos: 1,
  ...more,
})

function connect(port: number, clientId: string, options: ConnectOptions): Promise<RawClient> {
  return RawClient.connect(port, { version: 5, clientId, ...options })
}

describe('wills of a gateway that dies', () => {
  it('W1: are published at its next start', async () => {
    const dataDir = tempDir()
    const first = await gateway({ dataDir })
    for (let i = 0; i < 5; i++) await connect(first.mqttPort, `c${i}`, { will: willOf(`w${i}`) })
    const gone = await connect(first.mqttPort, 'gone', { will: willOf('not this') })
    gone.send({ cmd: 'disconnect' } as never)
    await gone.closing()
    const last = await connect(first.mqttPort, 'last', {})
    await last.ping()
    await first.kill()
    const second = await gateway({ dataDir })
    await second.stop()
    expect(willsIn(dataDir).sort()).toEqual(['w0', 'w1', 'w2', 'w3', 'w4'])
    const third = await gateway({ dataDir })
    await third.kill()
    expect(willsIn(dataDir)).toHaveLength(5)
  })

  it('W2: wait for their delay from the restart, and not for a client that comes back', async () => {
    const dataDir = tempDir()
    const properties = { sessionExpiryInterval: 300 }
    const first = await gateway({ dataDir })
    for (const id of ['back', 'away']) {
      const will = willOf(id, { properties: { willDelayInterval: 2 } })
      await connect(first.mqttPort, id, { will, properties, clean: false })
    }
    await first.kill()
    const second = await gateway({ dataDir })
    const started = performance.now()
    const back = await connect(second.mqttPort, 'back', { properties, clean: false })
    await back.subscribe('wills', 1)
    expect((await back.packet('publish')).payload.toString()).toBe('away')
    expect(performance.now() - started).toBeGreaterThan(1000)
    await second.stop()
    expect(willsIn(dataDir)).toEqual(['away'])
  })

  it.each(['will:noted', 'will:appended'])(
    'W3: are published once when it dies at %s',
    async (point) => {
      const dataDir = tempDir()
      const first = await gateway({ dataDir, ...dyingAt(point, 3) })
      const clients: RawClient[] = []
      for (let i = 0; i < 6; i++) {
        clients.push(await connect(first.mqttPort, `c${i}`, { will: willOf(`w${i}`) }))
      }
      for (const client of clients) client.end()
      expect((await first.exited).signal).toBe('SIGKILL')
      // A start that dies as well leaves it to the one after it.
      const second = await startGateway({ dataDir, ...dyingAt(point, 2) }).catch(() => undefined)
      await second?.dispose()
      const third = await gateway({ dataDir })
      await third.stop()
      expect(willsIn(dataDir).sort()).toEqual(['w0', 'w1', 'w2', 'w3', 'w4', 'w5'])
    },
  )

  it('W3: are published once however often and whenever it dies', async () => {
    const random = new SeededRandom(SEED)
    const dataDir = tempDir()
    const expected: string[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const running = await gateway({ dataDir })
      const clients = await Promise.all(
        Array.from({ length: 40 }, (_, i) =>
          connect(running.mqttPort, `c${i}`, { will: willOf(`${round}.${i}`) }),
        ),
      )
      expected.push(...clients.map((_, i) => `${round}.${i}`))
      for (const client of clients.slice(random.below(40))) client.end()
      await wait(random.below(12))
      await running.kill()
    }
    const last = await gateway({ dataDir })
    await last.stop()
    expect(willsIn(dataDir).sort(), `seed ${SEED}`).toEqual(expected.sort())
  })
})
