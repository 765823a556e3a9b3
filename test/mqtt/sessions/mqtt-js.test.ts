import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { expect, it, onTestFinished } from 'vitest'
import { eventually, frontEnd } from '../../support/front-end.ts'

async function open(
  port: number,
  options: IClientOptions,
): Promise<[MqttClient, string[], object]> {
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 20, ...options })
  onTestFinished(async () => {
    await client.endAsync(true)
  })
  const payloads: string[] = []
  client.on('message', (_topic, payload) => payloads.push(payload.toString()))
  const connack = await new Promise<object>((resolve) => client.once('connect', resolve))
  return [client, payloads, connack]
}

it.each([4, 5] as const)('mqtt.js keeps a session, MQTT version %i', async (protocolVersion) => {
  const { port, mqtt: server } = await frontEnd({ maxInflight: 10 })
  const options: IClientOptions = {
    protocolVersion,
    clean: false,
    clientId: 'keeper',
    ...(protocolVersion === 5 ? { properties: { sessionExpiryInterval: 600 } } : {}),
  }
  const [first] = await open(port, options)
  await first.subscribeAsync('a/#', { qos: 2 })
  await first.endAsync(true)
  await eventually(() => server.stats.connections === 0, 'it is away')
  const [publisher] = await open(port, { protocolVersion })
  const sent = Array.from({ length: 200 }, (_, n) => String(n))
  await Promise.all(
    sent.map((text, n) => publisher.publishAsync('a/b', text, { qos: n % 2 ? 1 : 2 })),
  )
  const [second, payloads, connack] = await open(port, options)
  expect(connack).toMatchObject({ sessionPresent: true })
  await eventually(() => payloads.length >= 200, 'all')
  // Cut off without a word, it comes back by itself and goes on.
  second.stream.destroy()
  await publisher.publishAsync('a/c', 'after', { qos: 2 })
  await eventually(() => payloads.includes('after'), 'the one after the cut')
  expect([...payloads].sort()).toEqual([...sent, 'after'].sort())
  expect(payloads.filter((text) => Number(text) % 2 === 1)).toEqual(
    sent.filter((text) => Number(text) % 2 === 1),
  )
})
