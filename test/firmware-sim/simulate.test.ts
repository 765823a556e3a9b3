import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { decode } from 'cbor-x'
import mqtt, { type MqttClient } from 'mqtt'
import { afterEach, describe, expect, test } from 'vitest'
import type { SimArguments } from '../../firmware-sim/args.ts'
import { simulate } from '../../firmware-sim/simulate.ts'
import { systemTime } from '../../firmware-sim/time.ts'
import { type Broker, collected, eventually, mosquitto, startMosquitto } from './support.ts'

const greenhouse = fileURLToPath(new URL('../../firmware-sim/data/greenhouse.csv', import.meta.url))
const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

interface Received {
  readonly topic: string
  readonly values: { device: string; boot: number; seq: number; t: number; temperature?: number }
}

async function given(): Promise<{ broker: Broker; client: MqttClient; received: Received[] }> {
  if (mosquitto === undefined) throw new Error('Mosquitto was there when the tests were collected')
  const broker = await startMosquitto(mosquitto)
  cleanups.push(() => broker.stop())
  const client = await mqtt.connectAsync({ host: '127.0.0.1', port: broker.port })
  cleanups.push(() => client.endAsync(true))
  const received: Received[] = []
  client.on('message', (topic, payload) => received.push({ topic, values: decode(payload) }))
  await client.subscribeAsync('devices/#', { qos: 1 })
  return { broker, client, received }
}

function fleetOf(port: number, more: Partial<SimArguments> = {}): SimArguments {
  return {
    broker: { host: '127.0.0.1', port, protocol: 4 },
    qos: 1,
    seed: 12,
    topic: 'devices/{device}/telemetry',
    durationMs: undefined,
    source: { kind: 'fleet', devices: 5, rate: 40, prefix: 'sim' },
    ...more,
  }
}

/** The sequence numbers of each device, in order of arrival. */
function sequences(received: readonly Received[]): Map<string, number[]> {
  const byDevice = new Map<string, number[]>()
  for (const { values } of received) {
    byDevice.set(values.device, [...(byDevice.get(values.device) ?? []), values.seq])
  }
  return byDevice
}

const dense = (numbers: readonly number[]): boolean => numbers.every((n, i) => n === i)

/** The first number behind `word` in the totals. */
function total(text: string, word: string): number {
  return Number(new RegExp(`${word} (\\d+)`).exec(text)?.[1])
}

if (mosquitto === undefined) {
  process.stderr.write('The simulator is not tried on a broker: apt install mosquitto\n')
}

describe.skipIf(mosquitto === undefined)('the simulator on a real broker', () => {
  test.each([
    { qos: 1, protocol: 4 },
    { qos: 2, protocol: 5 },
    { qos: 0, protocol: 4 },
  ] as const)('publishes dense CBOR at QoS $qos with protocol $protocol', async (how) => {
    const { broker, received } = await given()
    const output = collected()
    const stop = new AbortController()
    const address = { host: '127.0.0.1', port: broker.port, protocol: how.protocol }
    const sim = fleetOf(broker.port, { qos: how.qos, broker: address })
    const running = simulate(sim, systemTime, output, stop.signal)
    await eventually(() => received.length >= 100)
    stop.abort()
    expect(await running).toBe(0)
    const published = total(output.text(), 'published')
    await eventually(() => received.length >= published)
    expect(received).toHaveLength(published)
    expect(output.text()).toContain('seed 12')
    expect(output.text()).not.toContain('lost the broker')
    expect(total(output.text(), 'acknowledged')).toBe(how.qos === 0 ? 0 : published)
    const devices = sequences(received)
    expect(devices.size).toBe(5)
    for (const numbers of devices.values()) expect(dense(numbers)).toBe(true)
    for (const { topic, values } of received) {
      expect(topic.split('/')[1]).toBe(values.device)
      expect(Math.abs(values.t - systemTime.nowMs())).toBeLessThan(60_000)
    }
  })

  test('replays a recording to its end and waits for all acknowledgements', async () => {
    const { broker, received } = await given()
    const output = collected()
    const source = { kind: 'replay', file: greenhouse, speed: 100_000, loop: false } as const
    const sim = fleetOf(broker.port, { source })
    expect(await simulate(sim, systemTime, output, new AbortController().signal)).toBe(0)
    const lines = (await readFile(greenhouse, 'utf8')).trimEnd().split('\n').length
    expect(output.text()).toContain(`replayed ${lines} readings, skipped 0 bad lines`)
    const published = total(output.text(), 'published')
    expect(total(output.text(), 'acknowledged')).toBe(published)
    await eventually(() => received.length >= published)
    const devices = sequences(received)
    expect([...devices.keys()].sort()).toEqual([1, 2, 3, 4].map((node) => `greenhouse-${node}`))
    for (const numbers of devices.values()) expect(dense(numbers)).toBe(true)
    expect(received.some(({ topic }) => topic.endsWith('/alarm'))).toBe(true)
  })

  test('outlives its broker: says so once, comes back, and has all it published acknowledged', async () => {
    const { broker, client, received } = await given()
    const output = collected()
    const stop = new AbortController()
    const source = { kind: 'fleet', devices: 5, rate: 5, prefix: 'sim' } as const
    const sim = fleetOf(broker.port, { source })
    const running = simulate(sim, systemTime, output, stop.signal)
    await eventually(() => received.length >= 20)
    await broker.stop()
    await eventually(() => output.text().includes('lost the broker'))
    const again = await startMosquitto(mosquitto ?? '', broker.port)
    cleanups.push(() => again.stop())
    const before = received.length
    await eventually(() => client.connected && received.length > before + 50)
    stop.abort()
    expect(await running).toBe(0)
    expect(output.text().match(/lost the broker/g)).toHaveLength(1)
    expect(output.text().match(/connected to/g)).toHaveLength(2)
    expect(total(output.text(), 'unacknowledged')).toBe(0)
    expect(total(output.text(), 'acknowledged')).toBe(total(output.text(), 'published'))
  })

  test('ends at once, and well, when there was never a broker', async () => {
    const output = collected()
    const { broker } = await given()
    await cleanups.pop()?.()
    await broker.stop()
    const sim = fleetOf(broker.port, { durationMs: 1_500 })
    expect(await simulate(sim, systemTime, output, new AbortController().signal)).toBe(0)
    expect(output.text().match(/no broker answers/g)).toHaveLength(1)
    expect(output.text()).toContain('published 0')
    expect(output.text()).toContain('could not be sent')
  })
})

test('a recording that cannot be read is told and is a failure', async () => {
  const output = collected()
  const source = { kind: 'replay', file: '/none.csv', speed: 1, loop: false } as const
  const sim = fleetOf(1, { source })
  expect(await simulate(sim, systemTime, output, new AbortController().signal)).toBe(1)
  expect(output.text()).toContain('/none.csv cannot be read')
})
