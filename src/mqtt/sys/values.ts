/**
 * What stands under `$SYS/broker`: the topics of Mosquitto for what both have, in its units, so
 * that dashboards that were made for it go on.
 */
import type { MqttStats } from '../stats.ts'
import { Load } from './load.ts'

export interface SysFacts {
  readonly stats: MqttStats
  readonly version: string
  /** Sessions whose client is away, and those that ended by their expiry since the start. */
  readonly disconnected: number
  readonly expired: number
  readonly retained: number
  readonly sharedSubscriptions: number
  readonly heapBytes: number
}

const total = (counts: readonly number[]): number => counts.reduce((sum, n) => sum + n, 0)

/** Makes the values; it remembers what averages and maxima need. */
export class SysValues {
  private readonly startUs: number
  private lastUs: number
  private clientsMax = 0
  private heapMax = 0
  private readonly loads = new Map<string, Load>()

  constructor(nowUs: number) {
    this.startUs = nowUs
    this.lastUs = nowUs
  }

  /** Topics below `$SYS/broker/` and their values now. */
  at(nowUs: number, facts: SysFacts): ReadonlyMap<string, string> {
    const { stats } = facts
    const { connections } = stats
    this.clientsMax = Math.max(this.clientsMax, connections + facts.disconnected)
    this.heapMax = Math.max(this.heapMax, facts.heapBytes)
    const numbers = new Map<string, number>([
      ['clients/connected', connections],
      ['clients/disconnected', facts.disconnected],
      // The names of both before Mosquitto 1.5, which it still has.
      ['clients/active', connections],
      ['clients/inactive', facts.disconnected],
      ['clients/total', connections + facts.disconnected],
      ['clients/maximum', this.clientsMax],
      ['clients/expired', facts.expired],
      ['subscriptions/count', stats.subscriptions],
      ['shared_subscriptions/count', facts.sharedSubscriptions],
      ['retained messages/count', facts.retained],
      ['messages/stored', facts.retained],
      ['store/messages/count', facts.retained],
      ['heap/current', facts.heapBytes],
      ['heap/maximum', this.heapMax],
    ])
    const counters = countersOf(stats)
    for (const [name, count] of counters) {
      if (name !== 'sockets' && name !== 'connections') numbers.set(name, count)
    }
    return new Map([
      ['version', `sluice version ${facts.version}`],
      ['uptime', `${Math.floor((nowUs - this.startUs) / 1e6)} seconds`],
      ...[...numbers].map(([name, value]): [string, string] => [name, String(value)]),
      ...this.averages(counters, nowUs),
    ])
  }

  private averages(counters: ReadonlyMap<string, number>, nowUs: number): [string, string][] {
    const elapsedMs = (nowUs - this.lastUs) / 1000
    this.lastUs = nowUs
    return [...counters].flatMap(([name, count]) => {
      const load = this.loads.get(name) ?? new Load()
      this.loads.set(name, load)
      load.update(count, elapsedMs)
      const under = `load/${loadNames.get(name) ?? name}`
      return load.values().map(([span, value]): [string, string] => [`${under}/${span}`, value])
    })
  }
}

function countersOf(stats: MqttStats): ReadonlyMap<string, number> {
  const sent = total(stats.delivered)
  return new Map([
    ['messages/received', stats.packetsReceived],
    ['messages/sent', stats.packetsSent + sent],
    ['publish/messages/received', total(stats.received)],
    ['publish/messages/sent', sent],
    ['publish/messages/dropped', total(Object.values(stats.dropped))],
    ['publish/bytes/received', stats.publishBytesReceived],
    ['publish/bytes/sent', stats.publishBytesSent],
    ['bytes/received', stats.receivedBytes],
    ['bytes/sent', stats.sentBytes],
    ['sockets', stats.socketsOpened],
    ['connections', stats.connectionsAccepted + stats.connectionsRefused],
  ])
}

/** Where an average does not stand under the name of its counter. */
const loadNames: ReadonlyMap<string, string> = new Map([
  ['publish/messages/received', 'publish/received'],
  ['publish/messages/sent', 'publish/sent'],
  ['publish/messages/dropped', 'publish/dropped'],
])
