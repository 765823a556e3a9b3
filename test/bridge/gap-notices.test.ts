import { expect, test } from 'vitest'
import { SluiceError } from '../../src/base/errors.ts'
import { asPosition } from '../../src/log/log.ts'
import { given, plainForward } from './given.ts'

const forward = { ...plainForward, gaps: 'sites/{gateway}/gaps/{stream}' }
const TOPIC = 'sites/gw-1/gaps/telemetry'

test('tells a gap in its place, as a message of its own (N1)', async () => {
  const { bridges, append, log, time, arrived, upstream } = await given({ forwards: [forward] })
  upstream.packetBytesMax = 1000
  for (const payload of ['before', 'x'.repeat(2000), 'x'.repeat(2000), 'behind']) {
    append('devices/a', payload)
  }
  log.flush()
  bridges.start()
  await time.pass(1000)
  const [first, second, third] = upstream.arrived
  expect(arrived()).toHaveLength(4 - 2 + 2)
  expect(first?.payload.toString()).toBe('before')
  expect(second).toMatchObject({ topic: TOPIC, qos: 1, retain: false })
  expect(second?.userProperties).toEqual([
    ['gateway', 'gw-1'],
    ['epoch', '1'],
    ['stream', 'telemetry'],
  ])
  expect(JSON.parse(second?.payload.toString() ?? '')).toMatchObject({
    gap: 1,
    gateway: 'gw-1',
    epoch: 1,
    stream: 'telemetry',
    first: 1,
    end: 2,
    records: 1,
    reason: 'policy',
  })
  // It grew by the next one, and is told as a whole.
  expect(JSON.parse(third?.payload.toString() ?? '')).toMatchObject({ gap: 2, first: 1, end: 3 })
  expect(arrived()[3]).toBe('behind')
})

test('tells of what retention took, and again what no link has acknowledged (N2)', async () => {
  const fixture = await given({ forwards: [forward] })
  const { appendMany, log, time, upstream } = fixture
  const cursor = 'bridge/cloud/telemetry'
  appendMany(20)
  fixture.bridges.start()
  upstream.holdsAcks = true
  const reason = 'retention' as const
  const range = { first: asPosition(0), end: asPosition(10), records: 10, sizeBytes: 10 }
  await log.state.gaps.add([{ stream: 'telemetry', cursor, reason, ...range }])
  await log.state.gaps.add([{ stream: 'telemetry', cursor: 'queue/q', reason, ...range }])
  await time.pass(1000)
  const told = () => upstream.arrived.filter(({ topic }) => topic === TOPIC).length
  expect(told()).toBe(1)
  expect(fixture.arrived()[1]).toBe('10')
  upstream.holdsAcks = false
  await fixture.restart()
  await time.pass(1000)
  expect(told()).toBe(2)
  await fixture.restart()
  await time.pass(1000)
  expect(told()).toBe(2)
})

test('tells nothing where nobody asked', async () => {
  const { bridges, append, log, time, arrived, upstream } = await given()
  upstream.packetBytesMax = 1000
  append('devices/a', 'x'.repeat(2000))
  append('devices/a', 'behind')
  log.flush()
  bridges.start()
  await time.pass(1000)
  expect(arrived()).toEqual(['behind'])
})

test('writes a gap again that the disk did not take, and goes on', async () => {
  const { bridges, append, appendMany, log, time, arrived, upstream } = await given()
  const { gaps, cursors } = log.state
  const { add } = gaps
  let failures = 0
  gaps.add = (many) => {
    if (failures++ > 0) return add.call(gaps, many)
    return Promise.reject(new SluiceError('storage', 'the disk is full'))
  }
  upstream.packetBytesMax = 1000
  append('devices/a', 'x'.repeat(2000))
  log.flush()
  appendMany(100)
  bridges.start()
  await time.pass(20_000)
  expect(arrived()).toHaveLength(100)
  expect(gaps.list()).toMatchObject([{ first: 0, end: 1, records: 1 }])
  expect(cursors.get('bridge/cloud/telemetry')?.place).toEqual({ kind: 'stream', next: 101 })
})
