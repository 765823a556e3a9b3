/**
 * Aedes 2.0.0-beta.1 behind the Protocol door. Every touch point and every known crash of it has a
 * test in test/mqtt, so that an upgrade is one red or green run.
 *
 * A1. An exception while Aedes handles one client's packet closes that client only: synchronous
 *     ones are caught around the call, later ones are traced to their session by the async context.
 * A2. Aedes routes and stores nothing: its publish, its emitter and its persistence are empty, and
 *     no CONNECT that it gets has a will.
 * A3. Names from clients index only Maps and objects without a prototype.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { EventEmitter } from 'node:events'
import { Aedes } from 'aedes'
import * as mqttPacket from 'mqtt-packet'
import { messageOf } from '../../base/errors.ts'
import type { CloseReason } from '../stats.ts'
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
  sessionExpiryInterval?: number
  _connectSessionExpiryInterval?: number
  conn: PacketStream
  subscriptions: object
  duplicates: object
  close(done: () => void): void
}

// By default the library makes a two-byte buffer for each of 65,536 numbers at its first packet:
// some 12 MiB for the handful of packets that it writes here.
mqttPacket.writeToStream.cacheNumbers = false

/** The library's own broker, with routing and storage taken out (A2). */
class Broker extends Aedes {
  /** In CONNACK MQTT 5 clients are told what became of what they asked for. */
  readonly expiryMaxS: number

  constructor(options: object, expiryMaxS: number) {
    super(options)
    this.expiryMaxS = expiryMaxS
  }

  clampSessionExpiry(intervalS: number): number {
    return Math.min(intervalS, this.expiryMaxS)
  }

  scheduleSessionExpiry(): void {
    // Sessions are ours, and end when we say so.
  }

  override publish(...args: unknown[]): void {
    const done = args.at(-1)
    if (typeof done === 'function') done()
  }
}

/** An emitter that emits nothing (A2). */
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
    const brokerOptions = {
      connectTimeout: options.connectTimeoutMs,
      maximumPacketSize: options.packetBytesMax,
      persistence: new EmptyPersistence(
        (client: AedesClient) => sessionOf(client).peer.accepted(client.id ?? ''),
        options.sessions,
      ),
      mq: silentEmitter,
    }
    this.broker = new Broker(brokerOptions, options.sessionExpiryMaxS)
    // A3: as published, a client that calls itself "constructor" ends the process.
    Object.assign(this.broker, { clients: Object.create(null), brokers: Object.create(null) })
  }

  async start(): Promise<void> {
    const events: EventEmitter = this.broker
    events.on('connackSent', (connack: { sessionPresent?: boolean }, client: AedesClient) => {
      sessionOf(client).isPresent = connack.sessionPresent === true
    })
    events.on('clientReady', (client: AedesClient) => {
      // The connection may have ended between CONNECT and here; Aedes would keep such a client.
      if (client.closed) this.forget(client)
      else sessionOf(client).ready()
    })
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

  culprit(): Peer | undefined {
    const session = this.context.getStore()
    if (session?.client !== undefined) this.forget(session.client)
    return session?.peer
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.broker.close(() => resolve()))
  }

  /** Takes out a client whose closing did not, or will not, come to its end. */
  private forget(client: AedesClient): void {
    const { clients } = this.broker as unknown as { clients: Record<string, AedesClient> }
    const id = client.id ?? ''
    if (clients[id] === client) delete clients[id]
  }
}

function sessionOf(client: AedesClient): Session {
  return (client.conn as PacketStream & { session: Session }).session
}

class Session implements ProtocolSession {
  readonly stream: PacketStream & { session?: Session }
  readonly peer: Peer
  client: AedesClient | undefined
  private readonly context: AsyncLocalStorage<Session>
  /** What CONNACK said of the session. */
  isPresent = false
  private wasReady = false
  /** Of CONNACK, as long as it may refuse. */
  private readonly written: Uint8Array[] = []
  private why: { reason: CloseReason; cause: string } | undefined

  constructor(peer: Peer, context: AsyncLocalStorage<Session>) {
    this.peer = peer
    this.context = context
    this.stream = new PacketStream(
      (bytes) => this.wrote(bytes),
      (error) => this.ended(error),
    )
    this.stream.session = this
  }

  /**
   * What Aedes writes is used only of a CONNACK that refuses: what accepts, and DISCONNECT, are
   * said by us, with more to them.
   */
  private wrote(bytes: Uint8Array): void {
    if (!this.wasReady) this.written.push(Uint8Array.from(bytes))
  }

  attach(client: AedesClient): void {
    this.client = client
    client.subscriptions = Object.create(null)
    client.duplicates = Object.create(null)
  }

  packet(bytes: Buffer): void {
    this.context.run(this, () => this.stream.deliver(bytes))
  }

  get sessionExpiryS(): number {
    return this.client?.sessionExpiryInterval ?? 0
  }

  touch(): void {
    this.client?._keepaliveTimer?.refresh()
  }

  disconnect(why: CloseReason, cause: string): void {
    this.why ??= { reason: why, cause }
    this.written.length = 0
    const { client } = this
    if (client === undefined || client.closed) this.stream.destroy()
    else this.context.run(this, () => client.close(() => undefined))
  }

  lost(): void {
    this.why ??= { reason: 'connection-lost', cause: 'the client closed the connection' }
    this.context.run(this, () => this.stream.destroy())
  }

  ready(): void {
    this.wasReady = true
    this.written.length = 0
    const client = this.client as AedesClient
    this.peer.ready({
      clientId: client.id ?? '',
      version: client.version ?? 4,
      receiveMaximum: client.receiveMaximum ?? 65_535,
      packetBytesMax: client.maximumPacketSize,
      sessionExpiryS: this.sessionExpiryS,
      sessionExpiryAskedS: client._connectSessionExpiryInterval ?? 0,
      sessionPresent: this.isPresent,
    })
  }

  /** Aedes, or we, destroyed the stream. */
  private ended(error: Error | null): void {
    if (!this.wasReady && this.written.length > 0) this.peer.refused(Buffer.concat(this.written))
    const { reason, cause } = this.why ?? this.reasonOf(error)
    this.peer.ended(reason, cause)
  }

  private reasonOf(error: Error | null): { reason: CloseReason; cause: string } {
    const { client } = this
    if (error === null) {
      // With `connected` it was a DISCONNECT that asks for the will [MQTT5 3.14.2.1].
      if (client?._disconnected === true || client?.connected === true) {
        return { reason: 'client-disconnected', cause: 'the client sent DISCONNECT' }
      }
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
