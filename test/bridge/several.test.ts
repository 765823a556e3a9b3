import { expect, onTestFinished, test } from 'vitest'
import { SeededRandom } from '../../src/base/random.ts'
import { openBridges } from '../../src/bridge/bridge.ts'
import { FakeUpstream } from '../support/fake-uplink.ts'
import { collectingLogger } from '../support/logger.ts'
import { given, plainBridge, plainForward } from './given.ts'

test('feeds several upstreams, each from its own place; one that is away holds up no other', async () => {
  const { log, time, appendMany } = await given()
  const upstreams = new Map(['near', 'away', 'late'].map((name) => [name, new FakeUpstream()]))
  const upstream = (name: string) => upstreams.get(name) ?? new FakeUpstream()
  upstream('away').refusal = { kind: 'unreachable', sentence: 'cannot be reached' }
  const open = async (names: readonly string[]) => {
    const bridges = await openBridges({
      bridges: names.map((name) => ({ ...plainBridge, name, forwards: [plainForward] })),
      gateway: 'gw-1',
      log,
      roomBytes: () => 1_000_000,
      clock: time.clock,
      logger: collectingLogger(),
      random: new SeededRandom(1),
      after: time.after,
      uplink: ({ name }) => upstream(name),
    })
    bridges.start()
    return bridges
  }
  const first = await open(['near', 'away'])
  appendMany(100)
  await time.pass(5000)
  expect(upstream('near').arrived).toHaveLength(100)
  expect(upstream('away').arrived).toHaveLength(0)
  await first.stop()
  const second = await open(['near', 'away', 'late'])
  onTestFinished(() => second.stop())
  await time.pass(5000)
  expect(upstream('near').arrived).toHaveLength(100)
  expect(upstream('late').arrived).toHaveLength(100)
  const status = await second.status()
  expect(status.map(({ name, state }) => [name, state])).toEqual([
    ['near', 'up'],
    ['away', 'unreachable'],
    ['late', 'up'],
  ])
  expect(status[1]?.forwards[0]?.lagRecords).toBe(100)
  expect(log.state.cursors.get('bridge/away/telemetry')?.place).toEqual({ kind: 'stream', next: 0 })
})

test('says how long draining and filling take at this pace', async () => {
  const { log, time, appendMany } = await given()
  const upstream = new FakeUpstream()
  const bridges = await openBridges({
    bridges: [{ ...plainBridge, name: 'slow', limit: { recordsPerSecond: 10 } }],
    gateway: 'gw-1',
    log,
    roomBytes: () => 10_000_000,
    clock: time.clock,
    logger: collectingLogger(),
    random: new SeededRandom(1),
    after: time.after,
    uplink: () => upstream,
  })
  onTestFinished(() => bridges.stop())
  bridges.start()
  for (let s = 0; s < 30; s++) {
    appendMany(20)
    await time.pass(1000)
  }
  const forward = (await bridges.status())[0]?.forwards[0]
  expect(forward?.sentPerSecond).toBeGreaterThan(9)
  expect(forward?.sentPerSecond).toBeLessThan(12)
  const lag = forward?.lagRecords ?? 0
  expect(forward?.drainMs).toBeCloseTo((lag * 1000) / (forward?.sentPerSecond ?? 1), 0)
  // 20 records of some 18 bytes a second fill 10 MB in about eight hours.
  expect(forward?.fullMs).toBeGreaterThan(3_600_000)
  expect(forward?.fullMs).toBeLessThan(24 * 3_600_000)
})
