import { rmSync } from 'node:fs'
import { describe, expect, it, onTestFinished } from 'vitest'
import { SeededRandom } from '../../src/base/random.ts'
import { startGateway } from '../support/gateway-process.ts'
import { audit } from './audit.ts'
import { NumberedPublisher } from './load.ts'

const ROUNDS = 20

/** Small segments, so that rounds also die while segments are sealed and made. */
const CONFIG = `
[disk]
segment = "1MiB"

[[stream]]
name = "plant"
topics = ["plant/#"]
partitions = 4
key = "topic"

[[stream]]
name = "rest"
topics = ["#"]
partitions = 2
key = "client"
`

describe('L4: kill -9 under load', () => {
  it(`loses nothing that was acknowledged, ${ROUNDS} times in a row`, async () => {
    const random = new SeededRandom(Number(process.env['SLUICE_SEED'] ?? 4711))
    const first = await startGateway({ config: CONFIG })
    const { dataDir } = first
    onTestFinished(() => first.dispose())
    onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }))
    const publishers = [
      new NumberedPublisher('p1', 'plant/a', 1),
      new NumberedPublisher('p2', 'plant/b', 2),
      new NumberedPublisher('p3', 'rest/c', 1),
      new NumberedPublisher('p4', 'plant/d', 1),
      new NumberedPublisher('p5', 'rest/e', 2),
    ]
    let gateway = first
    let acknowledged = 0
    for (let round = 1; round <= ROUNDS; round++) {
      const target = acknowledged + 200 + random.below(4000)
      const runs = publishers.map((publisher) => publisher.run(gateway.mqttPort))
      const killed = reached(publishers, target).then(() => gateway.kill())
      await Promise.all([killed, ...runs])
      acknowledged = total(publishers)
      const { records, faults } = audit(dataDir, publishers)
      expect(faults, `round ${round}, seed ${random.seed}`).toEqual([])
      expect(records).toBeGreaterThanOrEqual(acknowledged)
      if (round < ROUNDS) {
        gateway = await startGateway({ config: CONFIG, dataDir })
        onTestFinished(gateway.dispose)
      }
    }
    process.stdout.write(
      `kill -9: ${ROUNDS} rounds, ${acknowledged} acknowledged, none lost (seed ${random.seed})\n`,
    )
  }, 180_000)
})

const total = (publishers: readonly NumberedPublisher[]) =>
  publishers.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0)

/** Resolves in the turn in which so many are acknowledged. */
function reached(publishers: readonly NumberedPublisher[], target: number): Promise<void> {
  return new Promise((resolve) => {
    const look = (): void => {
      if (total(publishers) >= target) resolve()
      else setImmediate(look)
    }
    look()
  })
}
