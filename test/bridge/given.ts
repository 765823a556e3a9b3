/** A bridge on the log in memory, with an upstream in memory and a clock that tests move. */
import { onTestFinished } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import { SeededRandom } from '../../src/base/random.ts'
import type { LocalMessage } from '../../src/bridge/bridge.ts'
import { type Bridges, openBridges } from '../../src/bridge/bridge.ts'
import type { BridgeSettings, ForwardSettings } from '../../src/bridge/settings.ts'
import type { After } from '../../src/bridge/timer.ts'
import type { AppendWaiter, LogRecord, StreamSettings } from '../../src/log/log.ts'
import { MemoryLog } from '../../src/log/memory.ts'
import { FakeUpstream } from '../support/fake-uplink.ts'

export const stream: StreamSettings = {
  name: 'telemetry',
  topics: ['devices/#'],
  partitions: 2,
  key: { kind: 'topic' },
  ackAfter: 'fsync',
  qos0: true,
  lingerMs: 0,
}

export const alarms: StreamSettings = { ...stream, name: 'alarms', topics: ['alarms/#'] }

export const plainForward: ForwardSettings = {
  stream: 'telemetry',
  to: 'sites/{gateway}/{topic}',
  qos: 1,
  window: 16,
  priority: 5,
  order: 'strict',
  start: { kind: 'earliest' },
  envelope: 'none',
  maxLag: { onLag: 'gap' },
}

export const plainBridge: BridgeSettings = {
  name: 'cloud',
  url: 'mqtt://127.0.0.1:1883',
  protocol: 5,
  clientId: '{gateway}',
  keepaliveMs: 60_000,
  backoff: { firstMs: 1000, mostMs: 60_000, stableAfterMs: 30_000 },
  limit: {},
  forwards: [plainForward],
  receives: [],
}

/** Time that stands still, and timers that go off when it is moved. */
export class Time {
  readonly clock: ManualClock
  private timers: { readonly atMs: number; readonly call: () => void }[] = []
  private nowMs = 0

  constructor() {
    this.clock = new ManualClock(1_763_700_000_000)
  }

  readonly after: After = (ms, call) => {
    const timer = { atMs: this.nowMs + ms, call }
    this.timers.push(timer)
    return () => {
      this.timers = this.timers.filter((other) => other !== timer)
    }
  }

  /** Lets `ms` pass; timers go off in their order, each at its time, with loop turns between. */
  async pass(ms: number): Promise<void> {
    const endMs = this.nowMs + ms
    for (;;) {
      await turns()
      const due = this.timers.filter(({ atMs }) => atMs <= endMs).sort((a, b) => a.atMs - b.atMs)[0]
      if (due === undefined) break
      this.timers = this.timers.filter((other) => other !== due)
      this.move(Math.max(this.nowMs, due.atMs))
      due.call()
    }
    this.move(endMs)
    await turns()
  }

  private move(toMs: number): void {
    this.clock.advance(toMs - this.nowMs)
    this.nowMs = toMs
  }
}

/** Lets everything that is due run: promises, immediates and what they begin. */
export async function turns(count = 30): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve))
}

export interface Given {
  readonly time: Time
  readonly log: MemoryLog
  readonly upstream: FakeUpstream
  readonly local: LocalMessage[]
  readonly complaints: string[]
  /** Whether what comes down is kept; tests replace it. */
  keeps: () => Promise<boolean>
  bridges: Bridges
  append(topic: string, payload?: string, client?: string): LogRecord
  appendMany(count: number, topic?: string): void
  /** Payloads that the upstream has, as text. */
  arrived(): string[]
  /** Stops the bridges and opens them anew on the same log, as a restart does. */
  restart(changed?: Partial<BridgeSettings>): Promise<void>
}

const quiet: AppendWaiter = { settled: () => undefined }
const NONE = new Uint8Array(0)

export async function given(
  settings: Partial<BridgeSettings> = {},
  options: { readonly seed?: number } = {},
): Promise<Given> {
  const time = new Time()
  const log = new MemoryLog([stream, alarms], time.clock)
  const upstream = new FakeUpstream()
  const local: LocalMessage[] = []
  const complaints: string[] = []
  const complain = (fields: object, sentence: string) =>
    complaints.push(`${sentence} ${JSON.stringify(fields)}`)
  const logger = {
    debug: () => undefined,
    info: () => undefined,
    warn: complain,
    error: complain,
  }
  const client = (name: string) => log.client(name)
  const append = (topic: string, payload = '', by = 'device'): LogRecord => {
    const bytes = Buffer.from(payload)
    return log.append({
      route: log.route(topic),
      client: client(by),
      qos: 1,
      retain: false,
      key: undefined,
      bytes,
      propertiesAt: 0,
      propertiesEnd: 0,
      payloadAt: 0,
      payloadEnd: bytes.length,
      waiter: quiet,
    })
  }
  let count = 0
  const appendMany = (many: number, topic = 'devices/d1/temp'): void => {
    for (let i = 0; i < many; i++) append(topic, String(count++))
    log.flush()
  }
  const unopened = {} as Bridges
  const open = (changed: Partial<BridgeSettings>): Promise<Bridges> =>
    openBridges({
      bridges: [{ ...plainBridge, ...settings, ...changed }],
      gateway: 'gw-1',
      log,
      publishLocal: async (message) => {
        local.push({ ...message, payload: Buffer.from(message.payload ?? NONE) })
        return await made.keeps()
      },
      roomBytes: () => undefined,
      clock: time.clock,
      logger,
      random: new SeededRandom(options.seed ?? 1),
      after: time.after,
      uplink: () => upstream,
    })
  const made: Given = {
    keeps: async () => true,
    time,
    log,
    upstream,
    local,
    complaints,
    bridges: unopened,
    append,
    appendMany,
    arrived: () => upstream.arrived.map(({ payload }) => payload.toString()),
    restart: async (changed = {}) => {
      await made.bridges.stop()
      made.bridges = await open(changed)
      made.bridges.start()
      await time.pass(0)
    },
  }
  made.bridges = await open({})
  onTestFinished(async () => {
    await made.bridges.stop()
    await log.close()
  })
  return made
}
