/**
 * Builds the front end: listeners, connections, the protocol side, ingest and delivery.
 */
import type { Grants, Identity, Login, LoginOutcome } from '../access/access.ts'
import { AssertionFailure, present } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import type { EventLog, LogRecord, Position } from '../log/log.ts'
import { createAedesProtocol } from './aedes/aedes-protocol.ts'
import type { Protocol } from './aedes/protocol.ts'
import { type ConnectedParts, Connection, type ConnectionHost } from './connection.ts'
import { MqttConsumers } from './consumers/mqtt-consumers.ts'
import type { CatchUpParts } from './delivery/catch-up.ts'
import type { Outbound } from './delivery/outbound.ts'
import { Router, type Target } from './delivery/router.ts'
import { SharedScans } from './delivery/shared-scan.ts'
import { Subscriber } from './delivery/subscriber.ts'
import type { SubscriptionTree } from './delivery/subscriptions.ts'
import { Backlog } from './ingest/backlog.ts'
import { Publisher, type PublisherParts } from './ingest/publisher.ts'
import { SlowDown } from './ingest/slow-down.ts'
import { Throttle } from './ingest/throttle.ts'
import type { MqttLimits } from './limits.ts'
import { Listener, type ListenerParts } from './listener.ts'
import type { ClientFacts } from './login.ts'
import type { ListenerAddress, MqttFrontEnd, MqttParts } from './mqtt.ts'
import type { Carrier, Origin } from './origin.ts'
import { Owners } from './owners.ts'
import { RetainedAtSubscribe } from './retained/at-subscribe.ts'
import { Retained } from './retained/retained.ts'
import { Clients } from './sessions/clients.ts'
import { Sessions } from './sessions/sessions.ts'
import { emptyStats } from './stats.ts'
import { Strangers } from './strangers.ts'
import { Subscribing, type SubscribingClient } from './subscribing.ts'
import { Sys } from './sys/sys.ts'
import type { SysFacts } from './sys/values.ts'
import { Wills } from './wills/wills.ts'
import { MessageExpiry } from './wire/message-expiry.ts'
import { flushAll, type Output } from './wire/output.ts'
import { REMAINING_LENGTH_MAX, Reason } from './wire/packets.ts'
import { PublishDecoder } from './wire/publish.ts'
import type { Asked, FiltersAnswer } from './wire/subscribe.ts'
import { TOPIC_ALIAS_MAXIMUM } from './wire/topic-aliases.ts'

/** A client that connects and says nothing is dropped after this. */
const CONNECT_TIMEOUT_MS = 30_000
/** Shorter than half the shortest keep-alive that is sensible; paused publishers are few. */
const PAUSED_KEEP_ALIVE_MS = 500
const CLOSING_TURNS_MAX = 1000
/** The metric `sluice_denied_total` counts each. */
const OWNER_WARNING_US = 60_000_000

/** Nothing listens until `listen`. */
export function createMqttFrontEnd(parts: MqttParts): MqttFrontEnd {
  return new FrontEnd(parts)
}

class FrontEnd implements MqttFrontEnd, ConnectionHost, PublisherParts, CatchUpParts {
  readonly stats = emptyStats()
  readonly logger
  readonly packetBytesMax: number
  readonly limits: MqttLimits
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
  readonly tree: SubscriptionTree<Target>
  private readonly subscribers = new Map<Subscriber, SubscriberEntry>()
  private readonly router: Router
  readonly retained: Retained
  readonly wills: Wills
  private readonly sys: Sys
  private readonly atSubscribe: RetainedAtSubscribe
  readonly scans: SharedScans<Subscriber>
  readonly sessions: Sessions
  private readonly clients: Clients
  readonly strangers = new Strangers<Connection>()
  private readonly owners: Owners<object>
  private readonly consumers: MqttConsumers
  private readonly subscribing: Subscribing
  private readonly pausedTimer: NodeJS.Timeout
  private flushScheduled = false
  private ownerWarningFromUs = 0

  constructor(parts: MqttParts) {
    this.parts = parts
    this.logger = parts.logger
    this.log = parts.log
    this.clock = parts.clock
    this.packetBytesMax = Math.min(parts.settings.maxPacketBytes, REMAINING_LENGTH_MAX)
    this.limits = parts.settings.limits
    const { log, clock, logger } = parts
    // Before the router: what a live message replaces is no longer retained when it is delivered.
    const countMax = parts.settings.maxRetained
    this.retained = new Retained({ log, clock, logger, countMax, stats: this.stats })
    this.router = new Router(parts.log, () => this.flush())
    this.wills = new Wills({
      log,
      clock,
      logger,
      decoder: (version) => this.decoder(version),
      keptEnd: (stream) => this.router.keptEnd(stream),
      admitsRetained: (topic) => this.admitsRetained(topic),
    })
    this.scans = this.makeScans()
    const { settings } = parts
    this.sessions = new Sessions({
      log,
      clock,
      logger,
      trustedNow: parts.trustedNow ?? (() => clock.now()),
      sessionsMax: settings.maxConnections,
      maxLagMs: settings.maxSessionQueueMs,
      keptEnd: (stream) => this.router.keptEnd(stream),
      ends: () => this.router.ends,
      ended: (clientId) => this.sessionEnded(clientId),
    })
    const hasCertificateUsers = settings.listeners.some(({ tls }) => tls?.userFrom !== undefined)
    this.owners = new Owners({
      sessionOwner: (clientId) => this.sessions.ownerOf(clientId),
      isUser: (user) => hasCertificateUsers || parts.access.knows(user),
    })
    this.sys = this.makeSys()
    this.atSubscribe = new RetainedAtSubscribe(this.retained, this.sys, this)
    this.clients = new Clients({
      sessions: this.sessions,
      router: this.router,
      expiry: new MessageExpiry(clock, log.boot),
      catchUp: this,
      inflightMax: settings.maxInflight,
    })
    this.consumers = this.makeConsumers()
    this.protocol = createAedesProtocol({
      packetBytesMax: settings.maxPacketBytes,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      sessions: this.sessions,
      sessionExpiryMaxS: Math.floor(settings.sessionExpiryMs / 1000),
    })
    this.tree = this.router.tree
    this.subscribing = this.makeSubscribing()
    this.slowDown = new SlowDown(parts.log)
    this.backlog = new Backlog(parts.settings.maxPublishBacklogBytes, parts.log.streams.length)
    this.listeners = parts.settings.listeners.map(
      (listener) => new Listener(listener, this.listenerParts()),
    )
    this.pausedTimer = setInterval(() => this.keepPausedAlive(), PAUSED_KEEP_ALIVE_MS)
  }

  private makeSys(): Sys {
    return new Sys({
      clock: this.clock,
      facts: () => this.sysFacts(),
      deliver: (record) => {
        this.deliverUnlogged(record)
        this.flushSoon()
      },
    })
  }

  private makeScans(): SharedScans<Subscriber> {
    const ridersOf = (topic: string) =>
      this.router.tree
        .match(topic)
        .map(({ subscriber }) => subscriber)
        .filter((target) => target instanceof Subscriber)
    return new SharedScans({ log: this.log, ridersOf, flush: () => this.flush() })
  }

  private makeConsumers(): MqttConsumers {
    const { log, clock, logger, router, stats } = this
    const engine = this.parts.consumers
    const flushSoon = () => this.flushSoon()
    const counted = () => this.subscribing.count()
    engine.onSlice(() => this.flush())
    return new MqttConsumers({ engine, log, clock, logger, router, stats, flushSoon, counted })
  }

  private makeSubscribing(): Subscribing {
    const { clients, consumers, atSubscribe, stats, tree } = this
    const { subscriptionsMax } = this.limits
    return new Subscribing({ clients, consumers, atSubscribe, stats, tree, subscriptionsMax })
  }

  async listen(): Promise<readonly ListenerAddress[]> {
    const bound: ListenerAddress[] = []
    await this.router.start(this.log)
    await this.sessions.start()
    this.stats.sessions = () => {
      const { sessions: all, away } = this.sessions.counts
      return { online: all - away, offline: away }
    }
    await this.consumers.start((clientId) => this.sessions.has(clientId))
    await this.retained.start()
    await this.wills.start()
    this.sys.start()
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
    this.sys.close()
    await this.sessions.close()
    // Wills that are due now may be retained.
    await this.wills.close()
    await this.retained.close()
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

  takeId(clientId: string, user: string | undefined, holder: object): boolean {
    if (this.owners.take(clientId, user, holder)) return true
    this.warnOfOwner(clientId, user)
    return false
  }

  /** A device that tries each second does not fill the log. */
  private warnOfOwner(clientId: string, user: string | undefined): void {
    const nowUs = this.clock.monotonicUs()
    if (nowUs < this.ownerWarningFromUs) return
    this.ownerWarningFromUs = nowUs + OWNER_WARNING_US
    const fields = { client: clientId, user, owner: this.sessions.ownerOf(clientId) }
    const hint = 'give one of them another id, or wait until its session has expired'
    this.logger.warn(fields, `a client was refused: its id belongs to another user; ${hint}`)
  }

  releaseId(clientId: string, holder: object): void {
    this.owners.release(clientId, holder)
  }

  login(login: Login): LoginOutcome | Promise<LoginOutcome> {
    return this.parts.access.login(login)
  }

  grants(clientId: string, identity: Identity): Grants {
    return this.parts.access.grants(clientId, identity)
  }

  accessChanged(): void {
    this.tree.forget()
    for (const subscriber of this.subscribers.keys()) subscriber.accessChanged()
    this.consumers.accessChanged()
    for (const connection of this.connections) {
      const { identity } = connection
      if (identity === undefined || this.parts.access.isStillValid(identity)) continue
      const cause = 'the user or its password was removed or changed'
      connection.disconnect(Reason.notAuthorized, 'not-authorized', cause)
    }
  }

  maintainSessions(): Promise<void> {
    this.sessions.look()
    return this.sessions.passOverOld()
  }

  reloadCertificates(): void {
    for (const listener of this.listeners) listener.reload()
  }

  connected(
    connection: Connection,
    facts: ClientFacts,
    identity: Identity,
  ): ConnectedParts | undefined {
    if (!this.owners.isStill(facts.clientId, identity.user)) return undefined
    const grants = this.grants(facts.clientId, identity)
    const client = this.clients.open(facts, connection.output, grants)
    this.takeOver(connection, facts.clientId)
    if (client === undefined) return undefined
    this.stats.connections++
    this.stats.connectionsAccepted++
    const isPersistent = client.session !== undefined
    const consumer = { outbound: client.outbound, grants, isPersistent }
    this.subscribers.set(client.subscriber, {
      connection,
      grants,
      subscriber: client.subscriber,
      consumer,
    })
    const name = this.log.client(facts.clientId)
    const received = client.session?.received
    return {
      version: facts.version,
      publisher: new Publisher(name, facts.version, connection, this, received),
      outbound: client.outbound,
      subscriber: client.subscriber,
      begin: () => {
        this.clients.begin(client)
        if (isPersistent) this.consumers.resume(consumer)
        this.subscribing.count()
      },
      decoder: this.decoder(facts.version, TOPIC_ALIAS_MAXIMUM),
      grants,
      throttle: this.throttle(),
    }
  }

  decoder(version: number, topicAliasMaximum = 0): PublishDecoder {
    return new PublishDecoder(this.log, version, this.limits, topicAliasMaximum)
  }

  private throttle(): Throttle | undefined {
    const { clientRate } = this.parts.settings
    const isLimited = Object.keys(clientRate).length > 0
    return isLimited ? new Throttle(clientRate, this.clock) : undefined
  }

  deliverUnlogged(record: LogRecord): void {
    this.router.unlogged(record)
  }

  /** False, and counted: as many messages are retained as may be. */
  admitsRetained(topic: string): boolean {
    if (this.retained.admits(topic)) return true
    this.stats.notRetained++
    return false
  }

  private sysFacts(): SysFacts {
    return {
      stats: this.stats,
      version: this.parts.version,
      disconnected: this.sessions.counts.away,
      expired: this.sessions.counts.expired,
      retained: this.retained.count,
      sharedSubscriptions: this.consumers.sharedCount,
      heapBytes: process.memoryUsage().heapUsed,
    }
  }

  private sessionEnded(clientId: string): void {
    this.consumers.sessionEnded(clientId)
    this.logger.debug({ client: clientId }, 'a session has ended')
  }

  keptEnd(stream: string): Position {
    return this.router.keptEnd(stream)
  }

  /** The log cannot be read for a client. */
  abandon(outbound: Outbound): void {
    if (outbound.isClosed) return
    const cause = 'the log cannot be read'
    const connection = this.byClientId.get(outbound.clientId)
    connection?.disconnect(Reason.implementationSpecific, 'storage', cause)
  }

  subscribe(
    subscriber: Subscriber,
    asked: readonly Asked[],
    version: number,
  ): FiltersAnswer | Promise<FiltersAnswer> {
    return this.subscribing.subscribe(this.entryOf(subscriber), asked, version)
  }

  subscriptionsKept(subscriber: Subscriber): Promise<void> | undefined {
    return this.clients.kept(subscriber)
  }

  subscriptionsAnswered(subscriber: Subscriber): void {
    this.atSubscribe.answered(subscriber)
  }

  admitsSession(clientId: string): boolean {
    return this.sessions.admits(clientId)
  }

  wants(topic: string): boolean {
    return this.sessions.wants(topic) || this.consumers.wants(topic)
  }

  unsubscribe(
    subscriber: Subscriber,
    filters: readonly string[],
  ): FiltersAnswer | Promise<FiltersAnswer> {
    return this.subscribing.unsubscribe(this.entryOf(subscriber), filters)
  }

  private entryOf(subscriber: Subscriber): SubscriberEntry {
    return present(this.subscribers.get(subscriber), 'the entry of a subscriber')
  }

  closed(connection: Connection, subscriber: Subscriber | undefined): void {
    this.connections.delete(connection)
    if (subscriber === undefined) return
    this.stats.connections--
    this.clients.close(subscriber, connection.sessionExpiryS)
    this.consumers.closed(subscriber.outbound)
    this.subscribing.count()
    this.subscribers.delete(subscriber)
    const { clientId } = subscriber
    if (this.byClientId.get(clientId) === connection) this.byClientId.delete(clientId)
  }

  /** The library's own take-over is asynchronous: of three connections at once it may leave two. */
  private takeOver(connection: Connection, clientId: string): void {
    const older = this.byClientId.get(clientId)
    this.byClientId.set(clientId, connection)
    const cause = 'another connection has the same client id'
    older?.disconnect(Reason.sessionTakenOver, 'taken-over', cause)
  }

  private listenerParts(): ListenerParts {
    const { clock, logger, settings } = this.parts
    return {
      accept: (socket, origin) => this.accept(socket, origin),
      refused: (limit) => {
        this.stats.connectionsRefused++
        this.stats.limited[limit]++
      },
      clock,
      logger,
      connectionsPerSecond: settings.connectionsPerSecond,
      packetBytesMax: this.packetBytesMax,
    }
  }

  private accept(socket: Carrier, origin: Origin): void {
    if (this.connections.size >= this.parts.settings.maxConnections) {
      this.stats.limited.connections++
      const oldest = this.strangers.takeOldest()
      if (oldest === undefined) {
        this.stats.connectionsRefused++
        socket.destroy()
        return
      }
      oldest.disconnect(Reason.serverBusy, 'refused', 'there are too many connections')
    }
    const connection = new Connection(socket, origin, this, (peer) => this.protocol.open(peer))
    this.connections.add(connection)
    this.strangers.enter(connection)
  }

  private keepPausedAlive(): void {
    if (this.stats.pausedPublishers === 0) return
    for (const connection of this.connections) connection.keepAliveWhilePaused()
  }
}

interface SubscriberEntry extends SubscribingClient {
  readonly connection: Connection
  readonly grants: Grants
}
