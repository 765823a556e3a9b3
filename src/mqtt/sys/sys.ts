/**
 * The `$SYS` topics: made every 10 seconds, given to who subscribes like retained messages, in no
 * log. A client cannot publish to them, and a filter that begins with a wildcard does not match
 * them [MQTT-4.7.2-1].
 */
import type { Clock } from '../../base/clock.ts'
import type { LogRecord } from '../../log/log.ts'
import { type RetainedEntry, unexpiring } from '../retained/entry.ts'
import { memoryRecord } from '../retained/memory-record.ts'
import { TopicIndex } from '../retained/topic-index.ts'
import { RetainedWalk, type Walked } from '../retained/walk.ts'
import { type SysFacts, SysValues } from './values.ts'

/** Mosquitto's default. */
export const SYS_INTERVAL_MS = 10_000
/** How often the clock is looked at. */
const LOOK_INTERVAL_MS = 1000
const NO_BYTES = new Uint8Array(0)

export interface SysParts {
  readonly clock: Clock
  facts(): SysFacts
  /** Gives a value that changed to who subscribes to it now. */
  deliver(record: LogRecord): void
}

export class Sys implements Walked {
  readonly index = new TopicIndex<RetainedEntry>()
  /** Always at hand. */
  readonly payloads = {
    fetch: (entries: readonly RetainedEntry[]) => entries.map(({ cached }) => cached),
    offer: () => undefined,
  }
  private readonly parts: SysParts
  private readonly values: SysValues
  private timer: NodeJS.Timeout | undefined
  private changes = 0
  private nextUs = 0

  constructor(parts: SysParts) {
    this.parts = parts
    this.values = new SysValues(parts.clock.monotonicUs())
  }

  start(): void {
    this.timer = setInterval(() => this.look(), LOOK_INTERVAL_MS).unref()
    this.look()
  }

  /** What a new subscription to a filter that begins with `$SYS` gets. */
  walk(filter: string): RetainedWalk {
    return new RetainedWalk(this, filter, this.changes)
  }

  isCurrent(entry: RetainedEntry): boolean {
    return this.index.get(entry.topic) === entry
  }

  isExpired(): boolean {
    return false
  }

  drop(): void {
    // Values are replaced and never go.
  }

  lost(): void {
    // Their bytes are in memory.
  }

  close(): void {
    clearInterval(this.timer)
  }

  private look(): void {
    const nowUs = this.parts.clock.monotonicUs()
    if (nowUs < this.nextUs) return
    this.nextUs = nowUs + SYS_INTERVAL_MS * 1000
    for (const [name, value] of this.values.at(nowUs, this.parts.facts())) this.set(name, value)
  }

  private set(name: string, value: string): void {
    const topic = `$SYS/broker/${name}`
    const payload = Buffer.from(value)
    const known = this.index.get(topic)?.cached
    if (known !== undefined && payload.equals(known.payload)) return
    const { clock } = this.parts
    const record = memoryRecord({
      stream: '',
      position: 0,
      topic,
      client: '',
      qos: 0,
      retain: true,
      timeMs: clock.now(),
      boot: 0,
      monotonicUs: clock.monotonicUs(),
      properties: NO_BYTES,
      payload,
    })
    this.index.set(topic, unexpiring(record, ++this.changes))
    this.parts.deliver(record)
  }
}
