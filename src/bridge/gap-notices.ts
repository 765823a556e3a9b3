/**
 * Gaps told in-band: a small message for each, to a topic of its own, so that a receiver knows that
 * a hole is no fault of the link.
 *
 * N1. A gap that the forward itself makes is told behind the records before it and before those
 *     behind it. Of one that was made behind the forward's back (retention) the same holds. With
 *     batches, and for what the upstream refused, what was packed or in flight may come in between.
 * N2. At least once, also over a crash: the id of the last one that was acknowledged is kept, and
 *     what came after it is told again. A gap that grew is told again as a whole, under a new id.
 */
import type { Gap, LogState } from '../log/log.ts'
import { NO_BYTES } from './composer.ts'
import { BRIDGE_KIND, jsonIn } from './documents.ts'
import { OriginProperties } from './origin.ts'
import { compileTemplate } from './template.ts'
import type { OutboundMessage, PublishWaiter, UplinkConnection } from './uplink.ts'

export interface GapNoticesParts {
  readonly state: Pick<LogState, 'gaps' | 'documents' | 'epoch'>
  readonly cursor: string
  readonly stream: string
  readonly gateway: string
  /** A topic template. */
  readonly to: string
  readonly wake: () => void
  readonly refused: (reason: number) => 'skip' | 'again'
}

/** Under way at once; the records wait behind the next one. */
const UNDER_WAY_MAX = 16

class Notice implements PublishWaiter {
  readonly id: number
  isTold = false
  private readonly notices: GapNotices

  constructor(notices: GapNotices, id: number) {
    this.notices = notices
    this.id = id
  }

  settled(reason: number): void {
    this.notices.settle(this, reason)
  }
}

export class GapNotices {
  private readonly parts: GapNoticesParts
  private readonly topic: Buffer
  private readonly origin: OriginProperties
  /** All up to this id are acknowledged, and all up to that one are handed out. */
  private told = 0
  private handed = 0
  private underWay: Notice[] = []
  private waiting: Gap[] = []
  /** The ledger has some that are not in `waiting`: it is not asked for each message. */
  private hasMore = false

  constructor(parts: GapNoticesParts) {
    this.parts = parts
    const { to, gateway, stream, state } = parts
    const values = { gateway, topic: stream, stream, client: '', captures: [], rest: '' }
    this.topic = Buffer.from(compileTemplate(to)(values))
    this.origin = new OriginProperties(gateway, state.epoch, stream)
  }

  /** A forward that asks for them now begins with those that come from now on. */
  async open(): Promise<void> {
    const { documents, gaps } = this.parts.state
    const [document] = await documents.get(BRIDGE_KIND, [this.key])
    const kept = jsonIn(document)
    if (typeof kept === 'number') this.told = kept
    else {
      this.told = gaps.list().at(-1)?.id ?? 0
      await documents.putNow([this.document()])
    }
    this.handed = this.told
    this.hasMore = true
    gaps.onAdded((gap) => {
      if (!this.isMine(gap)) return
      this.hasMore = true
      this.parts.wake()
    })
  }

  /** Fills `message` with the next one; false: there is none that may go. */
  prepare(message: OutboundMessage, { hasProperties }: UplinkConnection): boolean {
    const gap = this.next()
    if (gap === undefined || this.underWay.length >= UNDER_WAY_MAX) return false
    message.topic = this.topic
    message.qos = 1
    message.retain = false
    message.payload = this.payloadOf(gap)
    message.properties = NO_BYTES
    message.extraEnd = 0
    if (hasProperties) this.origin.batch(message, false)
    return true
  }

  /** Whether records must wait for one that cannot go yet. */
  get isFull(): boolean {
    return this.underWay.length >= UNDER_WAY_MAX && this.next() !== undefined
  }

  sent(): PublishWaiter {
    const gap = this.waiting.shift() as Gap
    this.handed = gap.id
    const notice = new Notice(this, gap.id)
    this.underWay.push(notice)
    return notice
  }

  settle(notice: Notice, reason: number): void {
    if (!this.underWay.includes(notice)) return
    if (reason !== 0 && this.parts.refused(reason) === 'again') return
    notice.isTold = true
    while (this.underWay[0]?.isTold === true) this.told = this.underWay.shift()?.id ?? this.told
    this.parts.state.documents.put([this.document()])
    this.parts.wake()
  }

  /** The link is lost: what was not acknowledged is told again. */
  detach(): void {
    this.underWay = []
    this.waiting = []
    this.handed = this.told
    this.hasMore = true
  }

  private next(): Gap | undefined {
    if (this.waiting.length === 0 && this.hasMore) {
      this.hasMore = false
      const { gaps } = this.parts.state
      const listed = gaps.list({ stream: this.parts.stream, afterId: this.handed })
      this.waiting = listed.filter((gap) => this.isMine(gap)).slice(0, UNDER_WAY_MAX)
      this.hasMore = this.waiting.length === UNDER_WAY_MAX
    }
    return this.waiting[0]
  }

  private isMine({ stream, cursor }: Gap): boolean {
    return stream === this.parts.stream && (cursor === undefined || cursor === this.parts.cursor)
  }

  private payloadOf({ id, first, end, records, sizeBytes, reason, timeMs }: Gap): Buffer {
    const { gateway, stream, state } = this.parts
    const where = { gap: id, gateway, epoch: state.epoch, stream, first, end }
    return Buffer.from(
      JSON.stringify({ ...where, records, bytes: sizeBytes, reason, time: timeMs }),
    )
  }

  private document() {
    const value = Buffer.from(JSON.stringify(this.told))
    return { kind: BRIDGE_KIND, key: this.key, value }
  }

  private get key(): string {
    return `${this.parts.cursor}/gaps`
  }
}
