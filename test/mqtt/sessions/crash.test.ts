/**
 * Sessions across gateways that are killed at any moment. SLUICE_KILL_ROUNDS asks for more
 * rounds, SLUICE_SEED for others.
 */
import { setTimeout as wait } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { SeededRandom } from '../../../src/base/random.ts'
import { eventually } from '../../support/front-end.ts'
import { type GatewayProcess, startGateway } from '../../support/gateway-process.ts'
import { RawClient } from '../../support/raw-client.ts'
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

it(`QoS 1 misses nothing while the gateway is killed, seed ${SEED}`, {
  timeout: 20_000 + KILLS * 5000,
}, async () => {
  const random = new SeededRandom(SEED)
  let gateway: GatewayProcess = await startGateway()
  onTestFinished(() => gateway.dispose())
  const received: number[] = []
  const receiverOptions = { version: 4, clean: false, clientId: 'receiver' } as const
  let published = 0
  for (let kill = 0; kill <= KILLS; kill++) {
    const receiver = await RawClient.connect(gateway.mqttPort, receiverOptions)
    onTestFinished(() => receiver.end())
    expect(receiver.of('connack')[0]?.sessionPresent).toBe(kill > 0)
    if (kill === 0) await receiver.subscribe('work/a', 1)
    const publisher = await RawClient.connect(gateway.mqttPort)
    onTestFinished(() => publisher.end())
    for (let i = 0; i < 300; i++) {
      publisher.publish('work/a', String(published + i), { qos: 1, messageId: i + 1 })
    }
    const isAll = () => publisher.of('puback').length === 300
    if (kill === KILLS) await publisher.until(isAll, 'all acks')
    else await wait(random.below(60))
    published += publisher.of('puback').length
    const last = published - 1
    if (kill === KILLS) await receiver.until(() => receiver.payloads.includes(String(last)), 'all')
    else {
      const { dataDir } = gateway
      const old = gateway
      await gateway.kill()
      onTestFinished(() => old.dispose())
      gateway = await startGateway({ dataDir })
    }
    received.push(...receiver.payloads.map(Number))
  }
  const firsts = [...new Set(received)].filter((number) => number < published)
  expect(firsts).toEqual(Array.from({ length: published }, (_, n) => n))
})
