/** A whole fleet that loses its radio at once, several times, and comes back as one wave. */
import { expect, it } from 'vitest'
import { lostOf, SECONDS, Site, TIMEOUT_MS, tell } from './fleet.ts'

const DEVICES = SECONDS > 30 ? 3_000 : 400
/** At 60 times real time, 1,440 storms a simulated day are one a real second. */
const SCENARIO = `
speed = 60

[[fleet]]
profile = "env-sensor"
count = ${DEVICES}
upload = "0s"

[chaos]
storms = 1440
`

it(
  `gets ${DEVICES} devices back after each storm and loses nothing`,
  async () => {
    const site = await Site.open(SCENARIO)
    await site.live(async (running) => {
      const { tally } = site.field
      await expect.poll(() => tally.of('connects'), { timeout: 20_000 }).toBeGreaterThan(DEVICES)
      expect(running.aborted || tally.of('errors') === 0).toBe(true)
    })
    const result = await site.count()
    const connects = site.field.tally.of('connects')
    tell('reconnect storms', result, `, ${DEVICES} devices, ${connects} connects`)
    expect(site.field.tally.of('errors')).toBe(0)
    expect(lostOf(result)).toEqual({ logged: 0 })
    expect(result.stages[0]?.outOfOrder).toBe(0)
  },
  TIMEOUT_MS,
)
