/**
 * A consumer group: members divide the partitions of a stream among them, and an acknowledgement
 * moves the group's cursor.
 *
 * G1. A partition has one owner at a time, who gets its records in offset order. It moves only when
 *     what its owner has of it is settled, or the owner is lost.
 * G2. A join or a leave moves only the partitions that must move (assignment.ts).
 * G3. The cursor stands, by partition, at the first record that is not settled: a restart sends
 *     exactly what was not settled again, and beyond a crash what was settled in its last seconds.
 * G4. A member that settles nothing for the ack timeout, while it has something, loses its
 *     partitions until it settles anything again; and it is said.
 * G5. The stream is read once for all members, and what waits is bounded (lane-loader.ts).
 */
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import {
  asOffset,
  type Cursor,
  type CursorPlace,
  type EventLog,
  type LogRecord,
  type Offset,
  type Partition,
  type Position,
  type Start,
} from '../log/log.ts'
import { assignPartitions } from './assignment.ts'
import { GapTeller } from './gap-teller.ts'
import { JoinedMember, type Joining } from './joined-member.ts'
import { Lane } from './lane.ts'
import { LaneLoader } from './lane-loader.ts'
import type { Member } from './member.ts'
import type { MissedRange } from './missed.ts'
import { RecordProperties } from './record-properties.ts'
import type { StreamWatch } from './stream-watch.ts'
import type { Task, Turns } from './turns.ts'

/** Further behind than this it works in slices; nearer it keeps up like any subscriber. */
const LAG_OF_HISTORY = 8192
const SENT_BETWEEN_LOOKS = 32
const SENT_IN_SLICE_MAX = 4096
/** What waits in all lanes together, at least 64 KiB each. */
const WAITING_BYTES = 16 * 1024 * 1024
const LANE_BYTES_MIN = 64 * 1024

const NO_PROPERTIES: readonly (readonly [string, string])[] = []

export interface GroupOptions {
  readonly group: string
  readonly stream: string
  /** The first member's; undefined: all topics. */
  readonly filter: string | undefined
  /** Where a group begins that has no cursor yet. */
  readonly start: Start
  readonly ackTimeoutMs: number
  readonly onEvent?: ((event: GroupEvent) => void) | undefined
}

export interface GroupEvent {
  readonly kind: 'joined' | 'left' | 'stalled' | 'recovered'
  readonly group: string
  readonly stream: string
  readonly clientId: string
  /** That it lost, or has now. */
  readonly partitions: readonly Partition[]
}

export interface GroupParts {
  readonly log: EventLog
  readonly watch: StreamWatch
  readonly turns: Turns
  readonly clock: Clock
  readonly logger?: Logger | undefined
}

export interface GroupInfo {
  readonly group: string
  readonly stream: string
  readonly filter: string | undefined
  readonly members: readonly {
    readonly clientId: string
    readonly partitions: readonly Partition[]
    /** Sent to it and not settled. */
    readonly inflight: number
    readonly isStalled: boolean
  }[]
  readonly partitions: readonly {
    readonly partition: Partition
    readonly next: Offset
    readonly lag: number
    readonly clientId: string | undefined
  }[]
  readonly lag: number
}

export type JoinOutcome =
  | { readonly kind: 'joined' }
  | { readonly kind: 'refused'; readonly sentence: string }

export const groupCursor = (group: string, stream: string): string => `group/${group}/${stream}`

type MemberLane = Lane<JoinedMember>

export class Group implements Task {
  readonly options: GroupOptions
  private readonly parts: GroupParts
  private readonly cursor: string
  private readonly lanes: readonly MemberLane[]
  private readonly loader: LaneLoader<JoinedMember>
  private readonly joined = new Map<Member, JoinedMember>()
  private readonly gapTeller: GapTeller
  private readonly properties: RecordProperties
  private readonly unseek: () => void
  /** The member that is sent to first in the next turn. */
  private turn = 0
  private dirty = false
  private failure: string | undefined
  /** The cursor is being moved by hand: nothing is sent, and what is settled does not move it. */
  private seeking = 0
  private closed = false

  /** Goes on where its cursor stands. Rejects with `stream-unknown`, `start-invalid`, `storage`. */
  static async open(parts: GroupParts, options: GroupOptions): Promise<Group> {
    const { group, stream, start } = options
    const name = groupCursor(group, stream)
    const cursor = await parts.log.state.cursors.open(name, stream, 'partitions', start)
    const opened = new Group(parts, options, await placesOf(parts.log, cursor))
    await opened.gapTeller.start()
    return opened
  }

  private constructor(parts: GroupParts, options: GroupOptions, places: readonly LanePlace[]) {
    this.parts = parts
    this.options = options
    this.cursor = groupCursor(options.group, options.stream)
    this.properties = new RecordProperties(options.stream)
    const bytesMax = Math.max(LANE_BYTES_MIN, WAITING_BYTES / Math.max(1, places.length))
    this.lanes = places.map(({ partition, floor, readNext, end }) => {
      return new Lane(partition, floor, readNext, end, bytesMax, (own) => ({
        settledUpTo: (next) => this.settled(own, next),
        refused: (position) => this.gapTeller.refused(position),
      }))
    })
    const { log, watch } = parts
    const { stream, filter } = options
    this.loader = new LaneLoader({ log, watch, stream, filter }, this.lanes, {
      loaded: () => {
        this.failure = undefined
        this.wake()
      },
      failed: (reason) => this.failed(reason),
    })
    this.gapTeller = new GapTeller(
      parts,
      { cursor: this.cursor, stream },
      (range) => this.tellMissed(range),
      () => Math.min(...this.lanes.map(({ readNext }) => readNext)),
    )
    this.unseek = watch.onSeek(this.cursor, (cursor) => this.sought(cursor))
  }

  get isEmpty(): boolean {
    return this.joined.size === 0
  }

  /** A member that joins again has changed how it subscribes. */
  join(joining: Joining): JoinOutcome {
    const { filter, group } = this.options
    if (joining.filter !== filter && !this.isEmpty) {
      const [asked, own] = [joining.filter ?? '#', filter ?? '#']
      const sentence = `the group "${group}" reads "${own}" of its stream, not "${asked}"`
      return { kind: 'refused', sentence }
    }
    const known = this.joined.get(joining.member)
    if (known !== undefined) {
      known.joining = joining
      return { kind: 'joined' }
    }
    const joined = new JoinedMember(joining)
    this.joined.set(joining.member, joined)
    this.rebalance()
    this.tell('joined', joined)
    return { kind: 'joined' }
  }

  /** What it had and did not settle goes to others at once. */
  left(member: Member): void {
    const joined = this.joined.get(member)
    if (joined === undefined) return
    this.joined.delete(member)
    joined.isGone = true
    this.tell('left', joined)
    this.takeLanes(joined, () => undefined)
    this.rebalance()
    this.commit()
  }

  roomy(member: Member): void {
    const joined = this.joined.get(member)
    if (joined === undefined || !joined.hasWaiting) return
    if (this.loader.lag > LAG_OF_HISTORY) this.parts.turns.add(this)
    else if (this.pump(joined, Number.POSITIVE_INFINITY)) this.parts.turns.add(this)
    this.loader.load()
  }

  work(untilUs: number): boolean {
    const members = [...this.joined.values()]
    let hasMore = false
    for (let i = 0; i < members.length; i++) {
      const joined = members[(this.turn + i) % members.length]
      if (joined !== undefined && this.pump(joined, untilUs)) hasMore = true
    }
    this.turn = members.length === 0 ? 0 : (this.turn + 1) % members.length
    this.loader.load()
    return hasMore && !this.closed
  }

  /** Called now and then: the cursor is committed, timeouts are looked at, failed reads retried. */
  tick(): void {
    this.commit()
    const limitUs = this.parts.clock.monotonicUs() - this.options.ackTimeoutMs * 1000
    for (const { owner, out, progressUs } of this.lanes) {
      if (owner !== undefined && out.length > 0 && progressUs < limitUs) this.stall(owner)
    }
    if (this.failure !== undefined) this.loader.load()
  }

  info(): GroupInfo {
    const { group, stream, filter } = this.options
    const { watch } = this.parts
    const partitions = this.lanes.map(({ partition, floor, owner, endAtStart }) => {
      const end = watch.offsetEnd(stream, partition) ?? endAtStart
      const lag = Math.max(0, end - floor)
      return { partition, next: asOffset(floor), lag, clientId: owner?.joining.member.clientId }
    })
    const members = [...this.joined.values()].map((joined) => ({
      clientId: joined.joining.member.clientId,
      partitions: joined.partitions,
      inflight: joined.lanes.reduce((sum, { out }) => sum + out.length, 0),
      isStalled: joined.isStalled,
    }))
    const lag = partitions.reduce((sum, each) => sum + each.lag, 0)
    return { group, stream, filter, members, partitions, lag }
  }

  /** The cursor is committed; whoever is still a member gets nothing more. */
  close(): void {
    this.commit()
    this.closed = true
    this.parts.turns.remove(this)
    this.loader.stop()
    this.gapTeller.stop()
    this.unseek()
    for (const lane of this.lanes) lane.out.abandon(() => undefined)
  }

  private wake(): void {
    if (this.loader.lag > LAG_OF_HISTORY || this.work(Number.POSITIVE_INFINITY)) {
      this.parts.turns.add(this)
    }
  }

  /** Sends to one member; true when it could go on at once. */
  private pump(joined: JoinedMember, untilUs: number): boolean {
    for (let sent = 1; !joined.isGone && this.seeking === 0 && !this.closed; sent++) {
      const lane = joined.nextLane()
      if (lane === undefined || !this.sendFrom(lane, joined)) return false
      if (sent % SENT_BETWEEN_LOOKS !== 0) continue
      if (sent >= SENT_IN_SLICE_MAX || this.parts.clock.monotonicUs() >= untilUs) return true
    }
    return false
  }

  private sendFrom(lane: MemberLane, joined: JoinedMember): boolean {
    const record = lane.waiting.peek()
    if (record === undefined) return true
    if (!record.inMemory) {
      // A live record whose memory the tail took back: it is read from the log.
      lane.unload()
      return true
    }
    const { offset, position } = record
    if (offset < lane.floor) {
      lane.shift()
      return true
    }
    if (lane.wasSettled(offset)) {
      const slot = lane.out.open(offset, position)
      lane.shift()
      slot.settled('acked')
      return true
    }
    const { member, qos } = joined.joining
    if (qos > 0 && !member.hasRoom) return false
    const isIdle = lane.out.length === 0
    const { out } = lane
    const slot = out.open(offset, position)
    if (!member.send(record, this.sending(record, lane, joined.joining), slot.settled)) {
      out.takeBack(slot)
      return false
    }
    // The member may have left within send: then the lane was taken back with the record in it.
    if (lane.out !== out) return true
    if (isIdle) lane.progressUs = this.parts.clock.monotonicUs()
    lane.shift()
    if (offset >= lane.sentEnd) lane.sentEnd = offset + 1
    return true
  }

  private sending(record: LogRecord, lane: MemberLane, joining: Joining) {
    return {
      qos: joining.qos,
      dup: joining.qos > 0 && record.offset < lane.sentEnd,
      retain: joining.retainAsPublished && record.retain,
      userProperties: joining.withProperties ? this.properties.of(record) : NO_PROPERTIES,
      subscriptionIds: joining.subscriptionIds,
    }
  }

  private settled(lane: MemberLane, next: number): void {
    lane.settledUpTo(next)
    lane.progressUs = this.parts.clock.monotonicUs()
    this.dirty = true
    if (lane.heir === undefined || lane.out.length > 0) return
    this.give(lane, lane.heir)
    this.parts.turns.add(this)
  }

  private rebalance(): void {
    const members = [...this.joined.values()].filter(({ isStalled }) => !isStalled)
    const owners = assignPartitions(
      this.lanes.map(({ owner }) => owner),
      members,
    )
    for (const [index, lane] of this.lanes.entries()) {
      const owner = owners[index]
      if (owner === lane.owner) lane.heir = undefined
      else if (lane.out.length > 0) lane.heir = owner
      else this.give(lane, owner)
    }
    this.wake()
  }

  /** G1: only with nothing out. */
  private give(lane: MemberLane, to: JoinedMember | undefined): void {
    lane.owner?.lose(lane)
    lane.heir = undefined
    lane.owner = to
    to?.lanes.push(lane)
  }

  private takeLanes(from: JoinedMember, told: () => void): void {
    for (const lane of from.lanes.splice(0)) lane.takeBack(told)
  }

  private stall(joined: JoinedMember): void {
    this.tell('stalled', joined)
    joined.isStalled = true
    this.takeLanes(joined, () => this.recover(joined))
    this.rebalance()
  }

  private recover(joined: JoinedMember): void {
    if (joined.isGone || !joined.isStalled || this.closed) return
    joined.isStalled = false
    this.rebalance()
    this.tell('recovered', joined)
  }

  private tell(kind: GroupEvent['kind'], joined: JoinedMember): void {
    const { group, stream, onEvent, ackTimeoutMs } = this.options
    const { clientId } = joined.joining.member
    const { partitions } = joined
    onEvent?.({ kind, group, stream, clientId, partitions })
    const fields = { group, stream, client: clientId, partitions }
    if (kind === 'recovered') this.parts.logger?.info(fields, 'a stalled group member is back')
    if (kind !== 'stalled') return
    this.parts.logger?.warn(
      fields,
      `a group member has acknowledged nothing for ${ackTimeoutMs} ms: others get its partitions`,
    )
  }

  private tellMissed(range: MissedRange): void {
    for (const { joining } of this.joined.values()) joining.onGap(range)
  }

  private failed(reason: string): void {
    if (this.failure === undefined) {
      const { group, stream } = this.options
      this.parts.logger?.error({ group, stream, reason }, 'the log cannot be read for a group')
    }
    this.failure = reason
  }

  private commit(): void {
    const { cursors } = this.parts.log.state
    for (const lane of this.lanes) {
      if (lane.out.length > 0 || lane.waiting.length > 0 || lane.scanned <= lane.floor) continue
      lane.floor = lane.scanned
      this.dirty = true
    }
    if (!this.dirty || this.closed || this.seeking > 0) return
    if (cursors.get(this.cursor) === undefined) return
    this.dirty = false
    const next = new Map(this.lanes.map((lane) => [lane.partition, asOffset(lane.floor)]))
    cursors.commit(this.cursor, { kind: 'partitions', next })
  }

  private sought(cursor: Cursor): void {
    this.seeking++
    placesOf(this.parts.log, cursor).then(
      (places) => {
        this.seeking--
        if (this.closed || this.seeking > 0) return
        for (const [index, lane] of this.lanes.entries()) {
          const place = places[index]
          if (place !== undefined) lane.moveTo(place.floor, place.readNext)
        }
        // Nothing is out any more: partitions that were to move can.
        this.rebalance()
      },
      (thrown: unknown) => {
        this.seeking--
        this.failed(messageOf(thrown))
      },
    )
  }
}

interface LanePlace {
  readonly partition: Partition
  readonly floor: number
  readonly readNext: Position
  readonly end: number
}

/** Where each partition of a cursor is in the stream; what is gone is behind it. */
async function placesOf(log: EventLog, cursor: Cursor): Promise<readonly LanePlace[]> {
  const { partitions } = await log.bounds(cursor.stream)
  const known = offsetsOf(cursor.place)
  const places: LanePlace[] = []
  for (const { partition, first, end } of partitions) {
    const offset = asOffset(Math.min(end, Math.max(first, known.get(partition) ?? first)))
    const readNext = await log.locate(cursor.stream, { kind: 'offset', partition, offset })
    places.push({ partition, floor: offset, readNext, end })
  }
  return places
}

function offsetsOf(place: CursorPlace): ReadonlyMap<Partition, Offset> {
  return place.kind === 'partitions' ? place.next : new Map<Partition, Offset>()
}
