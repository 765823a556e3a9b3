import { expect, test } from 'vitest'
import { Backoff } from '../../firmware-sim/backoff.ts'
import { LinkWatch } from '../../firmware-sim/link.ts'
import { sequence } from '../../firmware-sim/random.ts'

function watch(): { link: LinkWatch; said: string[] } {
  const said: string[] = []
  return { link: new LinkWatch('broker:1883', (line) => said.push(line)), said }
}

test('a broker that is not there is told once, however many devices try', () => {
  const { link, said } = watch()
  for (let i = 0; i < 500; i += 1) link.trouble(`sim-${i}`, 'ECONNREFUSED', true)
  expect(said).toEqual([
    'no broker answers at broker:1883 (ECONNREFUSED); trying again until one does',
  ])
})

test('each change of state is one sentence', () => {
  const { link, said } = watch()
  for (let i = 0; i < 3; i += 1) link.deviceConnected()
  for (let i = 0; i < 3; i += 1) link.deviceDisconnected(false)
  link.trouble('sim-1', 'ECONNREFUSED', true)
  for (let i = 0; i < 3; i += 1) link.deviceConnected()
  expect(said).toEqual([
    'connected to broker:1883',
    'lost the broker at broker:1883; trying again until it is back',
    'connected to broker:1883',
  ])
})

test('devices that end their own connections are no news', () => {
  const { link, said } = watch()
  link.deviceConnected()
  link.deviceDisconnected(true)
  expect(said).toHaveLength(1)
  expect(link.connectedCount).toBe(0)
})

test('a refusal is told once with its reason, another reason too, and a flood of reasons is cut', () => {
  const { link, said } = watch()
  link.deviceConnected()
  link.trouble('sim-1', 'Not authorized', false)
  link.trouble('sim-2', 'Not authorized', false)
  link.trouble('sim-2', 'Quota exceeded', false)
  expect(said).toHaveLength(3)
  for (let i = 0; i < 100; i += 1) link.trouble('sim-3', `reason ${i}`, false)
  expect(said.length).toBeLessThan(12)
})

test('pauses are jittered, grow, have a limit, and begin anew after a success', () => {
  const backoff = new Backoff(sequence(99))
  const pauses = Array.from({ length: 200 }, () => backoff.nextMs())
  expect(Math.min(...pauses)).toBeGreaterThanOrEqual(500)
  expect(Math.max(...pauses)).toBe(8_000)
  expect(new Set(pauses).size).toBeGreaterThan(20)
  backoff.reset()
  expect(backoff.nextMs()).toBeLessThanOrEqual(1_500)
})
