/** The command line of `npm run sim`. */
import { randomInt } from 'node:crypto'
import { Command, InvalidArgumentError, Option } from 'commander'
import type { BrokerAddress, QoS } from './device.ts'

export interface SimArguments {
  readonly broker: BrokerAddress
  readonly qos: QoS
  readonly seed: number
  readonly topic: string
  /** How long to publish; undefined: until a signal, or the end of the recording. */
  readonly durationMs: number | undefined
  /** Where the ledger is written; without it, nowhere. */
  readonly ledger?: string
  readonly source:
    | {
        readonly kind: 'fleet'
        readonly devices: number
        readonly rate: number
        readonly prefix: string
      }
    | {
        readonly kind: 'replay'
        readonly file: string
        readonly speed: number
        readonly loop: boolean
      }
    | {
        readonly kind: 'scenario'
        readonly file: string
        /** Undefined: as the scenario says. */
        readonly speed: number | undefined
        /** With the usual chaos where the scenario has none. */
        readonly chaos: boolean
      }
}

interface RawOptions {
  devices: number
  rate: number
  prefix: string
  host: string
  port: number
  seed: number
  qos: '0' | '1' | '2'
  protocol: '4' | '5'
  duration?: number
  topic: string
  replay?: string
  scenario?: string
  chaos?: true
  ledger?: string
  speed?: number
  loop?: true
}

/**
 * Reads the arguments after the script's name. commander ends the process itself for `--help` (0)
 * and for a mistake (1), unless `command` was told to throw.
 */
export function parseArguments(
  argv: readonly string[],
  command: Command = simCommand(),
): SimArguments {
  command.parse(argv, { from: 'user' })
  const raw = command.opts<RawOptions>()
  return {
    broker: { host: raw.host, port: raw.port, protocol: raw.protocol === '5' ? 5 : 4 },
    qos: qosOf(raw.qos),
    seed: raw.seed,
    topic: raw.topic,
    durationMs: raw.duration,
    ...(raw.ledger !== undefined && { ledger: raw.ledger }),
    source: sourceOf(raw),
  }
}

function sourceOf(raw: RawOptions): SimArguments['source'] {
  const { replay, scenario, speed } = raw
  if (scenario !== undefined) {
    return { kind: 'scenario', file: scenario, speed, chaos: raw.chaos === true }
  }
  if (replay !== undefined) {
    return { kind: 'replay', file: replay, speed: speed ?? 1, loop: raw.loop === true }
  }
  return { kind: 'fleet', devices: raw.devices, rate: raw.rate, prefix: raw.prefix }
}

export function simCommand(): Command {
  const fleetOnly = ['devices', 'rate', 'prefix']
  return new Command('npm run sim --')
    .description('Simulated devices that publish CBOR telemetry over MQTT.')
    .option('--devices <n>', 'how many devices', whole('a number of devices', 1, 100_000), 50)
    .option('--rate <n>', 'messages per second of each device, may be below 1', rate, 2)
    .option('--prefix <name>', 'device names are <name>-0001 and on', deviceName, 'sim')
    .addOption(new Option('--replay <file>', 'publish a recorded CSV instead').conflicts(fleetOnly))
    .addOption(
      new Option('--scenario <file>', 'the fleet that a TOML file describes instead').conflicts([
        ...fleetOnly,
        'replay',
        'qos',
        'protocol',
        'topic',
      ]),
    )
    .option('--chaos', 'brown-outs, lost radios and storms, where the scenario has none')
    .option('--ledger <file>', 'keep what was sent, acknowledged and dropped, for the audit')
    .option('--speed <n>', 'recorded or simulated seconds per second (default: 1)', positive)
    .option('--loop', 'begin the replay again at its end')
    .option('--host <name>', 'the broker', '127.0.0.1')
    .option('--port <n>', 'its MQTT port', whole('a port', 1, 65_535), 1883)
    .addOption(
      new Option('--seed <n>', 'the same seed draws the same curves')
        .argParser(whole('a seed', 0, 0xffff_ffff))
        .default(randomInt(1_000_000), 'drawn, and printed'),
    )
    .addOption(new Option('--qos <n>', 'quality of service').choices(['0', '1', '2']).default('1'))
    .addOption(new Option('--protocol <n>', 'MQTT 3.1.1 (4) or 5').choices(['4', '5']).default('4'))
    .option('--duration <time>', 'stop after this time, such as 30s, 10m or 2h', duration)
    .option(
      '--topic <topic>',
      'where telemetry goes; {device} is the name of the device',
      topic,
      'devices/{device}/telemetry',
    )
}

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** `30s` as milliseconds; at most 24 days, which is what a timer can hold. */
export function duration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text)
  const ms = match ? Number(match[1]) * unitMs[match[2] as keyof typeof unitMs] : 0
  if (ms < 1 || ms > 24 * unitMs.d) {
    throw new InvalidArgumentError('It is a time from 1ms to 24d, such as 500ms, 30s, 10m or 2h.')
  }
  return ms
}

function whole(what: string, least: number, most: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (!(value >= least && value <= most)) {
      throw new InvalidArgumentError(`It is ${what}, a whole number from ${least} to ${most}.`)
    }
    return value
  }
}

function rate(text: string): number {
  const value = positive(text)
  if (value > 1_000 || value < 0.000_01) {
    throw new InvalidArgumentError('It is messages per second, from 0.00001 to 1000.')
  }
  return value
}

function positive(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (!(value > 0 && value < Number.POSITIVE_INFINITY)) {
    throw new InvalidArgumentError('It is a number above 0.')
  }
  return value
}

function deviceName(text: string): string {
  if (!/^[A-Za-z0-9_.-]{1,40}$/.test(text)) {
    throw new InvalidArgumentError('It is up to 40 letters, digits, - _ or .')
  }
  return text
}

function topic(text: string): string {
  if (text === '' || /[+#\0]/.test(text)) {
    throw new InvalidArgumentError('It is a topic to publish to, without the wildcards + and #.')
  }
  return text
}

function qosOf(text: RawOptions['qos']): QoS {
  if (text === '0') return 0
  return text === '1' ? 1 : 2
}
