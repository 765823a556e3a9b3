import { describe, expect, it } from 'vitest'
import { eventually } from '../../support/front-end.ts'
import { present, Site } from './given.ts'

describe('the end of a session', () => {
  it.each([
    ['within a run', false, 0],
    ['across a restart', true, 0],
    ['across a restart, with a clock that is an hour ahead since', true, 3_600_000],
  ] as const)('comes with its expiry interval, %s', async (_when, restarts, aheadMs) => {
    const site = await new Site().start()
    const first = await site.keeper({}, 7200)
    await first.subscribe('a', 1)
    await site.leave(first)
    site.clock.advance(7_100_000 - aheadMs)
    if (restarts) await site.restart()
    site.clock.step(site.clock.now() + aheadMs)
    await site.run.mqtt.maintainSessions()
    const still = await site.keeper({}, 7200)
    expect(present(still)).toBe(true)
    await site.leave(still)
    site.clock.advance(7_200_001)
    await site.run.mqtt.maintainSessions()
    expect(site.run.log.state.cursors.list()).toEqual([])
    const gone = await site.keeper({}, 7200)
    expect(present(gone)).toBe(false)
    await site.restart()
    expect(site.run.log.state.cursors.list()).toEqual([])
  })

  it('does not come early when the wall clock is set within a run', async () => {
    const site = await new Site().start()
    const first = await site.keeper({}, 60)
    await site.leave(first)
    site.clock.step(site.clock.now() + 10 * 365 * 86_400_000)
    await site.run.mqtt.maintainSessions()
    expect(present(await site.keeper({}, 60))).toBe(true)
  })

  it('comes at once with an expiry of 0 in DISCONNECT, and later with a longer one', async () => {
    const site = await new Site().start()
    const first = await site.keeper({}, 60)
    const properties = { sessionExpiryInterval: 3600 }
    first.send({ cmd: 'disconnect', reasonCode: 0, properties } as never)
    await first.closing()
    site.clock.advance(100_000)
    await site.run.mqtt.maintainSessions()
    const second = await site.keeper({}, 60)
    expect(present(second)).toBe(true)
    const none = { sessionExpiryInterval: 0 }
    second.send({ cmd: 'disconnect', reasonCode: 0, properties: none } as never)
    await second.closing()
    expect(present(await site.keeper({}, 60))).toBe(false)
  })

  it('refuses a DISCONNECT that makes a session outlive a connection [MQTT-3.14.2-2]', async () => {
    const site = await new Site().start()
    const client = await site.connect({ version: 5 })
    const properties = { sessionExpiryInterval: 10 }
    client.send({ cmd: 'disconnect', reasonCode: 0, properties } as never)
    await client.closing()
    expect(client.of('disconnect')[0]).toMatchObject({ reasonCode: 0x82 })
  })

  it('is told in CONNACK when the client asks for more than there is', async () => {
    const site = await new Site({ sessionExpiryMs: 600_000 }).start()
    const client = await site.keeper({}, 0xffff_ffff)
    expect(client.of('connack')[0]?.properties?.sessionExpiryInterval).toBe(600)
    await site.leave(client)
    site.clock.advance(600_001)
    await site.run.mqtt.maintainSessions()
    expect(present(await site.keeper())).toBe(false)
  })

  it('a session that is used again without an expiry ends with that connection', async () => {
    const site = await new Site().start()
    await site.leave(await site.keeper())
    const second = await site.connect({ version: 5, clean: false, clientId: 'keeper' })
    expect(present(second)).toBe(true)
    await site.leave(second)
    expect(present(await site.keeper())).toBe(false)
  })
})

it('refuses sessions beyond their number, and says so', async () => {
  const site = await new Site({ maxConnections: 2 }).start()
  await site.leave(await site.keeper({ clientId: 'one' }))
  await site.leave(await site.keeper({ clientId: 'two' }))
  expect((await site.keeper({ clientId: 'three' })).of('connack')[0]).toMatchObject({
    reasonCode: 0x97,
  })
  await eventually(() => site.run.mqtt.stats.limited.sessions === 1, 'it is counted')
  const old = await site.connect({ version: 4, clean: false, clientId: 'four' })
  expect(old.of('connack')[0]).toMatchObject({ returnCode: 3 })
  expect(present(await site.keeper({ clientId: 'one' }))).toBe(true)
})
