import { expect, test } from 'vitest'
import { duration, parseArguments, simCommand } from '../../firmware-sim/args.ts'

function parse(...argv: string[]) {
  const command = simCommand()
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
  return parseArguments(argv, command)
}

test('without arguments there are 50 devices at 2 a second and a seed that is drawn', () => {
  const sim = parse()
  expect(sim).toMatchObject({
    broker: { host: '127.0.0.1', port: 1883, protocol: 4 },
    qos: 1,
    durationMs: undefined,
    source: { kind: 'fleet', devices: 50, rate: 2, prefix: 'sim' },
  })
  expect(Number.isInteger(sim.seed)).toBe(true)
})

test('a scenario has a file, and may have a speed, chaos and a ledger', () => {
  expect(parse('--scenario', 'a.toml')).toMatchObject({
    source: { kind: 'scenario', file: 'a.toml', speed: undefined, chaos: false },
  })
  const sim = parse(
    '--scenario',
    'a.toml',
    '--speed',
    '9',
    '--chaos',
    '--ledger',
    'l',
    '--seed',
    '4',
  )
  expect(sim).toMatchObject({
    seed: 4,
    ledger: 'l',
    source: { kind: 'scenario', speed: 9, chaos: true },
  })
  expect(() => parse('--scenario', 'a.toml', '--devices', '3')).toThrow('cannot be used with')
})

test('a replay has a file, a speed and perhaps a loop', () => {
  const sim = parse('--replay', 'a.csv', '--speed', '60', '--loop', '--protocol', '5', '--qos', '2')
  expect(sim).toMatchObject({
    broker: { protocol: 5 },
    qos: 2,
    source: { kind: 'replay', file: 'a.csv', speed: 60, loop: true },
  })
})

test.each([
  ['--devices', '0'],
  ['--devices', '1.5'],
  ['--rate', '0'],
  ['--rate', 'fast'],
  ['--port', '65536'],
  ['--seed', '-1'],
  ['--qos', '3'],
  ['--protocol', '3'],
  ['--topic', 'devices/+/telemetry'],
  ['--duration', '30'],
  ['--speed', '-1'],
  ['--replay', 'a.csv', '--devices', '5'],
])('%s %s is refused', (...argv) => {
  expect(() => parse(...argv)).toThrow()
})

test('durations have units', () => {
  expect(['500ms', '1.5s', '10m', '2h'].map(duration)).toEqual([500, 1_500, 600_000, 7_200_000])
  expect(() => duration('25d')).toThrow('24d')
})
