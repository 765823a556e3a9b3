/**
 * The MQTT side of replays, groups, queues and shared subscriptions: what SUBSCRIBE and UNSUBSCRIBE
 * of `$stream`, `$share` and `$queue` come to, and what of it a persistent session keeps.
 *
 * M1. A client without such a subscription pays nothing, and neither does a live message.
 * M2. What SUBACK and UNSUBACK say of a persistent session is on disk before they leave (E1).
 * M3. All a client can make has a bound: subscriptions together with its ordinary ones, replays
 *     and operations of one client, replays of all.
 * M4. No record reaches a client that the rules do not grant to it.
 */
import type { Grants } from '../../access/access.ts'
import type { Clock } from '../../base/clock.ts'
import { codeOf, messageOf, SluiceError } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import type { Consumers } from '../../consumers/consumers.ts'
import type { EventLog } from '../../log/log.ts'
import type { Outbound } from '../delivery/outbound.ts'
import type { Router } from '../delivery/router.ts'
import type { MqttStats } from '../stats.ts'
import { Reason } from '../wire/packets.ts'
import { ClientConsumers } from './client-consumers.ts'
import { ClientMember } from './client-member.ts'
import { KeptSubscriptions } from './kept.ts'
import { isSameRequest, type Joiner, Membership, replayCursor } from './membership.ts'
import { Permission } from './permission.ts'
import { SharedTopics } from './shared-topics.ts'
import type { ConsumerSubscription, SubscribeOutcome } from './subscription.ts'

/** Each has two pages of 512 KiB at most, and reads the log for itself. */
const REPLAYS_MAX = 128
/** Each has up to 4,096 messages of the tail, and 1 MiB of unlogged ones. */
const SHARED_MAX = 1000
/** Replays, groups and queues of one client, each. */
const PER_CLIENT_MAX = 16
/** SUBSCRIBEs that a client has sent and that are not carried out. */
const BACKLOG_MAX = 256

export interface MqttConsumersParts {
  readonly engine: Consumers
  readonly log: EventLog
  readonly clock: Clock
  readonly logger: Logger
  readonly router: Router
  readonly stats: MqttStats
  /** Sends what the outputs have collected, at the end of the loop turn. */
  readonly flushSoon: () => void
  /** The number of subscriptions has changed. */
  readonly counted: () => void
}

/** A connected client, as far as its consumer subscriptions go. */
export interface ConsumerClient {
  readonly outbound: Outbound
  readonly grants: Grants
  /** Its session outlives the connection. */
  readonly isPersistent: boolean
}

export class MqttConsumers {
  private readonly parts: MqttConsumersParts
  private readonly shared: SharedTopics
  private readonly kept: KeptSubscriptions
  private readonly byOutbound = new Map<Outbound, ClientConsumers>()
  private memberships = 0
  private replays = 0

  constructor(parts: MqttConsumersParts) {
    this.parts = parts
    const { engine, log, logger, router, stats } = parts
    this.kept = new KeptSubscriptions(log)
    this.shared = new SharedTopics({
      engine,
      log,
      logger,
      router,
      onDropped: () => {
        stats.dropped['slow-subscriber']++
      },
    })
  }

  /** Takes up what sessions of an earlier run keep. */
  async start(hasSession: (clientId: string) => boolean): Promise<void> {
    await this.kept.load(hasSession)
    for (const clientId of this.kept.clients()) {
      for (const { name } of this.kept.of(clientId)) {
        if (name.kind === 'shared') await this.shared.keep(name, clientId)
      }
    }
  }

  /** Subscriptions of connected clients. */
  get count(): number {
    return this.memberships
  }

  /** Those of them that share topics or streams. */
  get sharedCount(): number {
    let count = 0
    for (const own of this.byOutbound.values()) {
      for (const { subscription } of own.all()) {
        const { kind } = subscription.name
        if (kind === 'shared' || kind === 'group') count++
      }
    }
    return count
  }

  /** What of the subscription tree is no subscription of its own. */
  get targets(): number {
    return this.shared.size
  }

  has(outbound: Outbound, filter: string): boolean {
    return this.byOutbound.get(outbound)?.get(filter) !== undefined
  }

  countOf(outbound: Outbound): number {
    return this.byOutbound.get(outbound)?.size ?? 0
  }

  /** Whether a message that no stream takes is kept for somebody who is away. */
  wants(topic: string): boolean {
    return this.shared.wants(topic)
  }

  /** A persistent session is back: it is a member again of what it was. */
  resume(client: ConsumerClient): void {
    for (const subscription of this.kept.of(client.outbound.clientId)) {
      // The rules may have changed while it was away (M4).
      if (!client.grants.maySubscribe(subscription.filter)) continue
      const own = this.of(client)
      own
        .inTurn(() => this.join(client, own, subscription))
        .then((outcome) => {
          if (outcome.kind === 'refused') this.sayLost(client, subscription, outcome.sentence)
        })
        .catch((thrown: unknown) => this.sayLost(client, subscription, messageOf(thrown)))
    }
  }

  /** Never rejects: what fails is refused. */
  subscribe(client: ConsumerClient, asked: ConsumerSubscription): Promise<SubscribeOutcome> {
    const own = this.of(client)
    if (own.backlog >= BACKLOG_MAX) {
      const sentence = `${BACKLOG_MAX} subscriptions are not carried out yet`
      return Promise.resolve({ kind: 'refused', reason: Reason.quotaExceeded, sentence })
    }
    return own
      .inTurn(() => this.subscribeNow(client, own, asked))
      .catch((thrown: unknown) => this.refusalOf(thrown, asked))
  }

  /** Whether the client had it; a promise where the end must be on disk. May reject: `storage`. */
  unsubscribe(client: ConsumerClient, filter: string): Promise<boolean> {
    const { clientId } = client.outbound
    const own = this.of(client)
    if (own.backlog >= BACKLOG_MAX) {
      return Promise.reject(new RangeError('more than the client may leave unanswered'))
    }
    return own.inTurn(async () => {
      const had = this.drop(own, filter)
      if (client.isPersistent) {
        const kept = this.kept.get(clientId, filter)
        await this.kept.remove(clientId, filter)
        if (kept !== undefined) await this.forget(clientId, kept)
      }
      return had
    })
  }

  /** The rules have changed: who may no longer be what it is, is no longer (M4). */
  accessChanged(): void {
    for (const own of this.byOutbound.values()) {
      for (const { subscription, member, grants } of own.all()) {
        member.permission?.forget()
        if (!grants.maySubscribe(subscription.filter)) this.drop(own, subscription.filter)
      }
    }
  }

  /** The connection has ended; its outbound side has closed. */
  closed(outbound: Outbound): void {
    const own = this.byOutbound.get(outbound)
    if (own === undefined) return
    this.byOutbound.delete(outbound)
    for (const { subscription } of own.all()) this.counted(subscription, -1)
    own.clear()
  }

  sessionEnded(clientId: string): void {
    const kept = this.kept.of(clientId)
    if (kept.length === 0) return
    this.kept.forget(clientId)
    for (const subscription of kept) {
      this.forget(clientId, subscription).catch((thrown: unknown) => {
        const fields = { client: clientId, reason: messageOf(thrown) }
        this.parts.logger.warn(fields, 'the cursor of a replay stays for now')
      })
    }
  }

  private of(client: ConsumerClient): ClientConsumers {
    const { outbound } = client
    const known = this.byOutbound.get(outbound)
    if (known !== undefined) return known
    const { clock, log } = this.parts
    const own = new ClientConsumers(outbound, { clock, boot: log.boot })
    // One that has gone stays away.
    if (outbound.isClosed) own.close()
    else this.byOutbound.set(outbound, own)
    outbound.attach(own)
    return own
  }

  private async subscribeNow(
    client: ConsumerClient,
    own: ClientConsumers,
    asked: ConsumerSubscription,
  ): Promise<SubscribeOutcome> {
    const { clientId } = client.outbound
    const before = client.isPersistent ? this.kept.get(clientId, asked.filter) : undefined
    if (before !== undefined && !isSameRequest(before, asked))
      await this.dropCursor(clientId, asked)
    const outcome = await this.join(client, own, asked)
    if (outcome.kind === 'granted' && client.isPersistent && !own.isClosed) {
      await this.kept.add(clientId, asked)
    }
    return outcome
  }

  private async join(
    client: ConsumerClient,
    own: ClientConsumers,
    asked: ConsumerSubscription,
  ): Promise<SubscribeOutcome> {
    if (own.isClosed) return refusal(Reason.implementationSpecific, 'the client has gone')
    const known = own.get(asked.filter)
    const full = known === undefined ? this.fullFor(own, asked) : undefined
    if (full !== undefined) return refusal(Reason.quotaExceeded, full)
    const membership = known ?? this.membership(client, own, asked)
    if (known === undefined) {
      own.set(asked.filter, membership)
      this.counted(asked, 1)
    }
    try {
      const outcome = await membership.join(asked)
      if (outcome.kind === 'refused') this.drop(own, asked.filter)
      return outcome
    } catch (thrown) {
      this.drop(own, asked.filter)
      throw thrown
    }
  }

  private fullFor(own: ClientConsumers, { name }: ConsumerSubscription): string | undefined {
    const { kind } = name
    if (kind === 'shared') {
      const isFull = this.shared.size >= SHARED_MAX && !this.shared.has(name)
      return isFull ? `there are ${SHARED_MAX} shared subscriptions` : undefined
    }
    const count = own.all().filter(({ subscription }) => subscription.name.kind === kind).length
    if (count >= PER_CLIENT_MAX) return `the client has ${PER_CLIENT_MAX} of this kind already`
    const isFull = kind === 'replay' && this.replays >= REPLAYS_MAX
    return isFull ? `${REPLAYS_MAX} replays are running` : undefined
  }

  private membership(
    client: ConsumerClient,
    own: ClientConsumers,
    asked: ConsumerSubscription,
  ): Membership {
    const { outbound, grants, isPersistent } = client
    const { engine, log, clock, logger, flushSoon } = this.parts
    const { name } = asked
    const permission =
      name.kind === 'replay' || name.kind === 'group'
        ? new Permission(grants, (topic) => grants.mayReplay(name.stream, topic))
        : undefined
    const member = new ClientMember(outbound, permission, flushSoon)
    const joiner: Joiner = {
      clientId: outbound.clientId,
      version: outbound.version,
      grants,
      isPersistent,
      onGap: (range, subscription) => {
        own.tellGap(range, subscription)
        flushSoon()
      },
    }
    return new Membership(
      { engine, shared: this.shared, log, clock, logger },
      joiner,
      asked,
      member,
    )
  }

  private drop(own: ClientConsumers, filter: string): boolean {
    const known = own.get(filter)
    if (known === undefined) return false
    this.counted(known.subscription, -1)
    return own.drop(filter)
  }

  private counted({ name }: ConsumerSubscription, by: 1 | -1): void {
    this.memberships += by
    if (name.kind === 'replay') this.replays += by
    this.parts.counted()
  }

  /** A session no longer keeps it. */
  private async forget(clientId: string, subscription: ConsumerSubscription): Promise<void> {
    const { name } = subscription
    if (name.kind === 'shared') await this.shared.unkeep(name, clientId)
    else await this.dropCursor(clientId, subscription)
  }

  private async dropCursor(clientId: string, { name, filter }: ConsumerSubscription) {
    if (name.kind !== 'replay') return
    await this.parts.engine.forgetReplay(replayCursor(clientId, filter))
  }

  private refusalOf(thrown: unknown, { filter }: ConsumerSubscription): SubscribeOutcome {
    if (!(thrown instanceof SluiceError)) throw thrown
    const { logger } = this.parts
    const code = codeOf(thrown)
    if (code === 'start-invalid') return refusal(Reason.implementationSpecific, thrown.message)
    logger.error({ filter, reason: thrown.message }, 'a subscription could not be carried out')
    return refusal(Reason.implementationSpecific, 'the gateway could not do it; its log says why')
  }

  private sayLost({ outbound }: ConsumerClient, { filter }: ConsumerSubscription, reason: string) {
    const fields = { client: outbound.clientId, filter, reason }
    this.parts.logger.warn(fields, 'what a session was a member of cannot be taken up again')
  }
}

function refusal(reason: number, sentence: string): SubscribeOutcome {
  return { kind: 'refused', reason, sentence }
}
