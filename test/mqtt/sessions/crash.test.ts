/**
 * Sessions across gateways that are killed at any moment. SLUICE_KILL_ROUNDS asks for more
 * rounds, SLUICE_SEED for others.
 */
import { setTimeout as wait } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { SeededRandom } from '../../../src/base/random.ts'
import { eventually } from '../../support/front-end.ts'
import { type GatewayProcess, startGateway } from '../../support/gateway-process.ts'
import { ExactlyOnce } from './exactly-once.ts'

const KILLS = Number(process.env['SLUICE_KILL_ROUNDS'] ?? 3)
const SEED = Number(process.env['SLUICE_SEED'] ?? 4711)
/** Enough that every gateway dies with messages on their way. */
const MESSAGES_MAX = 100_000

it.each([4, 5] as const)(
  `QoS 2 is exactly once both ways while the gateway is killed, MQTT version %i, seed ${SEED}`,
  { timeout: 20_000 + KILLS * 5000 },
  async (version) => {
    const random = new SeededRandom(SEED + version)
    let gateway: GatewayProcess = await startGateway()
    onTestFinished(() => gateway.dispose())
    const sender = new ExactlyOnce('sender', version, 'work/a')
    const receiver = new ExactlyOnce('receiver', version, 'work/a')
    onTestFinished(() => {
      sender.close()
      receiver.close()
    })
    for (let kill = 0; kill <= KILLS; kill++) {
      await receiver.connect(gateway.mqttPort, kill === 0)
      if (kill === 0) await receiver.subscribe()
      await sender.connect(gateway.mqttPort, kill === 0)
      if (kill === KILLS) break
      sender.publish(MESSAGES_MAX)
      await wait(random.below(250))
      await gateway.kill()
      const { dataDir } = gateway
      const old = gateway
      gateway = await startGateway({ dataDir })
      onTestFinished(() => old.dispose())
    }
    const total = sender.finish()
    expect(total).toBeGreaterThan(KILLS)
    await eventually(() => sender.completed === total, 'everything is acknowledged')
    await eventually(() => receiver.taken.length >= total, 'everything is received')
    expect(receiver.taken).toEqual(Array.from({ length: total }, (_, n) => String(n)))
  },
)
