import { expect, test } from 'vitest'
import { Device } from '../../firmware-sim/device.ts'
import { LinkWatch } from '../../firmware-sim/link.ts'
import { Outbox } from '../../firmware-sim/outbox.ts'
import { Rates } from '../../firmware-sim/rates.ts'
import { ManualTime } from './support.ts'

test('an outbox gives back in the order it took', () => {
  const outbox = new Outbox<number>(3)
  for (const n of [1, 2, 3]) expect(outbox.put(n)).toBeUndefined()
  expect([outbox.take(), outbox.take(), outbox.take(), outbox.take()]).toEqual([1, 2, 3, undefined])
})

test('a full outbox drops the oldest and says which', () => {
  const outbox = new Outbox<number>(3)
  for (const n of [1, 2, 3]) outbox.put(n)
  expect(outbox.put(4)).toBe(1)
  expect(outbox.put(5)).toBe(2)
  expect(outbox.size).toBe(3)
  expect(outbox.take()).toBe(3)
  expect(outbox.clear()).toBe(2)
  expect(outbox.size).toBe(0)
})

test('a device that is not connected keeps 64 messages and counts those it drops', () => {
  const rates = new Rates()
  const device = new Device('sim-0001', {
    broker: { host: '127.0.0.1', port: 1, protocol: 4 },
    qos: 1,
    time: new ManualTime(0),
    rates,
    link: new LinkWatch('127.0.0.1:1', () => undefined),
    random: () => 0,
  })
  for (let i = 0; i < 100; i += 1) {
    device.offer({ topic: 't', payload: Buffer.alloc(1), key: String(i) })
  }
  expect(device.waiting).toBe(64)
  expect(device.room).toBe(0)
  expect(rates.counts()).toMatchObject({ dropped: 36, published: 0 })
  expect(device.discardWaiting()).toBe(64)
})
