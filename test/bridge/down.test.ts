import { expect, test } from 'vitest'
import { expiryAt } from '../../src/bridge/origin.ts'
import { given, turns } from './given.ts'

const receives = [{ from: 'sites/{gateway}/commands/#', to: 'commands/{#}', expiresMs: 600_000 }]

test('subscribes once for the life of the upstream session, and unsubscribes what is gone', async () => {
  const fixture = await given({ receives })
  fixture.bridges.start()
  await fixture.time.pass(10)
  expect(fixture.upstream.subscribed).toEqual(['sites/gw-1/commands/#'])
  fixture.upstream.cut()
  await fixture.time.pass(10_000)
  expect(fixture.upstream.subscribed).toEqual(['sites/gw-1/commands/#'])
  await fixture.restart({ receives: [{ from: 'other/#', to: '{topic}' }] })
  await fixture.time.pass(10)
  expect(fixture.upstream.subscribed).toEqual(['other/#'])
})

test('publishes a command here under its topic, and takes it only once it is kept', async () => {
  const { bridges, time, upstream, local } = await given({ receives })
  bridges.start()
  await time.pass(10)
  await upstream.send({ topic: 'sites/gw-1/commands/pump/1', payload: Buffer.from('on') })
  expect(local).toMatchObject([
    { topic: 'commands/pump/1', client: '$bridge/cloud', qos: 1, retain: false },
  ])
  expect(Buffer.from(local[0]?.payload ?? []).toString()).toBe('on')
})

test('acknowledges a command only once it is kept (W1)', async () => {
  const fixture = await given({ receives })
  fixture.bridges.start()
  await fixture.time.pass(10)
  let keep: (isKept: boolean) => void = () => undefined
  fixture.keeps = () =>
    new Promise((resolve) => {
      keep = resolve
    })
  let isTaken = false
  void fixture.upstream.send({ topic: 'sites/gw-1/commands/a' }).then(() => {
    isTaken = true
  })
  await turns()
  expect(isTaken).toBe(false)
  keep(true)
  await turns()
  expect(isTaken).toBe(true)
})

test('asks again for a command that storage refused (W2)', async () => {
  const fixture = await given({ receives })
  fixture.bridges.start()
  await fixture.time.pass(10)
  fixture.keeps = async () => false
  void fixture.upstream.send({ topic: 'sites/gw-1/commands/a' })
  await turns()
  const [status] = await fixture.bridges.status()
  expect(status?.state).toBe('lost')
  expect(status?.sentence).toContain('cannot be kept here now')
  expect(status?.received).toBe(0)
})

test('gives a command what is left of its time', async () => {
  const { bridges, time, upstream, local } = await given({ receives })
  bridges.start()
  await time.pass(10)
  const pairs = [['by', 'operator']] as const
  await upstream.send({ topic: 'sites/gw-1/commands/a', expiryS: 30, userProperties: pairs })
  const block = Buffer.from(local[0]?.properties ?? [])
  expect(block.readUInt32BE(expiryAt(block))).toBe(30)
  expect(local[0]?.userProperties).toEqual(pairs)
})

test('notes a stale command instead of delivering it', async () => {
  const { bridges, time, upstream, local } = await given({ receives })
  bridges.start()
  await time.pass(10)
  await upstream.send({ topic: 'sites/gw-1/commands/a', expiryS: 0 })
  expect(local).toEqual([])
  const [status] = await bridges.status()
  expect(status).toMatchObject({ received: 0, receiveExpired: 1 })
  expect(status?.lastExpired).toMatchObject([{ topic: 'commands/a' }])
})

test('does not take its own message back', async () => {
  const { bridges, time, upstream, local } = await given({ receives })
  bridges.start()
  await time.pass(10)
  const userProperties = [['gateway', 'gw-1']] as const
  await upstream.send({ topic: 'sites/gw-1/commands/a', userProperties })
  expect(local).toEqual([])
  expect((await bridges.status())[0]?.receiveSkipped).toBe(1)
})

test('takes a retained command once, also over a restart', async () => {
  const fixture = await given({ receives })
  fixture.bridges.start()
  await fixture.time.pass(10)
  const command = { topic: 'sites/gw-1/commands/mode', payload: Buffer.from('eco'), retain: true }
  await fixture.upstream.send(command)
  await fixture.upstream.send(command)
  await turns()
  await fixture.restart()
  await fixture.upstream.send(command)
  expect(fixture.local).toHaveLength(1)
  await fixture.upstream.send({ ...command, payload: Buffer.from('full') })
  expect(fixture.local).toHaveLength(2)
})
