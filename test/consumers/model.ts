/**
 * A consumer group against a plain model, from a seed: members join, leave, die, acknowledge in any
 * order or not at all, records come, the cursor is moved, the gateway stops, is killed and starts.
 *
 * The model knows for each record whether it is out, settled or wanted. It demands: a record that
 * is out or settled is not sent; within a partition records that were never sent come in order, and
 * those to be sent again before them; one member at a time has records of a partition; and in the
 * end every record is settled.
 */
import { expect, vi } from 'vitest'
import type { ManualClock } from '../../src/base/clock.ts'
import { SeededRandom } from '../../src/base/random.ts'
import { Consumers, type Group } from '../../src/consumers/consumers.ts'
import type { EventLog, LogRecord } from '../../src/log/log.ts'
import { appendText } from '../support/append.ts'
import { TestMember } from '../support/member.ts'
import { joining, turns } from './given.ts'

export interface Durable {
  readonly log: EventLog
  /** Closed in order and opened again. */
  reopen(): Promise<Durable>
  /** Killed and opened again; cursors may have fallen back. */
  crash(): Promise<Durable>
}

type State =
  /** Was never sent, or must be sent again. */
  | { kind: 'wanted' }
  | { kind: 'out'; by: TestMember }
  | { kind: 'settled' }
  /** Settled, but nobody has promised to remember it. */
  | { kind: 'maybe' }

export class GroupRun {
  private readonly random: SeededRandom
  private readonly clock: ManualClock
  private durable: Durable
  private consumers: Consumers | undefined
  private readonly members = new Map<TestMember, Group>()
  private readonly states = new Map<string, State>()
  /** By partition, the last offset that was sent since something of it was taken back. */
  private readonly lastSent = new Map<number, number>()
  /** Sent before its member lost the partitions, or before the cursor was moved. */
  private readonly vain = new WeakSet<object>()
  private names = 0
  private appended = 0

  constructor(seed: number, clock: ManualClock, durable: Durable) {
    this.random = new SeededRandom(seed)
    this.clock = clock
    this.durable = durable
  }

  async run(steps: number): Promise<void> {
    await this.start()
    for (let step = 0; step < steps; step++) {
      await this.step()
      await turns()
    }
    await this.finish()
    await this.consumers?.close()
    await this.durable.log.close()
  }

  private async step(): Promise<void> {
    const { random } = this
    const chance = random.below(100)
    if (chance < 25) await this.append(1 + random.below(60))
    else if (chance < 70) this.settleSome()
    else if (chance < 80) await this.join()
    else if (chance < 87) this.leave()
    else if (chance < 91) this.stall()
    else if (chance < 94) await this.seek()
    else if (chance < 97) await this.restart()
    else await this.crash()
  }

  private async finish(): Promise<void> {
    while (this.members.size < 2) await this.join()
    const isOpen = ({ kind }: State): boolean => kind !== 'settled' && kind !== 'maybe'
    await vi.waitFor(
      () => {
        for (const member of this.members.keys()) this.settleAllOf(member)
        this.consumers?.tick()
        expect([...this.states].filter(([, state]) => isOpen(state))).toEqual([])
      },
      { timeout: 5000, interval: 1 },
    )
    expect(this.states.size).toBe(this.appended)
    for (const group of this.members.values()) expect(group.info().lag).toBe(0)
  }

  private async start(): Promise<void> {
    const { log } = this.durable
    this.consumers = await Consumers.start({ log, clock: this.clock, queues: [] })
    log.state.cursors.onMoved((_, why) => {
      if (why === 'seek' && log === this.durable.log) this.sought()
    })
  }

  private async append(count: number): Promise<void> {
    const texts = Array.from({ length: count }, () => 'x')
    const topic = `s/${this.random.below(24)}`
    for (const { partition, offset } of await appendText(this.durable.log, topic, texts)) {
      this.appended++
      const key = `${partition}:${offset}`
      // It may be out already: followers are told before this goes on.
      if (!this.states.has(key)) this.states.set(key, { kind: 'wanted' })
    }
  }

  private async join(): Promise<void> {
    if (this.members.size >= 6 || this.consumers === undefined) return
    const member = new TestMember(
      `m${this.names++}`,
      1 + this.random.below(this.random.oneIn(3) ? 300 : 20),
    )
    const send = member.send.bind(member)
    member.send = (record, how, settled) => {
      if (!member.hasRoom) return false
      this.sent(member, record)
      return send(record, how, settled)
    }
    const start = { kind: 'earliest' } as const
    const joined = await this.consumers.joinGroup('g', 's', joining(member), start)
    if (joined.kind !== 'joined') throw new Error(joined.sentence)
    member.onRoomy = () => joined.group.roomy(member)
    this.members.set(member, joined.group)
  }

  private leave(): void {
    if (this.members.size === 0) return
    const member = this.random.pick([...this.members.keys()])
    const group = this.members.get(member)
    this.members.delete(member)
    member.goAway()
    this.lost(member)
    // With its last member a group ends, and what was settled ahead is kept in its memory only.
    if (this.members.size === 0) this.forgetAhead()
    if (group !== undefined) this.consumers?.leaveGroup(group, member)
  }

  private sent(member: TestMember, { partition, offset }: LogRecord): void {
    const key = `${partition}:${offset}`
    const state = this.states.get(key) ?? { kind: 'wanted' }
    expect(['wanted', 'maybe'], `${key} is sent while ${state.kind}`).toContain(state.kind)
    expect(offset, `order of partition ${partition}`).toBeGreaterThan(
      this.lastSent.get(partition) ?? -1,
    )
    for (const [other, { kind, ...more }] of this.states) {
      if (kind !== 'out' || !other.startsWith(`${partition}:`)) continue
      expect('by' in more && more.by, `partition ${partition} has one owner`).toBe(member)
    }
    this.lastSent.set(partition, offset)
    this.states.set(key, { kind: 'out', by: member })
  }

  private settleSome(): void {
    for (const member of this.members.keys()) {
      for (let i = this.random.below(12); i > 0; i--) {
        this.settleOne(member, this.random.below(Math.max(1, member.inflight.length)))
      }
    }
    this.clock.advance(this.random.below(2000))
    this.consumers?.tick()
  }

  private settleAllOf(member: TestMember): number {
    let count = 0
    while (member.inflight.length > 0) {
      this.settleOne(member, 0)
      count++
    }
    return count
  }

  private settleOne(member: TestMember, index: number): void {
    const sent = member.inflight[index]
    if (sent === undefined) return
    const key = `${sent.record.partition}:${sent.record.offset}`
    const state = this.states.get(key)
    const onRoomy = member.onRoomy
    member.onRoomy = () => undefined
    // What it lost to the ack timeout or a seek it settles in vain.
    if (state?.kind === 'out' && state.by === member && !this.vain.has(sent)) {
      this.states.set(key, { kind: 'settled' })
    }
    member.settle(index)
    member.onRoomy = onRoomy
    onRoomy()
  }

  /** All members but one go silent for the ack timeout. */
  private stall(): void {
    this.clock.advance(31_000)
    for (const member of this.members.keys()) {
      if (member.inflight.length === 0) continue
      for (const sent of member.inflight) this.vain.add(sent)
      this.lost(member)
    }
    this.consumers?.tick()
  }

  private async seek(): Promise<void> {
    const { cursors } = this.durable.log.state
    if (cursors.get('group/g/s') === undefined) return
    await cursors.seek('group/g/s', { kind: 'earliest' })
    await turns(20)
  }

  /** From here on everything is wanted again. */
  private sought(): void {
    for (const member of this.members.keys()) {
      for (const one of member.inflight) this.vain.add(one)
    }
    for (const key of this.states.keys()) this.states.set(key, { kind: 'wanted' })
    this.lastSent.clear()
  }

  private async restart(): Promise<void> {
    this.loseAll()
    // Settled behind something that was not: kept in memory only.
    this.forgetAhead()
    await this.consumers?.close()
    this.durable = await this.durable.reopen()
    await this.start()
  }

  private async crash(): Promise<void> {
    this.loseAll()
    for (const [key, { kind }] of this.states) {
      if (kind === 'settled') this.states.set(key, { kind: 'maybe' })
    }
    this.lastSent.clear()
    const { consumers } = this
    this.durable = await this.durable.crash()
    await consumers?.close()
    await this.start()
  }

  private loseAll(): void {
    for (const member of this.members.keys()) {
      member.goAway()
      this.lost(member)
    }
    this.members.clear()
  }

  private lost(member: TestMember): void {
    for (const [key, state] of this.states) {
      if (state.kind !== 'out' || state.by !== member) continue
      this.states.set(key, { kind: 'wanted' })
      this.lastSent.delete(Number(key.split(':')[0]))
    }
  }

  private forgetAhead(): void {
    const floors = new Map<number, number>()
    for (const [key, { kind }] of this.states) {
      const [partition = 0, offset = 0] = key.split(':').map(Number)
      if (kind === 'settled') continue
      floors.set(partition, Math.min(floors.get(partition) ?? Number.POSITIVE_INFINITY, offset))
    }
    for (const [key, { kind }] of this.states) {
      const [partition = 0, offset = 0] = key.split(':').map(Number)
      const floor = floors.get(partition) ?? Number.POSITIVE_INFINITY
      if (kind === 'settled' && offset > floor) this.states.set(key, { kind: 'maybe' })
    }
  }
}
