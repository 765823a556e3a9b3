/**
 * A work queue against a plain model, from a seed: consumers come, go, refuse, fall silent; the
 * gateway restarts. Each message is with one consumer at a time, is never given again once it is
 * done, and ends either done or once among the dead letters, after as many deliveries as may be.
 */
import { expect, it, vi } from 'vitest'
import { ManualClock } from '../../src/base/clock.ts'
import { SeededRandom } from '../../src/base/random.ts'
import { Consumers, type Queue, streamOfQueue } from '../../src/consumers/consumers.ts'
import type { Sending } from '../../src/consumers/member.ts'
import { findUserProperty } from '../../src/consumers/user-properties.ts'
import { MemoryLog } from '../../src/log/memory.ts'
import { readAll } from '../contract/event-log-support.ts'
import { appendText } from '../support/append.ts'
import { propertyOf, type Sent, TestMember } from '../support/member.ts'
import { NOON_MS, stream, turns } from './given.ts'

const SEEDS = Number(process.env['SLUICE_CONSUMER_SEEDS'] ?? 20)
const FIRST_SEED = Number(process.env['SLUICE_SEED'] ?? 1)
const MAX_DELIVERIES = 4

const jobs = {
  name: 'jobs',
  topics: ['jobs/#'],
  ackTimeoutMs: 30_000,
  maxDeliveries: MAX_DELIVERIES,
  deadLetter: 'dead',
}

class QueueRun {
  private readonly random: SeededRandom
  private readonly clock = new ManualClock(NOON_MS)
  private readonly log = new MemoryLog(
    [streamOfQueue(jobs), stream('dead', { topics: [], partitions: 1 })],
    this.clock,
  )
  private consumers: Consumers | undefined
  private readonly members = new Set<TestMember>()
  /** The delivery that each message is out with: one client may have an older one of it, too. */
  private readonly out = new Map<number, { by: TestMember; how: Sending | undefined }>()
  private readonly done = new Set<number>()
  private readonly deliveries = new Map<number, number>()
  private appended = 0
  private names = 0

  constructor(seed: number) {
    this.random = new SeededRandom(seed)
  }

  async run(steps: number): Promise<void> {
    await this.start()
    for (let step = 0; step < steps; step++) {
      const chance = this.random.below(100)
      if (chance < 25) await this.append()
      else if (chance < 75) this.settleSome()
      else if (chance < 85) this.join()
      else if (chance < 92) this.leave()
      else if (chance < 96) this.timeOut()
      else await this.restart()
      await turns()
    }
    await this.finish()
    await this.consumers?.close()
    await this.log.close()
  }

  private get queue(): Queue {
    const queue = this.consumers?.queue('jobs')
    if (queue === undefined) throw new Error('there is no queue')
    return queue
  }

  private async start(): Promise<void> {
    this.consumers = await Consumers.start({ log: this.log, clock: this.clock, queues: [jobs] })
  }

  private async append(): Promise<void> {
    const count = 1 + this.random.below(30)
    this.appended += count
    await appendText(
      this.log,
      'jobs/a',
      Array.from({ length: count }, () => 'x'),
    )
  }

  private join(): void {
    if (this.members.size >= 5) return
    const member = new TestMember(`m${this.names++}`, 1 + this.random.below(10))
    const send = member.send.bind(member)
    member.send = (record, how, settled) => {
      if (!member.hasRoom) return false
      const isSent = send(record, how, settled)
      this.sent(member, member.sent.at(-1))
      return isSent
    }
    member.onRoomy = () => this.queue.roomy()
    this.members.add(member)
    const onGap = () => undefined
    this.queue.join({ member, qos: 1, subscriptionIds: [], withProperties: true, onGap })
  }

  private sent(member: TestMember, sent: Sent | undefined): void {
    const position = sent?.record.position ?? -1
    expect(this.out.get(position), `${position} is with one consumer`).toBe(undefined)
    expect(this.done.has(position), `${position} is not done`).toBe(false)
    const count = (this.deliveries.get(position) ?? 0) + 1
    expect(count).toBeLessThanOrEqual(MAX_DELIVERIES)
    expect(propertyOf(sent, 'delivery-count')).toBe(String(count))
    this.deliveries.set(position, count)
    this.out.set(position, { by: member, how: sent?.how })
  }

  private settleSome(): void {
    for (const member of this.members) {
      for (let i = this.random.below(8); i > 0; i--) {
        const index = this.random.below(Math.max(1, member.inflight.length))
        this.settle(member, index, this.random.oneIn(5) ? 'refused' : 'acked')
      }
    }
    this.clock.advance(this.random.below(3000))
    this.consumers?.tick()
  }

  private settle(member: TestMember, index: number, outcome: 'acked' | 'refused'): void {
    const position = member.inflight[index]?.record.position
    if (position === undefined) return
    const isHere = this.out.get(position)?.how === member.inflight[index]?.how
    // Late, it counts unless the message is on its way to the dead letters.
    const isDying =
      (this.deliveries.get(position) ?? 0) >= MAX_DELIVERIES && !this.out.has(position)
    if (outcome === 'acked' && !isDying) this.done.add(position)
    if (isHere || outcome === 'acked') this.out.delete(position)
    member.settle(index, outcome)
  }

  private leave(): void {
    if (this.members.size === 0) return
    const member = this.random.pick([...this.members])
    this.members.delete(member)
    member.goAway()
    this.lost(member)
    this.queue.left(member)
  }

  private timeOut(): void {
    this.clock.advance(30_001)
    for (const member of this.members) this.lost(member)
    this.consumers?.tick()
  }

  private async restart(): Promise<void> {
    for (const member of this.members) {
      member.goAway()
      this.lost(member)
    }
    this.members.clear()
    await this.consumers?.close()
    await this.start()
  }

  private lost(member: TestMember): void {
    for (const [position, { by }] of this.out) if (by === member) this.out.delete(position)
  }

  private async finish(): Promise<void> {
    while (this.members.size < 2) this.join()
    await vi.waitFor(
      () => {
        for (const member of this.members) {
          while (member.inflight.length > 0) this.settle(member, 0, 'acked')
        }
        this.consumers?.tick()
        expect(this.queue.info().depth).toBe(0)
      },
      { timeout: 5000, interval: 1 },
    )
    const dead = await readAll(this.log, 'dead')
    const positions = dead.map(({ properties }) =>
      Number(findUserProperty(properties, 'dead-position')),
    )
    expect(new Set(positions).size, 'each dead letter once').toBe(positions.length)
    for (const position of positions) {
      expect(this.deliveries.get(position), `deliveries of ${position}`).toBe(MAX_DELIVERIES)
    }
    const ended = new Set([...positions, ...this.done])
    expect(ended.size, 'every message ended').toBe(this.appended)
  }
}

it.each(Array.from({ length: SEEDS }, (_, index) => FIRST_SEED + index))(
  'a queue ends every message once: seed %i',
  async (seed) => {
    await new QueueRun(seed).run(150)
  },
)
