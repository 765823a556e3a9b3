/** A fleet of constrained devices from its first connection to its last acknowledgement. */
import type { BrokerAddress } from '../device.ts'
import { Ledger } from '../ledger.ts'
import { LinkWatch } from '../link.ts'
import { chance, sequence } from '../random.ts'
import { plural, showMs } from '../screen.ts'
import { deviceName } from '../telemetry.ts'
import type { Time } from '../time.ts'
import { Agenda } from './agenda.ts'
import { Node, type NodeContext } from './node.ts'
import { Operator } from './operator.ts'
import type { Chaos, Scenario } from './scenario.ts'
import { Tally } from './tally.ts'

export interface FieldOptions {
  readonly scenario: Scenario
  readonly broker: BrokerAddress
  readonly seed: number
}

const dayMs = 86_400_000
const jamMsMost = 10 * 60_000
const settlePollMs = 20
const phaseLane = 401

export class Field {
  readonly ledger = new Ledger()
  readonly tally = new Tally()
  readonly nodes: readonly Node[]
  private readonly agenda: Agenda
  private readonly scenario: Scenario
  private readonly seed: number
  private readonly time: Time
  private readonly link: LinkWatch
  private readonly groups: readonly { readonly name: string; readonly tally: Tally }[]
  private readonly operator: Operator | undefined
  private readonly random: () => number
  private ending = false
  private before = { atMs: 0, acknowledged: 0, simulatedMs: 0 }

  constructor({ scenario, broker, seed }: FieldOptions, time: Time, say: (line: string) => void) {
    this.scenario = scenario
    this.seed = seed
    this.time = time
    this.random = sequence(seed)
    this.link = new LinkWatch(`${broker.host}:${broker.port}`, say)
    this.agenda = new Agenda(time, scenario.speed, scenario.startMs ?? time.nowMs())
    const context: NodeContext = {
      agenda: this.agenda,
      broker,
      seed,
      boot: Math.floor(time.nowMs()),
      ledger: this.ledger,
      link: this.link,
      random: sequence(seed + 1),
      realMs: () => time.nowMs(),
    }
    this.groups = scenario.groups.map(({ name }) => ({ name, tally: new Tally(this.tally) }))
    this.nodes = nodesOf(scenario, context, this.groups)
    const commanded = this.nodes.filter(({ profile }) => profile.commands).map(({ name }) => name)
    if (commanded.length > 0 && scenario.commandsEveryMs > 0) {
      const random = sequence(seed + 2)
      const every = scenario.commandsEveryMs
      this.operator = new Operator('operator', broker, this.agenda, commanded, every, random)
    }
    this.before = { atMs: time.nowMs(), acknowledged: 0, simulatedMs: this.agenda.nowMs }
  }

  /** Lets the fleet live until its scenario is over or `signal` aborts. */
  async live(signal: AbortSignal): Promise<void> {
    const { durationMs, chaos } = this.scenario
    for (const [i, node] of this.nodes.entries()) node.start(chance(this.seed, i, phaseLane))
    this.operator?.start()
    this.planChaos(chaos)
    const endMs = durationMs === undefined ? undefined : this.agenda.nowMs + durationMs
    await this.agenda.run(signal, endMs)
  }

  /**
   * Nobody measures any more, everybody sends what it has. Ends when all of it is acknowledged, or
   * after `graceMs` of real time; says how many readings are left in the devices.
   */
  async drain(graceMs: number): Promise<number> {
    const stop = new AbortController()
    this.ending = true
    this.operator?.close()
    for (const node of this.nodes) node.drain()
    const running = this.agenda.run(stop.signal)
    const untilMs = this.time.nowMs() + graceMs
    while (this.pending > 0 && this.time.nowMs() < untilMs) await this.time.sleep(settlePollMs)
    stop.abort()
    await running
    for (const node of this.nodes) node.close()
    return this.pending
  }

  get pending(): number {
    return this.nodes.reduce((sum, node) => sum + node.pending, 0)
  }

  /** One line of numbers; rates are those since the last call. */
  statusLine(): string {
    const nowMs = this.time.nowMs()
    const realMs = Math.max(1, nowMs - this.before.atMs)
    const acknowledged = this.tally.of('acknowledged')
    const perSecond = ((acknowledged - this.before.acknowledged) / realMs) * 1_000
    const speed = (this.agenda.nowMs - this.before.simulatedMs) / realMs
    this.before = { atMs: nowMs, acknowledged, simulatedMs: this.agenda.nowMs }
    const online = this.nodes.filter(({ isOnline }) => isOnline).length
    const fullest = this.nodes.reduce((most, { fullness }) => Math.max(most, fullness), 0)
    return [
      new Date(this.agenda.nowMs).toISOString().slice(0, 16),
      `×${speed.toFixed(speed < 10 ? 1 : 0)}`,
      `${online}/${this.nodes.length} online`,
      `${perSecond.toFixed(0)} acknowledged/s`,
      `${this.pending} in memory (fullest ${(100 * fullest).toFixed(0)} %)`,
      `${this.tally.of('dropped') + this.tally.of('lostInBrownOuts')} given up`,
      plural(this.tally.of('errors'), 'error'),
    ].join(' · ')
  }

  /** The whole run, a line for each fleet and the sums. */
  totals(): string[] {
    const heads = ['made', 'sent', 'acked', 'again', 'dropped', 'brown-out', 'connects', 'errors']
    const row = (name: string, cells: readonly (string | number)[]): string =>
      [name.padEnd(14), ...cells.map((cell) => String(cell).padStart(10))].join('')
    const cells = (tally: Tally): number[] => [
      tally.of('made'),
      tally.of('sent'),
      tally.of('acknowledged'),
      tally.of('sentAgain'),
      tally.of('dropped'),
      tally.of('lostInBrownOuts'),
      tally.of('connects'),
      tally.of('errors'),
    ]
    const { latency } = this.tally
    const [p50, p99] = [showMs(latency.quantile(0.5)), showMs(latency.quantile(0.99))]
    const { operator } = this
    return [
      row('fleet', heads),
      ...this.groups.map(({ name, tally }) => row(name, cells(tally))),
      row('all', cells(this.tally)),
      `publish to acknowledgement: p50 ${p50}, p99 ${p99}`,
      ...(operator ? [`commands ${operator.sent}, answered ${operator.answered}`] : []),
    ]
  }

  /** Brown-outs, lost radios and storms at random moments, as often as the scenario says. */
  private planChaos({ brownOuts, radioLosses, storms }: Chaos): void {
    const fleet = this.nodes.length
    const one = (): Node | undefined => this.nodes[Math.floor(this.random() * fleet)]
    this.often(brownOuts * fleet, () => one()?.brownOut(this.random()))
    this.often(radioLosses * fleet, () => one()?.jam(this.random() * jamMsMost))
    this.often(storms, () => {
      for (const node of this.nodes) node.jam(0)
    })
  }

  /** `perDay` times a simulated day on average, with the pauses of chance. */
  private often(perDay: number, act: () => void): void {
    if (perDay <= 0) return
    const pauseMs = (-Math.log(1 - this.random()) * dayMs) / perDay
    this.agenda.after(pauseMs, () => {
      if (this.ending) return
      act()
      this.often(perDay, act)
    })
  }
}

function nodesOf(
  scenario: Scenario,
  context: NodeContext,
  groups: readonly { readonly tally: Tally }[],
): Node[] {
  const nodes: Node[] = []
  for (const [i, { name, count, profile }] of scenario.groups.entries()) {
    const tally = groups[i]?.tally ?? new Tally()
    for (let device = 0; device < count; device += 1) {
      nodes.push(new Node(deviceName(name, device), nodes.length, profile, tally, context))
    }
  }
  return nodes
}
