/**
 * One simulated device: an outbox, a small window of unacknowledged messages, one MQTT connection.
 *
 * D1. A message leaves the outbox in the order in which it was offered, and only while connected.
 * D2. At most `windowMost` messages are unacknowledged, fewer where the broker asks for fewer.
 * D3. At QoS 1 and 2 a message that was sent stays the device's until it is acknowledged or
 *     refused: mqtt.js sends it again after a reconnect, before anything newer.
 *
 * Connections are clean ones. At QoS 2 a reconnect may therefore deliver a message twice, as with
 * firmware that keeps no session; a receiver tells by (device, boot, seq).
 */
import { Socket } from 'node:net'
import mqtt, { type IConnackPacket, type MqttClient } from 'mqtt'
import { Backoff } from './backoff.ts'
import type { Account } from './ledger.ts'
import type { LinkWatch } from './link.ts'
import { Outbox } from './outbox.ts'
import type { Rates } from './rates.ts'
import type { Time } from './time.ts'

export type QoS = 0 | 1 | 2

export interface BrokerAddress {
  readonly host: string
  readonly port: number
  readonly protocol: 4 | 5
}

export interface Message {
  readonly topic: string
  readonly payload: Buffer
  /** `topic boot seq`: what tells this message from every other one. */
  readonly key: string
  /** Where the device writes down what becomes of its reading number `seq`. */
  readonly reading?: { readonly account: Account; readonly seq: number }
}

/** What all devices of a fleet have in common. */
export interface DeviceContext {
  readonly broker: BrokerAddress
  readonly qos: QoS
  readonly time: Time
  readonly rates: Rates
  readonly link: LinkWatch
  /** Fractions of [0, 1), for the pauses between attempts to connect. */
  readonly random: () => number
  /** Told of each acknowledged message. */
  readonly onAcknowledged?: (message: Message) => void
}

interface Sent {
  readonly message: Message
  readonly sentMs: number
}

/** Readings a device keeps while it cannot send: some minutes' worth at sensor rates. */
export const outboxCapacity = 64
const windowMost = 16
const connectTimeoutMs = 10_000
/** How long a connection may take to close before it is cut. */
const closeMs = 1_000

export class Device {
  readonly name: string
  private readonly context: DeviceContext
  private readonly outbox = new Outbox<Message>(outboxCapacity)
  private readonly inFlight = new Set<Sent>()
  private readonly backoff: Backoff
  private client: MqttClient | undefined
  private online = false
  private connectedBefore = false
  private closing = false
  private window = windowMost

  constructor(name: string, context: DeviceContext) {
    this.name = name
    this.context = context
    this.backoff = new Backoff(context.random)
  }

  /** Messages sent and not yet acknowledged; at QoS 0, not yet handed to the system. */
  get unacknowledged(): number {
    return this.inFlight.size
  }

  /** Messages not sent yet. */
  get waiting(): number {
    return this.outbox.size
  }

  /** How many messages can be offered now before the oldest is dropped. */
  get room(): number {
    return this.outbox.capacity - this.outbox.size
  }

  /** Starts to connect, and keeps at it until `close`. */
  connect(): void {
    const { broker } = this.context
    const client = mqtt.connect({
      protocol: 'mqtt',
      host: broker.host,
      port: broker.port,
      protocolVersion: broker.protocol,
      clientId: this.name,
      clean: true,
      connectTimeout: connectTimeoutMs,
      reconnectPeriod: this.backoff.nextMs(),
      reconnectOnConnackError: true,
    })
    client.on('connect', (connack) => this.connected(connack))
    client.on('close', () => this.disconnected())
    client.on('error', (error) => this.trouble(error))
    // mqtt.js reads its period each time it sets the timer, so this is the pause after the attempt
    // that begins now, should it fail.
    client.on('reconnect', () => {
      client.options.reconnectPeriod = this.backoff.nextMs()
    })
    this.client = client
  }

  /** Takes a message to send. When the outbox is full its oldest message is dropped and counted. */
  offer(message: Message): void {
    const dropped = this.outbox.put(message)
    if (dropped !== undefined) {
      this.context.rates.count('dropped')
      note(dropped, 'dropped')
    }
    this.pump()
  }

  /** Forgets what was not sent and says how much that was. What is unacknowledged stays. */
  discardWaiting(): number {
    return this.outbox.clear()
  }

  /** Disconnects: with DISCONNECT when nothing is outstanding, else by cutting the connection. */
  async close(): Promise<void> {
    const client = this.client
    if (client === undefined) return
    this.closing = true
    const cut = !this.online || this.inFlight.size > 0
    await Promise.race([client.endAsync(cut), this.context.time.sleep(closeMs)])
    client.stream.destroy()
  }

  private connected(connack: IConnackPacket): void {
    const receiveMaximum = connack.properties?.receiveMaximum ?? windowMost
    this.window = Math.min(windowMost, receiveMaximum)
    // Firmware sends a small packet when it has one. Nagle's algorithm would hold the PUBREL of QoS
    // 2 back for 25 ms, and the latencies counted here would be its, not the broker's.
    if (this.client?.stream instanceof Socket) this.client.stream.setNoDelay(true)
    this.online = true
    this.backoff.reset()
    if (this.client !== undefined) this.client.options.reconnectPeriod = this.backoff.nextMs()
    if (this.connectedBefore) this.context.rates.count('reconnects')
    this.connectedBefore = true
    this.context.link.deviceConnected()
    this.pump()
  }

  private disconnected(): void {
    if (!this.online) return
    this.online = false
    this.context.link.deviceDisconnected(this.closing)
    // At QoS 0 nobody will ever answer for what was in the connection's buffer.
    if (this.context.qos === 0) {
      this.context.rates.count('lost', this.inFlight.size)
      this.inFlight.clear()
    }
  }

  private trouble(error: Error): void {
    this.context.rates.count('errors')
    const code = 'code' in error && typeof error.code === 'string' ? error.code : undefined
    this.context.link.trouble(this.name, error.message || (code ?? error.name), code !== undefined)
  }

  private pump(): void {
    while (this.online && this.inFlight.size < this.window) {
      const message = this.outbox.take()
      if (message === undefined) return
      this.send(message)
    }
  }

  private send(message: Message): void {
    const { qos, rates, time } = this.context
    const sent: Sent = { message, sentMs: time.nowMs() }
    this.inFlight.add(sent)
    rates.count('published')
    note(message, 'sent')
    this.client?.publish(message.topic, message.payload, { qos }, (error) => {
      if (this.inFlight.delete(sent)) this.settled(sent, error)
    })
  }

  private settled(sent: Sent, error: Error | null | undefined): void {
    const { qos, rates, time, onAcknowledged } = this.context
    if (error) {
      this.trouble(error)
      note(sent.message, 'dropped')
    } else if (qos > 0) {
      rates.count('acknowledged')
      note(sent.message, 'acknowledged')
      rates.latency.record(time.nowMs() - sent.sentMs)
      onAcknowledged?.(sent.message)
    }
    this.pump()
  }
}

function note({ reading }: Message, what: 'sent' | 'acknowledged' | 'dropped'): void {
  reading?.account[what].add(reading.seq)
}
