/**
 * Builds the front end: listeners, connections, the protocol side, ingest and delivery.
 */
import type { Socket } from 'node:net'
import { AssertionFailure, present } from '../base/assert.ts'
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
import { Publisher, type PublisherParts, RECEIVE_MAXIMUM } from './ingest/publisher.ts'
import { SlowDown } from './ingest/slow-down.ts'
import { Listener } from './listener.ts'
import type { ListenerAddress, MqttFrontEnd, MqttParts } from './mqtt.ts'
import { emptyStats } from './stats.ts'
import { flushAll, type Output } from './wire/output.ts'
import { REMAINING_LENGTH_MAX, Reason } from './wire/packets.ts'
import { PublishDecoder } from './wire/publish.ts'
import type { Asked } from './wire/subscribe.ts'

/** A client that connects and says nothing is dropped after this. */
const CONNECT_TIMEOUT_MS = 30_000
/** Shorter than half the shortest keep-alive that is sensible; paused publishers are few. */
const PAUSED_KEEP_ALIVE_MS = 500
const CLOSING_TURNS_MAX = 1000
/** A device subscribes to a handful; each costs memory and lengthens the walk of a new topic. */
const SUBSCRIPTIONS_MAX = 1000

/** Nothing listens until `listen`. */
export function createMqttFrontEnd(parts: MqttParts): MqttFrontEnd {
  const protocol = createAedesProtocol({
    packetBytesMax: parts.settings.maxPacketBytes,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    receiveMaximum: RECEIVE_MAXIMUM,
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
  private readonly byClientId = new Map<string, Connection>()
  readonly log: EventLog
  readonly clock: Clock
  readonly backlog: Backlog
  readonly slowDown: SlowDown
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
    this.slowDown = new SlowDown(parts.log)
    this.backlog = new Backlog(parts.settings.maxPublishBacklogBytes)
    this.listeners = parts.settings.listeners.map(
      (address) => new Listener(address, (socket) => this.accept(socket), parts.logger),
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
    culprit.fail(thrown)
    return true
  }

  async close(): Promise<void> {
    clearInterval(this.pausedTimer)
    const stopped = this.listeners.map((listener) => listener.close())
    for (const connection of this.connections) {
      connection.disconnect(Reason.serverShuttingDown, 'shutdown', 'the gateway stops')
    }
    // A DISCONNECT takes a few loop turns; what is left then is closed without one.
    for (let turn = 0; turn < CLOSING_TURNS_MAX && this.connections.size > 0; turn++) {
      await new Promise((resolve) => setImmediate(resolve))
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
    this.takeOver(connection, facts.clientId)
    return {
      version: facts.version,
      publisher: new Publisher(client, facts.version, connection, this),
      subscriber,
      decoder: this.decoder(facts.version),
    }
  }

  decoder(version: number): PublishDecoder {
    return new PublishDecoder(this.log, version)
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

  subscribe(subscriber: Subscriber, asked: readonly Asked[], version: number): readonly number[] {
    const entry = present(this.subscribers.get(subscriber), 'the entry of a subscriber')
    entry.filters ??= new Set()
    const codes: number[] = []
    for (const one of asked) {
      if (one.kind === 'refused') codes.push(one.reason)
      else codes.push(this.grant(subscriber, entry.filters, one.subscription, version))
    }
    this.stats.subscriptions = this.tree.size
    return codes
  }

  unsubscribe(subscriber: Subscriber, filters: Iterable<string>): readonly number[] {
    const known = this.subscribers.get(subscriber)?.filters
    const codes: number[] = []
    for (const filter of filters) {
      known?.delete(filter)
      const removed = this.tree.remove(subscriber, filter)
      codes.push(removed ? Reason.success : Reason.noSubscriptionExisted)
    }
    this.stats.subscriptions = this.tree.size
    return codes
  }

  closed(connection: Connection, subscriber: Subscriber | undefined): void {
    this.connections.delete(connection)
    if (subscriber === undefined) return
    this.stats.connections--
    this.unsubscribe(subscriber, [...(this.subscribers.get(subscriber)?.filters ?? [])])
    this.subscribers.delete(subscriber)
    const { clientId } = subscriber
    if (this.byClientId.get(clientId) === connection) this.byClientId.delete(clientId)
  }

  private grant(
    subscriber: Subscriber,
    filters: Set<string>,
    subscription: Subscription,
    version: number,
  ): number {
    if (filters.size >= SUBSCRIPTIONS_MAX && !filters.has(subscription.filter)) {
      return version < 5 ? 0x80 : Reason.quotaExceeded
    }
    filters.add(subscription.filter)
    this.tree.add(subscriber, subscription)
    return subscription.qos
  }

  /** The library's own take-over is asynchronous: of three connections at once it may leave two. */
  private takeOver(connection: Connection, clientId: string): void {
    const older = this.byClientId.get(clientId)
    this.byClientId.set(clientId, connection)
    const cause = 'another connection has the same client id'
    older?.disconnect(Reason.sessionTakenOver, 'taken-over', cause)
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
