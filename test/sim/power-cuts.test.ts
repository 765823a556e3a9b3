/** G1 from the device's side: the gateway dies again and again under a fleet that goes on. */
import { setTimeout as wait } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { SeededRandom } from '../../src/base/random.ts'
import { everyProfile, lostOf, SECONDS, SEED, Site, TIMEOUT_MS, tell } from './fleet.ts'

const CUTS = Math.max(2, Math.round(SECONDS / 2))
const CHAOS = '[chaos]\nbrown_outs = 20\nradio_losses = 40\n'

it(
  `loses nothing that was acknowledged when the power is cut ${CUTS} times`,
  async () => {
    const random = new SeededRandom(SEED)
    const site = await Site.open(everyProfile(120, 10, CHAOS))
    await site.live(async () => {
      for (let cut = 0; cut < CUTS; cut += 1) {
        const before = site.field.tally.of('acknowledged')
        await expect
          .poll(() => site.field.tally.of('acknowledged') - before, { timeout: 20_000 })
          .toBeGreaterThan(100)
        await wait(random.below(200))
        await site.gateway.kill()
        await site.startAgain()
      }
    })
    const result = await site.count()
    tell('power cuts', result, `, ${CUTS} cuts`)
    expect(result.acknowledged).toBeGreaterThan(CUTS * 100)
    expect(lostOf(result)).toEqual({ logged: 0 })
    expect(result.stages[0]?.outOfOrder).toBe(0)
    expect(result.unreadable).toBe(0)
  },
  TIMEOUT_MS,
)

/** What this acknowledges is in memory for up to half a second: that is what it promises. */
const CARELESS = `
[[stream]]
name = "telemetry"
topics = ["#"]
ack_after = "receive"
linger = "500ms"
`

it(
  'would see it if something were lost',
  async () => {
    const site = await Site.open(everyProfile(120, 10), { config: CARELESS })
    await site.live(async () => {
      const acknowledged = (): number => site.field.tally.of('acknowledged')
      await expect.poll(acknowledged, { timeout: 20_000, interval: 5 }).toBeGreaterThan(200)
      await site.gateway.kill()
      await site.startAgain()
    })
    const result = await site.count()
    tell('power cut of a careless gateway', result)
    expect(lostOf(result)['logged']).toBeGreaterThan(0)
  },
  TIMEOUT_MS,
)
