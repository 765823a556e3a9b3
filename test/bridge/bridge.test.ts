import { expect, test } from 'vitest'
import { decodeBatch } from '../../src/bridge/batch.ts'
import { decodeEnvelope } from '../../src/bridge/envelope.ts'
import { given, plainForward, turns } from './given.ts'

const numbers = (from: number, end: number) =>
  Array.from({ length: end - from }, (_, i) => String(from + i))

test('sends what is there, then what comes, in order, under its topic', async () => {
  const { bridges, appendMany, arrived, time, upstream } = await given()
  appendMany(100)
  bridges.start()
  await time.pass(10)
  expect(arrived()).toEqual(numbers(0, 100))
  appendMany(50)
  await time.pass(10)
  expect(arrived()).toEqual(numbers(0, 150))
  expect(upstream.arrived[0]?.topic).toBe('sites/gw-1/devices/d1/temp')
})

test('marks each record with where it comes from', async () => {
  const { bridges, append, log, time, upstream } = await given()
  const { partition } = append('devices/d1/temp', 'x')
  log.flush()
  bridges.start()
  await time.pass(10)
  expect(upstream.arrived[0]?.userProperties).toEqual([
    ['gateway', 'gw-1'],
    ['epoch', '1'],
    ['stream', 'telemetry'],
    ['partition', String(partition)],
    ['offset', '0'],
    ['time', '1763700000000'],
  ])
})

test('never has more under way than its window', async () => {
  const { bridges, appendMany, time, upstream } = await given()
  upstream.holdsAcks = true
  appendMany(100)
  bridges.start()
  await time.pass(10)
  expect(upstream.arrived).toHaveLength(plainForward.window)
  upstream.current?.ack(3)
  await turns()
  expect(upstream.arrived).toHaveLength(plainForward.window + 3)
})

test('moves its cursor only over what was acknowledged, and sends the rest again (B1, B2)', async () => {
  const { bridges, appendMany, arrived, time, upstream, log } = await given()
  upstream.holdsAcks = true
  appendMany(40)
  bridges.start()
  await time.pass(10)
  upstream.current?.ack(5)
  await time.pass(1000)
  const cursor = log.state.cursors.get('bridge/cloud/telemetry')
  expect(cursor?.place).toEqual({ kind: 'stream', next: 5 })
  upstream.cut()
  upstream.holdsAcks = false
  await time.pass(20_000)
  const first = arrived().slice(0, 21)
  expect(first).toEqual(numbers(0, 21))
  expect(arrived().slice(21)).toEqual(numbers(5, 40))
})

test('goes on after a restart where it was, with at most what was in flight twice', async () => {
  const fixture = await given()
  const { appendMany, arrived, time, upstream } = fixture
  fixture.bridges.start()
  appendMany(30)
  await time.pass(1000)
  upstream.holdsAcks = true
  appendMany(30)
  await time.pass(10)
  upstream.current?.ack(4)
  await time.pass(1000)
  upstream.holdsAcks = false
  await fixture.restart()
  await time.pass(1000)
  expect(new Set(arrived())).toEqual(new Set(numbers(0, 60)))
  const again = arrived().length - 60
  expect(again).toBeLessThanOrEqual(plainForward.window)
  expect(arrived().slice(-26)).toEqual(numbers(34, 60))
})

test('starts where a new forward is told to', async () => {
  const fixture = await given({ forwards: [{ ...plainForward, start: { kind: 'latest' } }] })
  fixture.appendMany(3)
  fixture.bridges.start()
  await fixture.time.pass(10)
  expect(fixture.arrived()).toEqual(numbers(0, 3))
  const back = { ...plainForward, start: { kind: 'back', agoMs: 60_000 } as const }
  await fixture.time.pass(120_000)
  fixture.appendMany(2)
  await fixture.restart({ name: 'second', forwards: [back] })
  await fixture.time.pass(10)
  expect(fixture.arrived().slice(-2)).toEqual(numbers(3, 5))
  expect(fixture.arrived().filter((one) => one === '0')).toHaveLength(1)
})

test('sends only the topics that the forward names', async () => {
  const forward = { ...plainForward, topics: ['devices/+/temp'], to: 'up/{1}' }
  const { bridges, append, log, time, upstream } = await given({ forwards: [forward] })
  append('devices/a/temp', 'yes')
  append('devices/a/noise', 'no')
  append('devices/b/temp', 'yes too')
  log.flush()
  bridges.start()
  await time.pass(1000)
  expect(upstream.arrived.map(({ topic }) => topic)).toEqual(['up/a', 'up/b'])
  expect(log.state.cursors.get('bridge/cloud/telemetry')?.place).toEqual({
    kind: 'stream',
    next: 3,
  })
})

test('takes nothing back up that came down from there', async () => {
  const { bridges, append, log, time, arrived } = await given()
  append('devices/a', 'device')
  append('devices/a', 'from the cloud', '$bridge/cloud')
  append('devices/a', 'from another cloud', '$bridge/other')
  log.flush()
  bridges.start()
  await time.pass(10)
  expect(arrived()).toEqual(['device', 'from another cloud'])
})

test('sends priority 0 first, and past every limit', async () => {
  const { bridges, append, appendMany, log, time, arrived } = await given({
    limit: { recordsPerSecond: 10 },
    forwards: [plainForward, { ...plainForward, stream: 'alarms', priority: 0 }],
  })
  appendMany(100)
  for (let i = 0; i < 50; i++) append('alarms/fire', `alarm ${i}`)
  log.flush()
  bridges.start()
  await time.pass(100)
  expect(arrived().slice(0, 50)).toEqual(Array.from({ length: 50 }, (_, i) => `alarm ${i}`))
  expect(arrived().length).toBeLessThan(55)
})

test('holds its rate to a few percent', async () => {
  const { bridges, appendMany, time, arrived } = await given({ limit: { recordsPerSecond: 500 } })
  appendMany(20_000)
  bridges.start()
  await time.pass(1000)
  const begun = arrived().length
  await time.pass(10_000)
  const perSecond = (arrived().length - begun) / 10
  expect(perSecond).toBeGreaterThan(475)
  expect(perSecond).toBeLessThan(525)
})

test('lets forwards of equal priority take turns', async () => {
  const { bridges, append, appendMany, log, time, arrived } = await given({
    limit: { recordsPerSecond: 100 },
    forwards: [plainForward, { ...plainForward, stream: 'alarms' }],
  })
  appendMany(1000)
  for (let i = 0; i < 1000; i++) append('alarms/fire', 'alarm')
  log.flush()
  bridges.start()
  await time.pass(10_000)
  const alarms = arrived().filter((payload) => payload === 'alarm').length
  expect(alarms / arrived().length).toBeGreaterThan(0.4)
  expect(alarms / arrived().length).toBeLessThan(0.6)
})

test('packs records into batches that are acknowledged as one', async () => {
  const batch = { records: 20, maxBytes: 65_536, lingerMs: 2000, compress: 'none' as const }
  const { bridges, appendMany, time, upstream, log } = await given({
    forwards: [{ ...plainForward, batch }],
  })
  bridges.start()
  appendMany(50)
  await time.pass(100)
  expect(upstream.arrived).toHaveLength(2)
  await time.pass(2000)
  expect(upstream.arrived).toHaveLength(3)
  expect(upstream.arrived[0]?.topic).toBe('sites/gw-1/telemetry')
  const batches = await Promise.all(upstream.arrived.map(({ payload }) => decodeBatch(payload)))
  const payloads = batches.flatMap(({ records }) =>
    records.map(({ payload }) => Buffer.from(payload).toString()),
  )
  expect(payloads).toEqual(numbers(0, 50))
  await time.pass(1000)
  expect(log.state.cursors.get('bridge/cloud/telemetry')?.place).toEqual({
    kind: 'stream',
    next: 50,
  })
})

test('puts a record into an envelope where it is asked to', async () => {
  const { bridges, append, log, time, upstream } = await given({
    forwards: [{ ...plainForward, envelope: 'json' }],
  })
  upstream.hasProperties = false
  append('devices/d1/temp', '{"c":21}', 'sensor')
  log.flush()
  bridges.start()
  await time.pass(10)
  const [arrived] = upstream.arrived
  expect(arrived?.userProperties).toEqual([])
  expect(decodeEnvelope(arrived?.payload ?? Buffer.alloc(0))).toMatchObject({
    gateway: 'gw-1',
    offset: 0,
    client: 'sensor',
    topic: 'devices/d1/temp',
    payload: Buffer.from('{"c":21}'),
  })
})

test('brings the newest of a day without a link up within a second', async () => {
  const forward = { ...plainForward, order: 'live-first' as const }
  const fixture = await given({ forwards: [forward], limit: { recordsPerSecond: 50 } })
  const { appendMany, arrived, time, upstream } = fixture
  upstream.refusal = { kind: 'unreachable', sentence: 'cannot be reached' }
  fixture.bridges.start()
  for (let minute = 0; minute < 24 * 60; minute++) {
    appendMany(6)
    time.clock.advance(60_000)
  }
  await time.pass(60_000)
  upstream.refusal = undefined
  await time.pass((await fixture.bridges.status())[0]?.retryMs ?? 0)
  await time.pass(1000)
  expect(arrived()).toContain(String(24 * 60 * 6 - 1))
  const [status] = await fixture.bridges.status()
  expect(status?.forwards[0]?.historicalRecords).toBeGreaterThan(8000)
  expect(status?.forwards[0]?.lagAgeMs).toBeGreaterThan(23 * 3_600_000)
  appendMany(1)
  await time.pass(1000)
  expect(arrived()).toContain(String(24 * 60 * 6))
})

test('leaves out what the upstream refuses for good, with a gap, and goes on', async () => {
  const { bridges, appendMany, arrived, time, upstream, log } = await given()
  upstream.answer = ({ payload }) => (payload.toString() === '7' ? 0x90 : 0)
  appendMany(20)
  bridges.start()
  await time.pass(1000)
  expect(arrived()).toEqual(numbers(0, 20))
  expect(log.state.gaps.list()).toMatchObject([{ first: 7, end: 8, records: 1, reason: 'policy' }])
  expect(log.state.cursors.get('bridge/cloud/telemetry')?.place).toEqual({
    kind: 'stream',
    next: 20,
  })
  const [status] = await bridges.status()
  expect(status?.forwards[0]).toMatchObject({ sentRecords: 19, gapRecords: 1, lagRecords: 0 })
})

test('asks again for what a quota refuses, and loses nothing', async () => {
  const { bridges, appendMany, arrived, time, upstream } = await given()
  upstream.answer = ({ connection }) => (connection === 1 ? 0x97 : 0)
  appendMany(5)
  bridges.start()
  await time.pass(100)
  const [status] = await bridges.status()
  expect(status?.state).toBe('quota')
  expect(status?.sentence).toBe('the upstream takes no message: a quota is used up (0x97)')
  await time.pass(10_000)
  expect(new Set(arrived())).toEqual(new Set(numbers(0, 5)))
  expect(arrived().slice(-5)).toEqual(numbers(0, 5))
})

test('leaves out what is larger than the upstream takes, with a gap', async () => {
  const { bridges, append, log, time, arrived, upstream } = await given()
  upstream.packetBytesMax = 1000
  append('devices/a', 'small')
  append('devices/a', 'x'.repeat(2000))
  append('devices/a', 'small too')
  log.flush()
  bridges.start()
  await time.pass(100)
  expect(arrived()).toEqual(['small', 'small too'])
  expect(log.state.gaps.list()).toMatchObject([{ first: 1, end: 2, reason: 'policy' }])
})

test('pauses, also across a restart, and resumes where it was', async () => {
  const fixture = await given()
  const { appendMany, arrived, time } = fixture
  fixture.bridges.start()
  appendMany(10)
  await time.pass(100)
  await fixture.bridges.pause('cloud')
  appendMany(10)
  await fixture.restart()
  await time.pass(100_000)
  expect(arrived()).toEqual(numbers(0, 10))
  expect((await fixture.bridges.status())[0]?.state).toBe('paused')
  await fixture.bridges.resume('cloud')
  await time.pass(100)
  expect(arrived()).toEqual(numbers(0, 20))
})

test('seeks back and sends history again', async () => {
  const { bridges, appendMany, arrived, time } = await given()
  bridges.start()
  appendMany(10)
  await time.pass(1000)
  const moved = await bridges.seek('cloud', { kind: 'earliest' }, undefined)
  expect(moved).toEqual([{ cursor: 'bridge/cloud/telemetry', position: 0 }])
  await time.pass(1000)
  expect(arrived()).toEqual([...numbers(0, 10), ...numbers(0, 10)])
  await expect(bridges.seek('no', { kind: 'latest' }, undefined)).rejects.toThrow('no bridge "no"')
  await expect(bridges.seek('cloud', { kind: 'latest' }, 'x')).rejects.toThrow('no stream "x"')
})

test('leaves out what is older than max_lag, with a gap', async () => {
  const forward = { ...plainForward, maxLag: { ageMs: 60_000, onLag: 'gap' as const } }
  const backoff = { firstMs: 1000, mostMs: 3000, stableAfterMs: 1000 }
  const { bridges, appendMany, arrived, time, upstream, log } = await given({
    backoff,
    forwards: [forward],
  })
  upstream.refusal = { kind: 'refused', sentence: 'is not there' }
  bridges.start()
  appendMany(10)
  await time.pass(50_000)
  appendMany(10)
  await time.pass(30_000)
  upstream.refusal = undefined
  await time.pass(100_000)
  expect(arrived()).toEqual(numbers(10, 20))
  expect(log.state.gaps.list()).toMatchObject([
    { first: 0, end: 10, records: 10, reason: 'policy', cursor: 'bridge/cloud/telemetry' },
  ])
})

test('lets its stream refuse new messages past max_lag where it is told to', async () => {
  const forward = { ...plainForward, maxLag: { ageMs: 60_000, onLag: 'refuse' as const } }
  const backoff = { firstMs: 1000, mostMs: 3000, stableAfterMs: 1000 }
  const { bridges, appendMany, arrived, time, upstream, log } = await given({
    backoff,
    forwards: [forward],
  })
  upstream.refusal = { kind: 'refused', sentence: 'is not there' }
  bridges.start()
  appendMany(10)
  await time.pass(70_000)
  expect(log.full.get('telemetry')).toContain('lags more than its max_lag')
  upstream.refusal = undefined
  await time.pass(20_000)
  expect(log.full.has('telemetry')).toBe(false)
  expect(arrived()).toEqual(numbers(0, 10))
  expect(log.state.gaps.list()).toEqual([])
})

test('waits longer with each failure, and no less until a link was stable (K2)', async () => {
  const { bridges, time, upstream } = await given({}, { seed: 7 })
  upstream.refusal = { kind: 'refused', sentence: 'is not there: nobody listens' }
  bridges.start()
  await time.pass(600_000)
  const tries = upstream.connections
  expect(tries).toBeGreaterThan(10)
  expect(tries).toBeLessThan(120)
  const [status] = await bridges.status()
  expect(status).toMatchObject({
    state: 'refused',
    sentence: 'the upstream is not there: nobody listens',
    reconnects: 0,
  })
  expect(status?.retryMs).toBeGreaterThanOrEqual(0)
})

test('tears a link down that takes messages and acknowledges none (K3)', async () => {
  const { bridges, appendMany, arrived, time, upstream } = await given()
  upstream.holdsAcks = true
  bridges.start()
  appendMany(3)
  // What comes meanwhile is no sign of life of the upstream.
  for (let s = 0; s < 65; s++) {
    appendMany(1)
    await time.pass(1000)
    if (upstream.connections > 1) break
  }
  await time.pass(16_000)
  const [status] = await bridges.status()
  expect(status?.lastError?.kind).toBe('stuck')
  expect(status?.lastError?.sentence).toContain('acknowledges nothing')
  upstream.holdsAcks = false
  await time.pass(200_000)
  const all = new Set(arrived())
  expect(all.size).toBe(Number([...all].at(-1)) + 1)
})

test('sends the newest first after an outage, and the outage behind it (B5)', async () => {
  const forward = { ...plainForward, order: 'live-first' as const }
  const fixture = await given({ forwards: [forward], limit: { recordsPerSecond: 100 } })
  const { appendMany, arrived, time, upstream, log } = fixture
  fixture.bridges.start()
  appendMany(10)
  await time.pass(1000)
  upstream.refusal = { kind: 'unreachable', sentence: 'cannot be reached' }
  upstream.cut()
  await time.pass(1000)
  appendMany(2000)
  await time.pass(60_000)
  upstream.refusal = undefined
  const before = arrived().length
  const waited = (await fixture.bridges.status())[0]?.retryMs ?? 0
  await time.pass(waited + 1000)
  expect(arrived().slice(before)).toContain('2009')
  appendMany(1)
  await time.pass(1000)
  expect(arrived().at(-1) === '2010' || arrived().slice(-110).includes('2010')).toBe(true)
  const historical = upstream.arrived.find(({ payload }) => payload.toString() === '10')
  expect(historical?.userProperties.at(-1)).toEqual(['historical', 'true'])
  const live = upstream.arrived.find(({ payload }) => payload.toString() === '2010')
  expect(live?.userProperties.at(-1)?.[0]).toBe('time')
  await fixture.restart({ limit: {} })
  await time.pass(10_000)
  expect(new Set(arrived())).toEqual(new Set(numbers(0, 2011)))
  expect(arrived().length).toBeLessThan(2011 + 3 * forward.window)
  expect(log.state.cursors.get('bridge/cloud/telemetry')?.place).toEqual({
    kind: 'stream',
    next: 2011,
  })
})
