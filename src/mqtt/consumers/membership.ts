/**
 * One consumer subscription of a connected client: how it joins, hears of room, and leaves. The
 * engines behind it are in src/consumers.
 */
import type { Grants } from '../../access/access.ts'
import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/logger.ts'
import {
  type Consumers,
  type MissedRange,
  parseStartRequest,
  type StartOutcome,
} from '../../consumers/consumers.ts'
import type { EventLog, Start } from '../../log/log.ts'
import { Reason } from '../wire/packets.ts'
import type { ClientMember } from './client-member.ts'
import type { SharedTopics } from './shared-topics.ts'
import type { ConsumerKind, ConsumerSubscription, SubscribeOutcome } from './subscription.ts'

/** What a membership joins. */
export interface MembershipParts {
  readonly engine: Consumers
  readonly shared: SharedTopics
  readonly log: EventLog
  readonly clock: Clock
  readonly logger: Logger
}

/** Who joins. */
export interface Joiner {
  readonly clientId: string
  readonly version: number
  readonly grants: Grants
  /** Its session outlives the connection. */
  readonly isPersistent: boolean
  /** Tells the client of records that it will not get. */
  readonly onGap: (range: MissedRange, subscription: ConsumerSubscription) => void
}

/** What joining came to: the way back, or why not. */
type Joined =
  | { readonly kind: 'joined'; readonly roomy: () => void; readonly left: () => void }
  | Extract<SubscribeOutcome, { kind: 'refused' }>

type Of<K extends ConsumerKind['kind']> = Extract<ConsumerKind, { kind: K }>

const refused = (reason: number, sentence: string): Extract<Joined, { kind: 'refused' }> => ({
  kind: 'refused',
  reason,
  sentence,
})

/** The cursor of a replay that a session resumes. */
export const replayCursor = (clientId: string, filter: string): string =>
  `replay/${clientId}/${filter}`

export class Membership {
  subscription: ConsumerSubscription
  readonly member: ClientMember
  private readonly parts: MembershipParts
  private readonly joiner: Joiner
  private joined: Extract<Joined, { kind: 'joined' }> | undefined
  private hasLeft = false

  constructor(
    parts: MembershipParts,
    joiner: Joiner,
    subscription: ConsumerSubscription,
    member: ClientMember,
  ) {
    this.parts = parts
    this.joiner = joiner
    this.subscription = subscription
    this.member = member
  }

  get grants(): Grants {
    return this.joiner.grants
  }

  /**
   * Joins, or joins again with changed options. Rejects with `storage`, `stream-unknown` or
   * `start-invalid`.
   */
  async join(subscription: ConsumerSubscription): Promise<SubscribeOutcome> {
    const before = this.subscription
    this.subscription = subscription
    // A replay that is asked for again as it is goes on.
    if (this.joined !== undefined && isSameReplay(before, subscription)) {
      return { kind: 'granted', qos: subscription.qos }
    }
    const outcome = await this.open(subscription)
    if (outcome.kind === 'refused') return outcome
    if (this.hasLeft) outcome.left()
    else this.joined = outcome
    return { kind: 'granted', qos: subscription.qos }
  }

  /** Window or socket have room again. */
  roomy(): void {
    this.joined?.roomy()
  }

  /** What it had and did not settle is others', or is read again by whoever resumes. */
  leave(): void {
    this.hasLeft = true
    this.joined?.left()
    this.joined = undefined
  }

  private open(subscription: ConsumerSubscription): Promise<Joined> {
    const { name } = subscription
    switch (name.kind) {
      case 'shared':
        return this.joinShared(name, subscription)
      case 'replay':
        return this.beginReplay(name, subscription)
      case 'group':
        return this.joinGroup(name, subscription)
      case 'queue':
        return Promise.resolve(this.joinQueue(name, subscription))
      default:
        return name satisfies never
    }
  }

  private async joinShared(name: Of<'shared'>, subscription: ConsumerSubscription) {
    const { joiner, member } = this
    const { shared } = this.parts
    const joining = {
      ...this.joining(subscription),
      mayReceive: (topic: string) => joiner.grants.mayReceive(topic),
    }
    const keeper = joiner.isPersistent ? joiner.clientId : undefined
    const topic = await shared.join(name, joining, keeper)
    return {
      kind: 'joined',
      roomy: () => topic.shared.roomy(),
      left: () => shared.left(topic, member),
    } as const
  }

  private async beginReplay(
    { stream, filter }: Of<'replay'>,
    subscription: ConsumerSubscription,
  ): Promise<Joined> {
    const { engine, logger } = this.parts
    const { clientId, isPersistent } = this.joiner
    const start = this.startOf(stream, subscription, { kind: 'latest' })
    if (start.kind !== 'start') return start
    // Another place than before: a replay is not joined twice.
    this.joined?.left()
    this.joined = undefined
    const replay = await engine.replay({
      ...this.joining(subscription),
      stream,
      filter,
      start: start.start,
      partition: start.partition,
      cursor: isPersistent ? replayCursor(clientId, subscription.filter) : undefined,
      onFailure: (reason) =>
        logger.error({ client: clientId, stream, reason }, 'the log cannot be read for a replay'),
    })
    return { kind: 'joined', roomy: () => replay.roomy(), left: () => engine.endReplay(replay) }
  }

  private async joinGroup(
    { group, stream, filter }: Of<'group'>,
    subscription: ConsumerSubscription,
  ): Promise<Joined> {
    const { engine } = this.parts
    const { member } = this
    const start = this.startOf(stream, subscription, { kind: 'earliest' })
    if (start.kind !== 'start') return start
    if (start.partition !== undefined) {
      const sentence = 'stream-partition: a group divides the partitions among its members itself'
      return refused(Reason.implementationSpecific, sentence)
    }
    const joining = { ...this.joining(subscription), filter }
    const outcome = await engine.joinGroup(group, stream, joining, start.start)
    if (outcome.kind === 'refused') return refused(Reason.quotaExceeded, outcome.sentence)
    const joined = outcome.group
    return {
      kind: 'joined',
      roomy: () => joined.roomy(member),
      left: () => engine.leaveGroup(joined, member),
    }
  }

  private joinQueue({ queue: name }: Of<'queue'>, subscription: ConsumerSubscription): Joined {
    const { member } = this
    const queue = this.parts.engine.queue(name)
    if (queue === undefined) {
      return refused(Reason.topicFilterInvalid, `there is no queue "${name}"`)
    }
    queue.join(this.joining(subscription))
    return { kind: 'joined', roomy: () => queue.roomy(), left: () => queue.left(member) }
  }

  private joining(subscription: ConsumerSubscription) {
    const { qos, retainAsPublished, id } = subscription
    return {
      member: this.member,
      qos,
      retainAsPublished,
      subscriptionIds: id === undefined ? [] : [id],
      withProperties: this.joiner.version === 5,
      onGap: (range: MissedRange) => this.joiner.onGap(range, subscription),
    }
  }

  private startOf(
    stream: string,
    { request }: ConsumerSubscription,
    otherwise: Start,
  ): Extract<StartOutcome, { kind: 'start' }> | Extract<Joined, { kind: 'refused' }> {
    const { log, clock } = this.parts
    const known = log.streams.find(({ name }) => name === stream)
    if (known === undefined) {
      return refused(Reason.topicFilterInvalid, `there is no stream "${stream}"`)
    }
    const outcome = parseStartRequest(request, known.partitions, otherwise, clock)
    if (outcome.kind === 'start') return outcome
    return refused(Reason.implementationSpecific, outcome.sentence)
  }
}

function isSameReplay(one: ConsumerSubscription, other: ConsumerSubscription): boolean {
  return (
    one.name.kind === 'replay' &&
    one.qos === other.qos &&
    one.id === other.id &&
    one.retainAsPublished === other.retainAsPublished &&
    isSameRequest(one, other)
  )
}

/** Whether both ask for the same place to begin at. */
export function isSameRequest(one: ConsumerSubscription, other: ConsumerSubscription): boolean {
  const [a, b] = [one.request, other.request]
  return a.streamOffset === b.streamOffset && a.streamPartition === b.streamPartition
}
