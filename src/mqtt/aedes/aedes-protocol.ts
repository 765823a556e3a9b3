/**
 * Aedes 2.0.0-beta.1 behind the Protocol door. Every touch point and every known crash of it has a
 * test in test/mqtt/aedes, so that an upgrade is one red or green run.
 *
 * A1. An exception while Aedes handles one client's packet closes that client only: synchronous
 *     ones are caught around the call, later ones are traced to their session by the async context.
 * A2. Aedes routes and stores nothing: its publish, its emitter and its persistence are empty.
 * A3. Names from clients index only Maps and objects without a prototype.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { EventEmitter } from 'node:events'
import { Aedes } from 'aedes'
import * as mqttPacket from 'mqtt-packet'
import { messageOf } from '../../base/errors.ts'
import type { QoS } from '../../log/log.ts'
import type { Subscription } from '../delivery/subscriptions.ts'
import type { CloseReason } from '../stats.ts'
import { type DecodedPacket, packetFault } from './guard.ts'
import { EmptyPersistence } from './persistence.ts'
import type { Peer, Protocol, ProtocolOptions, ProtocolSession } from './protocol.ts'
import { PacketStream } from './stream.ts'

/** Aedes' client: what is touched of it, most of it outside its published types. */
interface AedesClient {
  id: string | null
  version: number | null
  connected: boolean
  closed: boolean
  _disconnected: boolean
  _keepaliveTimer: { refresh(): void } | null
  receiveMaximum?: number
  maximumPacketSize?: number
  conn: PacketStream
  subscriptions: object
  duplicates: object
  _parser: { prependListener(event: 'packet', listener: (packet: DecodedPacket) => void): void }
  disconnect(options: { reasonCode: number }, done: () => void): void
  close(done?: () => void): void
}

interface AedesSubscription {
  topic: string
  qos: number
  nl?: boolean
  rap?: boolean
  subscriptionIdentifier?: number
}

interface Will {
  topic: string
  payload: Buffer | string
  qos: QoS
  retain: boolean
  properties?: Record<string, unknown>
}

// By default the library makes a two-byte buffer for each of 65,536 numbers at its first packet:
// some
// 12 MiB for the handful of packets that it writes here.
mqttPacket.writeToStream.cacheNumbers = false

type Done = (error?: Error | null) => void

/** The library's own broker, with routing and storage taken out (A2). */
class Broker extends Aedes {
  /** No session outlives its connection, and MQTT 5 clients are told so in CONNACK. */
  clampSessionExpiry(): number {
    return 0
  }

  override publish(...args: unknown[]): void {
    const done = args.at(-1)
    if (typeof done === 'function') done()
  }
}

/** An emitter that emits nothing: Aedes' subscriptions are only its SUBACK (A2). */
const silentEmitter = {
  on(_topic: string, _listener: unknown, done?: () => void) {
    done?.()
    return this
  },
  removeListener(_topic: string, _listener: unknown, done?: () => void) {
    done?.()
    return this
  },
  emit(_message: unknown, done?: () => void) {
    done?.()
    return this
  },
  close(done?: () => void) {
    done?.()
  },
}

/** The protocol side; it takes no connection before `start`. */
export function createAedesProtocol(options: ProtocolOptions): Protocol {
  return new AedesProtocol(options)
}

class AedesProtocol implements Protocol {
  private readonly broker: Broker
  private readonly context = new AsyncLocalStorage<Session>()

  constructor(options: ProtocolOptions) {
    this.broker = new Broker({
      connectTimeout: options.connectTimeoutMs,
      maximumPacketSize: options.packetBytesMax,
      persistence: new EmptyPersistence(),
      mq: silentEmitter,
      authorizePublish: (client: AedesClient | null, will: Will, done: Done) => {
        if (client !== null) sessionOf(client).will(will, client.version ?? 4)
        done(null)
      },
    } as object)
    // A3: as published, a client that calls itself "constructor" ends the process.
    Object.assign(this.broker, { clients: Object.create(null), brokers: Object.create(null) })
  }

  async start(): Promise<void> {
    const events: EventEmitter = this.broker
    events.on('clientReady', (client: unknown) => sessionOf(client).ready())
    events.on('subscribe', (list: readonly AedesSubscription[], client: unknown) =>
      sessionOf(client).subscribed(list),
    )
    events.on('unsubscribe', (filters: readonly string[], client: unknown) =>
      sessionOf(client).unsubscribed(filters),
    )
    events.on('error', (error: Error) => {
      throw error
    })
    await this.broker.listen()
  }

  open(peer: Peer): ProtocolSession {
    const session = new Session(peer, this.context)
    // The timers that a client starts at once must know their session too (A1).
    this.context.run(session, () => {
      const client = this.broker.handle(session.stream as never) as unknown as AedesClient
      session.attach(client)
    })
    return session
  }

  culprit(): ProtocolSession | undefined {
    return this.context.getStore()
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.broker.close(() => resolve()))
  }
}

function sessionOf(client: unknown): Session {
  return ((client as AedesClient).conn as PacketStream & { session: Session }).session
}

class Session implements ProtocolSession {
  readonly stream: PacketStream & { session?: Session }
  private readonly peer: Peer
  private readonly context: AsyncLocalStorage<Session>
  private client: AedesClient | undefined
  private wasReady = false
  private why: { reason: CloseReason; cause: string } | undefined

  constructor(peer: Peer, context: AsyncLocalStorage<Session>) {
    this.peer = peer
    this.context = context
    this.stream = new PacketStream(
      (bytes) => peer.send(bytes),
      (error) => this.ended(error),
    )
    this.stream.session = this
  }

  attach(client: AedesClient): void {
    this.client = client
    client.subscriptions = Object.create(null)
    client.duplicates = Object.create(null)
    client._parser.prependListener('packet', (packet) => {
      const fault = packetFault(packet)
      if (fault === undefined) return
      this.why ??= { reason: 'malformed-packet', cause: `${packet.cmd.toUpperCase()}: ${fault}` }
      // Aedes destroys the connection over a command that it does not know.
      packet.cmd = 'malformed'
    })
  }

  packet(bytes: Buffer): void {
    this.context.run(this, () => this.stream.deliver(bytes))
  }

  touch(): void {
    this.client?._keepaliveTimer?.refresh()
  }

  disconnect(reason: number, why: CloseReason, cause: string): void {
    this.why ??= { reason: why, cause }
    const { client } = this
    if (client === undefined || client.closed) this.stream.destroy()
    else this.context.run(this, () => client.disconnect({ reasonCode: reason }, () => undefined))
  }

  lost(): void {
    this.why ??= { reason: 'connection-lost', cause: 'the client closed the connection' }
    this.context.run(this, () => this.stream.destroy())
  }

  ready(): void {
    this.wasReady = true
    const client = this.client as AedesClient
    this.peer.ready({
      clientId: client.id ?? '',
      version: client.version ?? 4,
      receiveMaximum: client.receiveMaximum ?? 65_535,
      packetBytesMax: client.maximumPacketSize,
    })
  }

  subscribed(list: readonly AedesSubscription[]): void {
    const granted = list.filter(({ qos }) => qos <= 2)
    this.peer.subscribed(
      granted.map(
        (subscription): Subscription => ({
          filter: subscription.topic,
          qos: subscription.qos as QoS,
          noLocal: subscription.nl === true,
          retainAsPublished: subscription.rap === true,
          id: subscription.subscriptionIdentifier,
        }),
      ),
    )
  }

  unsubscribed(filters: readonly string[]): void {
    this.peer.unsubscribed(filters)
  }

  will(will: Will, version: number): void {
    const properties = { ...will.properties }
    // The delay is an agreement with the server, no property of the message.
    delete properties['willDelayInterval']
    const packet = {
      cmd: 'publish',
      topic: will.topic,
      payload: will.payload,
      qos: will.qos,
      retain: will.retain,
      dup: false,
      messageId: 1,
      properties,
    }
    const bytes = mqttPacket.generate(packet as mqttPacket.IPublishPacket, {
      protocolVersion: version,
    })
    this.peer.will(bytes)
  }

  /** Aedes, or we, destroyed the stream. */
  private ended(error: Error | null): void {
    const { reason, cause } = this.why ?? this.reasonOf(error)
    this.peer.ended(reason, cause)
  }

  private reasonOf(error: Error | null): { reason: CloseReason; cause: string } {
    if (this.client?._disconnected === true) {
      return { reason: 'client-disconnected', cause: 'the client sent DISCONNECT' }
    }
    if (error === null) {
      return this.wasReady
        ? { reason: 'taken-over', cause: 'another connection has the same client id' }
        : { reason: 'refused', cause: 'CONNECT was refused' }
    }
    const cause = messageOf(error)
    if (cause === 'keep alive timeout') return { reason: 'keep-alive', cause }
    if (cause === 'connect did not arrive in time') return { reason: 'connect-timeout', cause }
    return { reason: 'protocol-error', cause }
  }
}
