/**
 * The door of the consumers: replays, groups, work queues and shared subscriptions over one log.
 *
 * It owns who takes part in what, and the moments at which cursors are committed and timeouts are
 * looked at. It knows no MQTT server: clients are Members (member.ts).
 */
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { type EventLog, isOutOfService, type Start } from '../log/log.ts'
import { forgetTold } from './gap-teller.ts'
import { Group, type GroupEvent, type GroupInfo, groupCursor } from './group.ts'
import type { Joining } from './joined-member.ts'
import type { Member } from './member.ts'
import { Queue, type QueueInfo } from './queue.ts'
import type { QueueSettings } from './queue-settings.ts'
import { Replay, type ReplayOptions } from './replay.ts'
import { Shared, type SharedOptions } from './shared.ts'
import { StreamWatch } from './stream-watch.ts'
import { Turns } from './turns.ts'

export type { Redriven } from './dead-letters.ts'
export type { Group, GroupEvent, GroupInfo, JoinOutcome } from './group.ts'
export type { Joining } from './joined-member.ts'
export type { Member, Sending, Settled } from './member.ts'
export type { MissedRange } from './missed.ts'
export type { ConsumerName, StartOutcome, StartRequest } from './names.ts'
export { parseConsumerName, parseStartRequest } from './names.ts'
export type { Queue, QueueInfo } from './queue.ts'
export type { QueueJoining } from './queue-member.ts'
export { type QueueSettings, streamOfQueue } from './queue-settings.ts'
export type { Replay, ReplayOptions } from './replay.ts'
export type { Shared, SharedJoining, SharedOptions } from './shared.ts'

/** A member that acknowledges nothing for so long loses its partitions. */
const ACK_TIMEOUT_MS = 30_000
/** How often cursors are committed and timeouts looked at. */
const TICK_MS = 250
/** Groups that have a place: clients name them as they like, and each is a cursor in memory. */
const GROUPS_MAX = 10_000
/** Those with members: each has up to 16 MiB that wait for them. */
const OPEN_GROUPS_MAX = 64

export interface ConsumersParts {
  readonly log: EventLog
  readonly clock: Clock
  readonly logger?: Logger
  readonly queues: readonly QueueSettings[]
  readonly ackTimeoutMs?: number
  readonly onEvent?: (event: GroupEvent) => void
}

/** A membership, or why there is none. */
export type GroupJoined =
  | { readonly kind: 'joined'; readonly group: Group }
  | { readonly kind: 'refused'; readonly sentence: string }

export class Consumers {
  private readonly parts: ConsumersParts
  private readonly watch: StreamWatch
  private readonly turns: Turns
  private readonly replays = new Set<Replay>()
  private readonly groups = new Map<string, Promise<Group>>()
  private readonly openGroups = new Map<string, Group>()
  private readonly queues = new Map<string, Queue>()
  private readonly shareds = new Set<Shared>()
  private readonly timer: NodeJS.Timeout
  private closed = false

  /** Opens the queues. Rejects with `storage`. */
  static async start(parts: ConsumersParts): Promise<Consumers> {
    const consumers = new Consumers(parts)
    try {
      for (const settings of parts.queues) {
        await consumers.openQueue(settings)
      }
    } catch (thrown) {
      await consumers.close()
      throw thrown
    }
    return consumers
  }

  private constructor(parts: ConsumersParts) {
    this.parts = parts
    this.watch = new StreamWatch(parts.log)
    this.turns = new Turns(parts.clock, parts.log)
    this.timer = setInterval(() => this.tick(), TICK_MS).unref()
  }

  private async openQueue(settings: QueueSettings): Promise<void> {
    try {
      this.queues.set(settings.name, await Queue.open(this.engineParts, settings))
    } catch (thrown) {
      if (!isOutOfService(thrown)) throw thrown
      const fields = { queue: settings.name, reason: messageOf(thrown) }
      this.parts.logger?.error(fields, 'a queue is not served until the next start')
    }
  }

  /**
   * Begins a replay; `endReplay` ends it. Rejects with `stream-unknown`, `start-invalid` or
   * `storage`.
   */
  async replay(options: ReplayOptions): Promise<Replay> {
    const replay = await Replay.begin(this.engineParts, options)
    this.replays.add(replay)
    return replay
  }

  /** The client is gone or has unsubscribed. */
  endReplay(replay: Replay): void {
    this.replays.delete(replay)
    replay.left()
  }

  /** A durable replay is over for good, after `endReplay`. Rejects with `storage`. */
  async forgetReplay(cursor: string): Promise<void> {
    const { log } = this.parts
    if (log.state.cursors.get(cursor) === undefined) return
    forgetTold(log, cursor)
    await log.state.cursors.remove(cursor)
  }

  /**
   * Joins a group; the first member opens it, at `start` if it never was. Who is gone by the time
   * this resolves must leave. Rejects with `stream-unknown`, `start-invalid` or `storage`.
   */
  async joinGroup(
    group: string,
    stream: string,
    joining: Joining,
    start: Start,
  ): Promise<GroupJoined> {
    const name = groupCursor(group, stream)
    const { cursors } = this.parts.log.state
    if (!this.groups.has(name) && this.groups.size >= OPEN_GROUPS_MAX) {
      return { kind: 'refused', sentence: `${OPEN_GROUPS_MAX} groups have members already` }
    }
    if (cursors.get(name) === undefined && this.knownGroups >= GROUPS_MAX) {
      const sentence = `there are ${GROUPS_MAX} groups already: remove some, "sluice cursors"`
      return { kind: 'refused', sentence }
    }
    for (;;) {
      const opening = this.groups.get(name) ?? this.openGroup(name, group, stream, joining, start)
      const opened = await opening
      // Its last member may have left meanwhile, which has closed it.
      if (this.groups.get(name) !== opening) continue
      const outcome = opened.join(joining)
      return outcome.kind === 'joined' ? { kind: 'joined', group: opened } : outcome
    }
  }

  leaveGroup(group: Group, member: Member): void {
    group.left(member)
    if (!group.isEmpty) return
    const name = groupCursor(group.options.group, group.options.stream)
    if (this.openGroups.get(name) !== group) return
    this.groups.delete(name)
    this.openGroups.delete(name)
    group.close()
  }

  /** Opens a shared subscription; `endShared` ends it. Rejects with `storage`. */
  async shared(options: SharedOptions): Promise<Shared> {
    const shared = await Shared.open(this.engineParts, options)
    this.shareds.add(shared)
    return shared
  }

  /** Nobody is to have it any more; its cursors stay, for whoever removes them. */
  endShared(shared: Shared): void {
    this.shareds.delete(shared)
    shared.close()
  }

  get replayCount(): number {
    return this.replays.size
  }

  /** Records that the replays have not sent, together. */
  get replayLag(): number {
    let lag = 0
    for (const replay of this.replays) lag += replay.lag
    return lag
  }

  /** Groups with members now. */
  groupInfos(): readonly GroupInfo[] {
    return [...this.openGroups.values()].map((group) => group.info())
  }

  /** Undefined: there is no queue of that name. */
  queue(name: string): Queue | undefined {
    return this.queues.get(name)
  }

  queueInfos(): readonly QueueInfo[] {
    return [...this.queues.values()].map((queue) => queue.info())
  }

  /**
   * `afterSlice` sends what was collected while history was worked on: it costs as much as the
   * work itself, so it counts as a part of it.
   */
  onSlice(afterSlice: () => void): void {
    this.turns.onSlice(afterSlice)
  }

  /** Commits cursors and looks at timeouts; four times a second by itself. */
  tick(): void {
    for (const replay of this.replays) replay.tick()
    for (const group of this.openGroups.values()) group.tick()
    for (const queue of this.queues.values()) queue.tick()
    for (const shared of this.shareds) shared.tick()
  }

  /** All progress is handed to the log's state; before the log is closed. */
  async close(): Promise<void> {
    if (this.closed) return
    this.closed = true
    clearInterval(this.timer)
    this.turns.close()
    this.watch.close()
    for (const replay of this.replays) replay.left()
    for (const group of this.openGroups.values()) group.close()
    for (const shared of this.shareds) shared.close()
    for (const queue of this.queues.values()) await queue.close()
  }

  private get knownGroups(): number {
    const names = this.parts.log.state.cursors.list()
    return names.filter(({ name }) => name.startsWith('group/')).length
  }

  private get engineParts() {
    const { log, clock, logger } = this.parts
    return { log, clock, logger, watch: this.watch, turns: this.turns }
  }

  private openGroup(
    name: string,
    group: string,
    stream: string,
    { filter }: Joining,
    start: Start,
  ): Promise<Group> {
    const { ackTimeoutMs = ACK_TIMEOUT_MS, onEvent, logger } = this.parts
    const options = { group, stream, filter, start, ackTimeoutMs, onEvent }
    const opening = Group.open(this.engineParts, options)
    this.groups.set(name, opening)
    opening.then(
      (opened) => {
        if (this.closed) opened.close()
        else this.openGroups.set(name, opened)
      },
      (thrown: unknown) => {
        logger?.warn({ group, stream, reason: messageOf(thrown) }, 'a group cannot be opened')
        this.groups.delete(name)
      },
    )
    return opening
  }
}
