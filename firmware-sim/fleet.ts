/** Devices that share one broker, one set of counters and one voice. */
import { encode } from 'cbor-x'
import { type BrokerAddress, Device, type DeviceContext, type Message, type QoS } from './device.ts'
import { Ledger } from './ledger.ts'
import { LinkWatch } from './link.ts'
import { sequence } from './random.ts'
import { RateMeter, Rates } from './rates.ts'
import { plural, showMs } from './screen.ts'
import type { Time } from './time.ts'

export interface FleetOptions {
  readonly broker: BrokerAddress
  readonly qos: QoS
  readonly seed: number
  /** Topic of telemetry; `{device}` stands for the device's name. */
  readonly topic: string
  readonly onAcknowledged?: (message: Message) => void
}

/** A device with its sequence numbers: what the sensors' side of the firmware sees. */
export interface Member {
  readonly device: Device
  /** Publishes a reading: `seq` is dense per device and boot, over readings and alarms. */
  telemetry(values: Readonly<Record<string, unknown>>): void
  /** Publishes an alarm. */
  alarm(values: Readonly<Record<string, unknown>>): void
}

/** Poll period while waiting for acknowledgements: short beside the second people wait for. */
const settlePollMs = 10
const alarmTopic = 'devices/{device}/alarm'

export class Fleet {
  readonly rates = new Rates()
  readonly ledger = new Ledger()
  private readonly options: FleetOptions
  private readonly time: Time
  private readonly bootMs: number
  private readonly link: LinkWatch
  private readonly context: DeviceContext
  private readonly meter: RateMeter
  private readonly devices: Device[] = []

  constructor(options: FleetOptions, time: Time, say: (line: string) => void) {
    const { broker, qos, seed, onAcknowledged } = options
    this.options = options
    this.time = time
    this.bootMs = Math.floor(time.nowMs())
    this.link = new LinkWatch(`${broker.host}:${broker.port}`, say)
    this.context = {
      broker,
      qos,
      time,
      rates: this.rates,
      link: this.link,
      random: sequence(seed),
      ...(onAcknowledged && { onAcknowledged }),
    }
    this.meter = new RateMeter(time.nowMs(), this.rates.counts())
  }

  get connectedCount(): number {
    return this.link.connectedCount
  }

  get unacknowledged(): number {
    return this.devices.reduce((sum, device) => sum + device.unacknowledged, 0)
  }

  get waiting(): number {
    return this.devices.reduce((sum, device) => sum + device.waiting, 0)
  }

  /** Adds a device, which begins to connect when its `connect` is called. */
  add(name: string): Member {
    const device = new Device(name, this.context)
    this.devices.push(device)
    const numbers = sequenceNumbers()
    return {
      device,
      telemetry: this.publisher(device, this.options.topic, numbers),
      alarm: this.publisher(device, alarmTopic, numbers),
    }
  }

  /** One line of numbers; rates are those since the last call. */
  statusLine(): string {
    const counts = this.rates.counts()
    const rates = this.meter.look(this.time.nowMs(), counts)
    return [
      `${this.connectedCount}/${this.devices.length} connected`,
      `${rates.published.toFixed(1)} published/s`,
      `${rates.acknowledged.toFixed(1)} acknowledged/s`,
      `${this.unacknowledged} unacknowledged`,
      `${this.waiting} waiting`,
      `${counts.dropped} dropped`,
      plural(counts.errors, 'error'),
      plural(counts.reconnects, 'reconnect'),
    ].join(' · ')
  }

  /** The whole run in a few lines. */
  totals(): string[] {
    const counts = this.rates.counts()
    const { latency } = this.rates
    const lines = [
      `published ${counts.published}, acknowledged ${counts.acknowledged}, unacknowledged ${this.unacknowledged}`,
      `dropped ${counts.dropped}, lost ${counts.lost}, ${plural(counts.errors, 'error')}, ${plural(counts.reconnects, 'reconnect')}`,
    ]
    if (latency.count > 0) {
      const p50 = showMs(latency.quantile(0.5))
      const p99 = showMs(latency.quantile(0.99))
      lines.push(`publish to acknowledgement: p50 ${p50}, p99 ${p99}`)
    }
    return lines
  }

  /**
   * Waits until nothing is unacknowledged or waiting, or `signal` aborts; says whether it came to
   * that.
   */
  async settled(signal: AbortSignal): Promise<boolean> {
    while (this.unacknowledged + this.waiting > 0) {
      if (signal.aborted) return false
      await this.time.sleep(settlePollMs, signal)
    }
    return true
  }

  /**
   * Stops: what was not sent is discarded, what was sent may still be acknowledged for `graceMs`.
   * Returns how many messages were discarded.
   */
  async stop(graceMs: number): Promise<number> {
    const discarded = this.devices.reduce((sum, device) => sum + device.discardWaiting(), 0)
    const grace = new AbortController()
    const timer = this.time.sleep(graceMs, grace.signal).then(() => grace.abort())
    await this.settled(grace.signal)
    grace.abort()
    await timer
    await Promise.all(this.devices.map((device) => device.close()))
    return discarded
  }

  /** A message keeps its number when it is dropped. */
  private publisher(
    device: Device,
    template: string,
    nextSeq: () => number,
  ): (values: Readonly<Record<string, unknown>>) => void {
    const topic = template.replaceAll('{device}', device.name)
    const boot = this.bootMs
    const account = this.ledger.account(device.name, boot)
    return (values) => {
      const seq = nextSeq()
      const t = Math.floor(this.time.nowMs())
      const payload = encode({ device: device.name, boot, seq, t, ...values })
      const key = messageKey(topic, device.name, boot, seq)
      device.offer({ topic, payload, key, reading: { account, seq } })
    }
  }
}

/** What tells one message from every other one, also when devices share a topic. */
export function messageKey(topic: string, device: string, boot: number, seq: number): string {
  return `${topic} ${device} ${boot} ${seq}`
}

/** 0, 1, 2, … at each call. */
function sequenceNumbers(): () => number {
  let next = 0
  return () => next++
}
