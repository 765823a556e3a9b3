/**
 * Builds the front end: listeners, connections, the protocol side, ingest and delivery.
 */
import type { Socket } from 'node:net'
import { AssertionFailure } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import type { EventLog, LogRecord, Position } from '../log/log.ts'
import { createAedesProtocol } from './aedes/aedes-protocol.ts'
import type { Protocol, SessionFacts } from './aedes/protocol.ts'
import { type ConnectedParts, Connection, type ConnectionHost } from './connection.ts'
import type { CatchUpParts } from './delivery/catch-up.ts'
import { Router } from './delivery/router.ts'
import { Subscriber } from './delivery/subscriber.ts'
import type { Subscription, SubscriptionTree } from './delivery/subscriptions.ts'
import { Backlog } from './ingest/backlog.ts'
import { Publisher, type PublisherParts } from './ingest/publisher.ts'
import { Listener } from './listener.ts'
import type { ListenerAddress, MqttFrontEnd, MqttParts } from './mqtt.ts'
import { emptyStats } from './stats.ts'
import { flushAll, type Output } from './wire/output.ts'
import { REMAINING_LENGTH_MAX, Reason } from './wire/packets.ts'
import { PublishDecoder } from './wire/publish.ts'

/** A client that connects and says nothing is dropped after this. */
const CONNECT_TIMEOUT_MS = 30_000
/** Shorter than half the shortest keep-alive that is sensible; paused publishers are few. */
const PAUSED_KEEP_ALIVE_MS = 500

/** Nothing listens until `listen`. */
export function createMqttFrontEnd(parts: MqttParts): MqttFrontEnd {
  const protocol = createAedesProtocol({
    packetBytesMax: parts.settings.maxPacketBytes,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
  })
  return new FrontEnd(parts, protocol)
}

class FrontEnd implements MqttFrontEnd, ConnectionHost, PublisherParts, CatchUpParts {
  readonly stats = emptyStats()
  readonly logger
  readonly packetBytesMax: number
  readonly dirty: Output[] = []
  private readonly parts: MqttParts
  private readonly protocol: Protocol
  private readonly listeners: readonly Listener[]
  private readonly connections = new Set<Connection>()
  readonly log: EventLog
  readonly clock: Clock
  readonly backlog: Backlog
  readonly tree: SubscriptionTree<Subscriber>
  private readonly subscribers = new Map<Subscriber, SubscriberEntry>()
  private readonly router: Router
  private readonly pausedTimer: NodeJS.Timeout
  private flushScheduled = false

  constructor(parts: MqttParts, protocol: Protocol) {
    this.parts = parts
    this.logger = parts.logger
    this.log = parts.log
    this.clock = parts.clock
    this.protocol = protocol
    this.packetBytesMax = Math.min(parts.settings.maxPacketBytes, REMAINING_LENGTH_MAX)
    this.router = new Router(parts.log, () => this.flush())
    this.tree = this.router.tree
    this.backlog = new Backlog(parts.settings.maxPublishBacklogBytes)
    this.listeners = parts.settings.listeners.map(
      (address) => new Listener(address, (socket) => this.accept(socket)),
    )
    this.pausedTimer = setInterval(() => this.keepPausedAlive(), PAUSED_KEEP_ALIVE_MS)
  }

  async listen(): Promise<readonly ListenerAddress[]> {
    const bound: ListenerAddress[] = []
    await this.protocol.start()
    try {
      for (const listener of this.listeners) bound.push(await listener.listen())
    } catch (thrown) {
      await this.close()
      throw thrown
    }
    return bound
  }

  contain(thrown: unknown): boolean {
    const culprit = this.protocol.culprit()
    if (culprit === undefined || thrown instanceof AssertionFailure) return false
    for (const connection of this.connections) {
      if (!connection.isOf(culprit)) continue
      connection.fail(thrown)
      return true
    }
    return false
  }

  async close(): Promise<void> {
    clearInterval(this.pausedTimer)
    const stopped = this.listeners.map((listener) => listener.close())
    for (const connection of this.connections) {
      connection.disconnect(Reason.serverShuttingDown, 'shutdown', 'the gateway stops')
    }
    await this.protocol.close()
    await Promise.all(stopped)
  }

  flush(): void {
    flushAll(this.dirty)
  }

  flushSoon(): void {
    if (this.flushScheduled) return
    this.flushScheduled = true
    setImmediate(() => {
      this.flushScheduled = false
      this.flush()
    })
  }

  connected(connection: Connection, facts: SessionFacts): ConnectedParts {
    const { log, settings } = this.parts
    this.stats.connections++
    this.stats.connectionsAccepted++
    const client = log.client(facts.clientId)
    const limits = {
      inflightMax: Math.min(settings.maxInflight, facts.receiveMaximum),
      packetBytesMax: facts.packetBytesMax ?? Number.MAX_SAFE_INTEGER,
    }
    const subscriber = new Subscriber(
      facts.clientId,
      facts.version,
      limits,
      connection.output,
      this.stats,
      this,
    )
    this.subscribers.set(subscriber, { connection, filters: undefined })
    return {
      publisher: new Publisher(client, facts.version, connection, this),
      subscriber,
      decoder: new PublishDecoder(log, facts.version),
    }
  }

  deliverUnlogged(record: LogRecord): void {
    this.router.unlogged(record)
  }

  keptEnd(stream: string): Position {
    return this.router.keptEnd(stream)
  }

  /** The log cannot be read for a lagging subscriber. */
  abandon(subscriber: Subscriber): void {
    const cause = 'the log cannot be read'
    const connection = this.subscribers.get(subscriber)?.connection
    connection?.disconnect(Reason.implementationSpecific, 'storage', cause)
  }

  subscribed(subscriber: Subscriber, subscriptions: readonly Subscription[]): void {
    const entry = this.subscribers.get(subscriber)
    if (entry === undefined) return
    entry.filters ??= new Set()
    for (const subscription of subscriptions) {
      this.tree.add(subscriber, subscription)
      entry.filters.add(subscription.filter)
    }
    this.stats.subscriptions = this.tree.size
  }

  unsubscribed(subscriber: Subscriber, filters: Iterable<string>): void {
    const known = this.subscribers.get(subscriber)?.filters
    for (const filter of filters) {
      this.tree.remove(subscriber, filter)
      known?.delete(filter)
    }
    this.stats.subscriptions = this.tree.size
  }

  closed(connection: Connection, subscriber: Subscriber | undefined): void {
    this.connections.delete(connection)
    if (subscriber === undefined) return
    this.stats.connections--
    this.unsubscribed(subscriber, [...(this.subscribers.get(subscriber)?.filters ?? [])])
    this.subscribers.delete(subscriber)
  }

  private accept(socket: Socket): void {
    if (this.connections.size >= this.parts.settings.maxConnections) {
      this.stats.connectionsRefused++
      socket.destroy()
      return
    }
    this.connections.add(new Connection(socket, this, (peer) => this.protocol.open(peer)))
  }

  private keepPausedAlive(): void {
    if (this.stats.pausedPublishers === 0) return
    for (const connection of this.connections) connection.keepAliveWhilePaused()
  }
}

interface SubscriberEntry {
  readonly connection: Connection
  /** What it subscribes to, so that its subscriptions go with it; undefined before the first. */
  filters: Set<string> | undefined
}
