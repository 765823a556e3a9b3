/**
 * Who commands the valves: an MQTT 5 client that sends each a command now and then and counts the
 * answers by their correlation data.
 */
import type { Packet, QoS } from 'mqtt-packet'
import { Backoff } from '../backoff.ts'
import type { BrokerAddress } from '../device.ts'
import type { Agenda } from './agenda.ts'
import { Client } from './client.ts'

/** Commands without an answer that are remembered; older ones count as unanswered. */
const openMost = 10_000

export class Operator {
  sent = 0
  answered = 0
  private readonly name: string
  private readonly broker: BrokerAddress
  private readonly agenda: Agenda
  private readonly devices: readonly string[]
  private readonly everyMs: number
  private readonly backoff: Backoff
  private readonly open = new Set<string>()
  private client: Client | undefined
  private online = false
  private closed = false
  private next = 0

  constructor(
    name: string,
    broker: BrokerAddress,
    agenda: Agenda,
    devices: readonly string[],
    everyMs: number,
    random: () => number,
  ) {
    this.name = name
    this.broker = broker
    this.agenda = agenda
    this.devices = devices
    this.everyMs = everyMs / devices.length
    this.backoff = new Backoff(random)
  }

  start(): void {
    this.connect()
    this.agenda.after(this.everyMs, () => this.command())
  }

  close(): void {
    this.closed = true
    this.client?.end()
  }

  private get answers(): string {
    return `operators/${this.name}/answers`
  }

  private connect(): void {
    if (this.closed) return
    const packet = {
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 5,
      clientId: this.name,
      clean: true,
      keepalive: 60,
    } as const
    this.client = new Client(this.broker.host, this.broker.port, packet, {
      packet: (received) => this.took(received),
      closed: () => {
        this.online = false
        if (!this.closed) this.agenda.afterReal(this.backoff.nextMs(), () => this.connect())
      },
    })
  }

  private took(packet: Packet): void {
    if (packet.cmd === 'connack' && (packet.reasonCode ?? 0) === 0) {
      this.online = true
      this.backoff.reset()
      const subscriptions = [{ topic: this.answers, qos: 0 as QoS }]
      this.client?.send({ cmd: 'subscribe', messageId: 1, subscriptions } as Packet)
    }
    if (packet.cmd !== 'publish') return
    const correlation = packet.properties?.correlationData?.toString()
    if (correlation !== undefined && this.open.delete(correlation)) this.answered += 1
  }

  private command(): void {
    if (this.closed) return
    this.agenda.after(this.everyMs, () => this.command())
    const device = this.devices[this.next % this.devices.length]
    this.next += 1
    if (!this.online || device === undefined) return
    this.sent += 1
    const correlation = `${this.sent}`
    this.open.add(correlation)
    if (this.open.size > openMost)
      for (const oldest of this.open) {
        this.open.delete(oldest)
        break
      }
    this.client?.send({
      cmd: 'publish',
      topic: `devices/${device}/command`,
      payload: Buffer.from('{"opening":50}'),
      qos: 1,
      retain: false,
      dup: false,
      messageId: (this.sent % 65_535) + 1,
      properties: { responseTopic: this.answers, correlationData: Buffer.from(correlation) },
    })
  }
}
