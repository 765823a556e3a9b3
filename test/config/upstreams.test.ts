/** Each configuration in docs/UPSTREAMS.md holds, and stays within the limits told beside it. */
import { readFileSync } from 'node:fs'
import { parse } from 'smol-toml'
import { expect, it } from 'vitest'
import { valid } from './support.ts'

const text = readFileSync(new URL('../../docs/UPSTREAMS.md', import.meta.url), 'utf8')
const sections = text
  .split(/^## /m)
  .slice(1)
  .map((section) => ({
    name: section.split('\n')[0] ?? '',
    toml: /```toml\n([\s\S]+?)```/.exec(section)?.[1] ?? '',
  }))

it('has a configuration for each upstream', () => {
  expect(sections.map(({ name }) => name)).toEqual([
    'AWS IoT Core',
    'Azure IoT Hub',
    'Azure Event Grid',
    'HiveMQ Cloud',
    'EMQX Cloud',
    'Mosquitto',
  ])
})

it.each(sections)('$name: its configuration is valid', ({ toml }) => {
  const { config } = valid(parse(toml))
  const [bridge] = config.bridges
  expect(bridge?.forwards.length).toBeGreaterThan(0)
  expect(bridge?.url).toMatch(/^mqtts:/)
  expect(bridge?.forwards.every(({ qos }) => qos === 1)).toBe(true)
})

/** What one connection may do, as the table has it. */
const limits: Readonly<Record<string, { rate?: number; bytes: number; window?: number }>> = {
  'AWS IoT Core': { rate: 100, bytes: 128_000, window: 100 },
  'Azure IoT Hub': { bytes: 256_000 },
  'EMQX Cloud': { rate: 10, bytes: 1_000_000 },
}

it.each(Object.entries(limits))('%s: it stays below the limits', (name, limit) => {
  const { config } = valid(parse(sections.find((one) => one.name === name)?.toml ?? ''))
  const [bridge] = config.bridges
  const [forward] = bridge?.forwards ?? []
  // The limit of the bridge holds within 5 %.
  expect((bridge?.limit.recordsPerSecond ?? 0) * 1.05).toBeLessThan(limit.rate ?? 1e9)
  expect(forward?.batch?.maxBytes).toBeLessThan(limit.bytes)
  expect(forward?.window).toBeLessThan(limit.window ?? 1e9)
})
