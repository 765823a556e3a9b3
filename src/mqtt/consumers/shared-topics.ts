/**
 * All `$share/<group>/<filter>`, each in the tree of subscriptions like one subscriber: where there
 * is none, a live message pays nothing for them.
 *
 * A member with a persistent session keeps its group (D3): the group stays while it is away, and
 * ends, with its cursors, when the last member and the last such session have gone.
 */
import { messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import type { Consumers, Member, Shared, SharedJoining } from '../../consumers/consumers.ts'
import type { EventLog, LogRecord } from '../../log/log.ts'
import type { Router, Target } from '../delivery/router.ts'
import type { Subscription } from '../delivery/subscriptions.ts'
import { Wanted } from '../sessions/wanted.ts'

export interface SharedName {
  readonly group: string
  readonly filter: string
}

export interface SharedTopicsParts {
  readonly engine: Consumers
  readonly log: EventLog
  readonly logger: Logger
  readonly router: Router
  /** A QoS 0 or unlogged message found no member with room. */
  readonly onDropped: () => void
}

/** One shared subscription. */
export class SharedTopic implements Target {
  readonly name: SharedName
  readonly shared: Shared
  /** Who keeps it while away, by client id. */
  readonly keepers = new Set<string>()
  /** It has, or had, keepers, and so cursors. */
  isDurable = false
  private readonly members = new Map<Member, SharedJoining>()

  constructor(name: SharedName, shared: Shared) {
    this.name = name
    this.shared = shared
  }

  get grants(): this {
    return this
  }

  get memberCount(): number {
    return this.members.size
  }

  get isUnused(): boolean {
    return this.members.size === 0 && this.keepers.size === 0
  }

  /** What nobody here may have need not be offered; of who is away nobody knows. */
  mayReceive(topic: string): boolean {
    if (this.members.size < this.keepers.size || this.members.size === 0) return true
    for (const { mayReceive } of this.members.values())
      if (mayReceive?.(topic) !== false) return true
    return false
  }

  live(record: LogRecord): void {
    this.shared.offer(record)
  }

  join(joining: SharedJoining): void {
    this.members.set(joining.member, joining)
    this.shared.join(joining)
  }

  left(member: Member): void {
    if (this.members.delete(member)) this.shared.left(member)
  }
}

export class SharedTopics {
  private readonly parts: SharedTopicsParts
  private readonly byName = new Map<string, Promise<SharedTopic>>()
  private readonly open = new Set<SharedTopic>()
  private readonly wanted = new Wanted()

  constructor(parts: SharedTopicsParts) {
    this.parts = parts
  }

  /** How many there are. */
  get size(): number {
    return this.open.size
  }

  has(name: SharedName): boolean {
    return this.byName.has(keyOf(name))
  }

  /** Whether a message that no stream takes is kept for a member that may come back. */
  wants(topic: string): boolean {
    return this.wanted.has(topic)
  }

  /**
   * Takes part; `keeper` is the client id of a persistent session. Rejects with `storage`.
   */
  async join(
    name: SharedName,
    joining: SharedJoining,
    keeper: string | undefined,
  ): Promise<SharedTopic> {
    const topic = await this.opened(name, keeper)
    topic.join(joining)
    // Who may receive what has changed with the members.
    this.parts.router.tree.forget()
    return topic
  }

  /** Takes up what a session keeps, before its client is back. Rejects with `storage`. */
  async keep(name: SharedName, clientId: string): Promise<void> {
    await this.opened(name, clientId)
  }

  left(topic: SharedTopic, member: Member): void {
    topic.left(member)
    this.parts.router.tree.forget()
    if (topic.isUnused) this.end(topic)
  }

  /** The session has ended, or is no longer subscribed. */
  async unkeep(name: SharedName, clientId: string): Promise<void> {
    const topic = await this.byName.get(keyOf(name))
    if (topic?.keepers.delete(clientId) === true && topic.isUnused) this.end(topic)
  }

  private async opened(name: SharedName, keeper: string | undefined): Promise<SharedTopic> {
    const key = keyOf(name)
    for (;;) {
      const opening = this.byName.get(key) ?? this.begin(key, name, keeper !== undefined)
      const topic = await opening
      if (keeper !== undefined) {
        topic.keepers.add(keeper)
        if (!topic.isDurable) this.wanted.add(subscriptionTo(name))
        topic.isDurable = true
        await topic.shared.makeDurable()
      }
      // Its last member may have left meanwhile, which has ended it.
      if (this.byName.get(key) === opening) return topic
    }
  }

  private begin(key: string, name: SharedName, durable: boolean): Promise<SharedTopic> {
    const { engine, router, onDropped } = this.parts
    const opening = engine.shared({ ...name, durable, onDropped }).then((shared) => {
      const topic = new SharedTopic(name, shared)
      this.open.add(topic)
      router.tree.add(topic, subscriptionTo(name))
      return topic
    })
    this.byName.set(key, opening)
    opening.catch(() => this.byName.delete(key))
    return opening
  }

  private end(topic: SharedTopic): void {
    if (!this.open.delete(topic)) return
    const { engine, router, log } = this.parts
    const { filter } = topic.name
    this.byName.delete(keyOf(topic.name))
    router.tree.remove(topic, filter)
    if (topic.isDurable) this.wanted.remove(filter)
    engine.endShared(topic.shared)
    for (const { name } of log.streams) this.dropCursor(topic.shared.cursorOf(name))
  }

  private dropCursor(name: string): void {
    const { log, logger } = this.parts
    if (log.state.cursors.get(name) === undefined) return
    log.state.cursors.remove(name).catch((thrown: unknown) => {
      const reason = messageOf(thrown)
      logger.warn({ cursor: name, reason }, 'the cursor of a shared subscription stays for now')
    })
  }
}

function subscriptionTo({ filter }: SharedName): Subscription {
  return { filter, qos: 2, noLocal: false, retainAsPublished: true, id: undefined }
}

/** A group has no "/" in its name. */
function keyOf({ group, filter }: SharedName): string {
  return `${group}/${filter}`
}
