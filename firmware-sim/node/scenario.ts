/** A scenario file: who is in the fleet, how fast time passes, and what goes wrong. */
import { parse } from 'smol-toml'
import { encodingNames } from '../payload/encodings.ts'
import { type Profile, profileNames, profiles } from './profiles.ts'
import { dropRules } from './ram.ts'
import { clockNames } from './rtc.ts'

/** How often a device meets what, per device and simulated day. */
export interface Chaos {
  /** The power goes for some seconds, the memory with it. */
  readonly brownOuts: number
  /** The radio hears nothing for some minutes. */
  readonly radioLosses: number
  /** All devices lose their connection at once, per simulated day of the fleet. */
  readonly storms: number
}

export interface Group {
  /** Device names are `<name>-0001` and on. */
  readonly name: string
  readonly count: number
  readonly profile: Profile
}

export interface Scenario {
  readonly name: string
  readonly speed: number
  /** Simulated; undefined: until it is ended. */
  readonly durationMs: number | undefined
  /** Simulated time at the start, ms since 1970; undefined: now. */
  readonly startMs: number | undefined
  /** Simulated time between two commands to each device that takes them; 0: none. */
  readonly commandsEveryMs: number
  readonly groups: readonly Group[]
  readonly chaos: Chaos
}

export const noChaos: Chaos = { brownOuts: 0, radioLosses: 0, storms: 0 }
/** What `--chaos` adds to a scenario that has no chaos of its own. */
export const usualChaos: Chaos = { brownOuts: 4, radioLosses: 24, storms: 6 }

const devicesMost = 100_000
const unitMs = new Map([
  ['ms', 1],
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
  ['d', 86_400_000],
])

/** Throws one Error that names every fault of the file, a line each. */
export function parseScenario(text: string): Scenario {
  const faults: string[] = []
  const root = new Table('', parse(text), faults)
  const scenario: Scenario = {
    name: root.text('name', 'a fleet'),
    speed: root.number('speed', 1, 0.001, 1_000_000),
    durationMs: root.duration('duration', undefined),
    startMs: root.moment('start'),
    commandsEveryMs: root.duration('commands_every', 0) ?? 0,
    groups: root.tables('fleet').map(groupOf),
    chaos: root.has('chaos') ? chaosOf(root.table('chaos')) : noChaos,
  }
  root.finish()
  if (scenario.groups.length === 0) faults.push('there is no [[fleet]]')
  const names = scenario.groups.map(({ name }) => name)
  if (new Set(names).size < names.length) faults.push('two fleets have the same name')
  const devices = scenario.groups.reduce((sum, { count }) => sum + count, 0)
  if (devices > devicesMost) faults.push(`${devices} devices are more than ${devicesMost}`)
  if (faults.length > 0) throw new Error(faults.join('\n'))
  return scenario
}

function groupOf(table: Table): Group {
  const kind = table.choice('profile', profileNames, undefined) ?? profileNames[0]
  const base = profiles[kind]
  const group = {
    name: table.text('name', kind),
    count: table.number('count', 1, 1, devicesMost),
    profile: {
      ...base,
      everyMs: table.duration('every', base.everyMs) ?? base.everyMs,
      uploadMs: table.duration('upload', base.uploadMs) ?? base.uploadMs,
      encoding: table.choice('encoding', encodingNames, base.encoding) ?? base.encoding,
      ramBytes: table.number('ram', base.ramBytes, 64, 1 << 30),
      drop: table.choice('drop', dropRules, base.drop) ?? base.drop,
      clock: table.choice('clock', clockNames, base.clock) ?? base.clock,
      qos: table.number('qos', base.qos, 0, 2) as 0 | 1 | 2,
    },
  }
  table.finish()
  return group
}

function chaosOf(table: Table): Chaos {
  const chaos = {
    brownOuts: table.number('brown_outs', 0, 0, 10_000),
    radioLosses: table.number('radio_losses', 0, 0, 10_000),
    storms: table.number('storms', 0, 0, 10_000),
  }
  table.finish()
  return chaos
}

/** Reads the keys of a table and collects what is wrong with them. */
class Table {
  private readonly where: string
  private readonly values: Map<string, unknown>
  private readonly faults: string[]
  private readonly known = new Set<string>()

  constructor(where: string, values: object, faults: string[]) {
    this.where = where
    this.values = new Map(Object.entries(values))
    this.faults = faults
  }

  has(key: string): boolean {
    return this.values.has(key)
  }

  text(key: string, otherwise: string): string {
    const value = this.take(key)
    if (value === undefined) return otherwise
    if (typeof value === 'string' && /^[\w .-]{1,60}$/.test(value)) return value
    return this.fault(key, 'is up to 60 letters, digits, spaces, - _ or .', otherwise)
  }

  number(key: string, otherwise: number, least: number, most: number): number {
    const value = this.take(key)
    if (value === undefined) return otherwise
    if (typeof value === 'number' && value >= least && value <= most) return value
    return this.fault(key, `is a number from ${least} to ${most}`, otherwise)
  }

  choice<T extends string>(
    key: string,
    all: readonly T[],
    otherwise: T | undefined,
  ): T | undefined {
    const value = this.take(key)
    if (value === undefined && otherwise !== undefined) return otherwise
    const found = all.find((one) => one === value)
    return found ?? this.fault(key, `is one of ${all.join(', ')}`, otherwise)
  }

  duration(key: string, otherwise: number | undefined): number | undefined {
    const value = this.take(key)
    if (value === undefined) return otherwise
    const [, digits, unit = ''] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(String(value)) ?? []
    if (digits !== undefined) return Number(digits) * (unitMs.get(unit) ?? 0)
    return this.fault(key, 'is a time such as "500ms", "10s", "5m", "24h" or "7d"', otherwise)
  }

  moment(key: string): number | undefined {
    const value = this.take(key)
    if (value === undefined) return undefined
    const ms = value instanceof Date ? value.getTime() : Date.parse(String(value))
    return Number.isNaN(ms)
      ? this.fault(key, 'is a time such as 2026-06-01T00:00:00Z', undefined)
      : ms
  }

  table(key: string): Table {
    const value = this.take(key)
    const isTable = typeof value === 'object' && value !== null && !Array.isArray(value)
    return new Table(
      `${key}.`,
      isTable ? value : this.fault(key, 'is a table, [chaos]', {}),
      this.faults,
    )
  }

  tables(key: string): Table[] {
    const value = this.take(key) ?? []
    const list = Array.isArray(value) ? value : this.fault(key, 'are tables, [[fleet]]', [])
    return list.map((one: unknown, i) => {
      const isTable = typeof one === 'object' && one !== null
      return new Table(`${key} ${i + 1}: `, isTable ? one : {}, this.faults)
    })
  }

  /** What nobody asked for is a mistake. */
  finish(): void {
    for (const key of this.values.keys()) {
      if (!this.known.has(key)) this.faults.push(`${this.where}${key} is unknown here`)
    }
  }

  private take(key: string): unknown {
    this.known.add(key)
    return this.values.get(key)
  }

  private fault<T>(key: string, sentence: string, otherwise: T): T {
    this.faults.push(`${this.where}${key} ${sentence}`)
    return otherwise
  }
}
