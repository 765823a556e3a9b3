import { expect, test } from 'vitest'
import { given, plainForward, turns } from './given.ts'

const CURSOR = 'bridge/cloud/telemetry'

test.each(['strict', 'live-first'] as const)(
  'acks that come while it moves do not move the place back (%s)',
  async (order) => {
    const fixture = await given({ forwards: [{ ...plainForward, order }] })
    const { appendMany, log, time, upstream } = fixture
    const { cursors, documents } = log.state
    fixture.bridges.start()
    appendMany(100)
    await time.pass(1000)
    upstream.holdsAcks = true
    appendMany(10)
    await time.pass(10)
    let go: () => void = () => undefined
    const { seek } = cursors
    cursors.seek = async (name, to) => {
      const moved = await seek.call(cursors, name, to)
      await new Promise<void>((resolve) => {
        go = resolve
      })
      return moved
    }
    const moved = fixture.bridges.seek('cloud', { kind: 'earliest' }, undefined)
    await turns()
    upstream.current?.ack()
    await time.pass(1000)
    expect(cursors.get(CURSOR)?.place).toEqual({ kind: 'stream', next: 0 })
    expect(await documents.get('bridge', [CURSOR])).toEqual([undefined])
    go()
    expect(await moved).toEqual([{ cursor: CURSOR, position: 0 }])
    const before = upstream.arrived.length
    upstream.holdsAcks = false
    await time.pass(60_000)
    expect(upstream.arrived.length - before).toBe(110)
  },
)

test('answers to what was sent before it count for nothing', async () => {
  const { bridges, appendMany, log, time, upstream } = await given()
  upstream.holdsAcks = true
  upstream.answer = () => 0x90
  bridges.start()
  appendMany(5)
  await time.pass(100)
  await bridges.seek('cloud', { kind: 'latest' }, undefined)
  upstream.current?.ack()
  await time.pass(1000)
  expect(log.state.gaps.list()).toEqual([])
  expect((await bridges.status())[0]?.forwards[0]).toMatchObject({ sentRecords: 0, gapRecords: 0 })
})

test('a damaged document of ranges costs duplicates, not the start', async () => {
  const forward = { ...plainForward, order: 'live-first' as const }
  const fixture = await given({ forwards: [forward] })
  const { appendMany, log, time, arrived } = fixture
  fixture.bridges.start()
  appendMany(10)
  await time.pass(1000)
  log.state.documents.get = async (_kind, keys) =>
    keys.map((key) => (key.endsWith('/paused') ? undefined : Buffer.from('{damaged')))
  await fixture.restart({ limit: { bytesPerDay: 1_000_000 } })
  appendMany(1)
  await time.pass(1000)
  expect(arrived().at(-1)).toBe('10')
  expect(fixture.complaints.join()).toContain('some records go up twice')
})

test('what expires during a backfill does not send the rest of it twice', async () => {
  const forward = { ...plainForward, order: 'live-first' as const }
  const fixture = await given({ forwards: [forward], limit: { recordsPerSecond: 50 } })
  const { append, log, time, upstream } = fixture
  upstream.packetBytesMax = 1000
  for (let i = 0; i < 300; i++) append('devices/a', i % 10 === 0 ? 'x'.repeat(2000) : String(i))
  log.flush()
  fixture.bridges.start()
  await time.pass(60_000)
  const payloads = fixture.arrived()
  expect(new Set(payloads).size).toBe(270)
  expect(payloads).toHaveLength(270)
})

test('a paused bridge keeps its max_lag, and a pause that meets a stop ends', async () => {
  const maxLag = { ageMs: 60_000, onLag: 'gap' as const }
  const { bridges, appendMany, log, time } = await given({
    forwards: [{ ...plainForward, maxLag }],
  })
  bridges.start()
  await time.pass(100)
  await Promise.all([bridges.pause('cloud'), bridges.pause('cloud')])
  appendMany(10)
  await time.pass(70_000)
  expect(log.state.gaps.list()).toMatchObject([{ first: 0, end: 10, reason: 'policy' }])
  expect(log.state.cursors.get(CURSOR)?.place).toEqual({ kind: 'stream', next: 10 })
  expect((await bridges.status())[0]).toMatchObject({ state: 'paused' })
})

test('two forwards of one stream have a place of their own each', async () => {
  const narrow = { ...plainForward, topics: ['devices/a'], to: 'narrow/{topic}' }
  const fixture = await given({ forwards: [plainForward, narrow] })
  const { append, log, time, upstream } = fixture
  for (const topic of ['devices/a', 'devices/b', 'devices/a']) append(topic, 'x')
  log.flush()
  fixture.bridges.start()
  await time.pass(1000)
  const topics = () => upstream.arrived.map(({ topic }) => topic).toSorted()
  const [a, b] = ['sites/gw-1/devices/a', 'sites/gw-1/devices/b']
  expect(topics()).toEqual(['narrow/devices/a', 'narrow/devices/a', a, a, b])
  await fixture.restart()
  await time.pass(1000)
  expect(topics()).toHaveLength(5)
  for (const name of [CURSOR, `${CURSOR}/2`]) {
    expect(log.state.cursors.get(name)?.place).toEqual({ kind: 'stream', next: 3 })
  }
})
