/**
 * The consumer subscriptions of one connected client: a source of its outbound side, made with the
 * first of them, so that all other clients pay nothing.
 */
import { Deque } from '../../base/deque.ts'
import type { MissedRange } from '../../consumers/consumers.ts'
import type { LogRecord, QoS } from '../../log/log.ts'
import type { Outbound } from '../delivery/outbound.ts'
import type { Source } from '../delivery/source.ts'
import { gapMessage } from './gap-message.ts'
import type { Membership } from './membership.ts'
import type { ConsumerSubscription } from './subscription.ts'

/** Gap messages that wait for room, 300 bytes each; the ledger has all of them. */
const GAPS_MAX = 100

interface WaitingGap {
  readonly record: LogRecord
  readonly qos: QoS
  readonly ids: readonly number[]
}

export interface Now {
  readonly clock: { now(): number }
  readonly boot: number
}

export class ClientConsumers implements Source {
  readonly outbound: Outbound
  private readonly now: Now
  private readonly byFilter = new Map<string, Membership>()
  /** The same, because `pump` comes with every acknowledgement. */
  private list: readonly Membership[] = []
  private readonly gaps = new Deque<WaitingGap>()
  private turn = 0
  private closed = false
  /** SUBSCRIBE and UNSUBSCRIBE are carried out one behind the other. */
  private last: Promise<unknown> = Promise.resolve()
  private waiting = 0

  constructor(outbound: Outbound, now: Now) {
    this.outbound = outbound
    this.now = now
  }

  get isClosed(): boolean {
    return this.closed
  }

  get size(): number {
    return this.byFilter.size
  }

  /** Operations that are not carried out yet. */
  get backlog(): number {
    return this.waiting
  }

  all(): readonly Membership[] {
    return this.list
  }

  get(filter: string): Membership | undefined {
    return this.byFilter.get(filter)
  }

  set(filter: string, membership: Membership): void {
    this.byFilter.set(filter, membership)
    this.list = [...this.byFilter.values()]
  }

  /** Leaves, if it was there. */
  drop(filter: string): boolean {
    const known = this.byFilter.get(filter)
    if (known === undefined) return false
    this.byFilter.delete(filter)
    this.list = [...this.byFilter.values()]
    known.leave()
    return true
  }

  /** Runs behind all that was asked before. */
  inTurn<T>(operation: () => Promise<T>): Promise<T> {
    this.waiting++
    const result = this.last.then(operation).finally(() => {
      this.waiting--
    })
    this.last = result.catch(() => undefined)
    return result
  }

  tellGap(range: MissedRange, { qos, id }: ConsumerSubscription): void {
    if (this.closed || this.gaps.length >= GAPS_MAX) return
    const record = gapMessage(range, this.now.clock.now(), this.now.boot)
    this.gaps.push({ record, qos: qos === 0 ? 0 : 1, ids: id === undefined ? [] : [id] })
    this.sendGaps()
  }

  pump(): void {
    if (this.gaps.length > 0 && !this.sendGaps()) return
    const { list } = this
    this.turn = list.length < 2 ? 0 : (this.turn + 1) % list.length
    for (let i = 0; i < list.length; i++) list[(this.turn + i) % list.length]?.roomy()
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    for (const membership of this.list) membership.leave()
    this.gaps.clear()
  }

  /** Closed, and nobody asks any more what it was. */
  clear(): void {
    this.close()
    this.list = []
    this.byFilter.clear()
  }

  /** False: some wait. */
  private sendGaps(): boolean {
    for (let gap = this.gaps.peek(); gap !== undefined; gap = this.gaps.peek()) {
      if (!this.outbound.publish(gap.record, gap.qos, false, false, gap.ids)) return false
      this.gaps.shift()
    }
    return true
  }
}
