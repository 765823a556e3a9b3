/**
 * Retained messages for one new subscription, page by page as the client has room.
 *
 * A retained message never comes behind a newer one of its topic: once a live message of the topic
 * was sent or queued, the retained one is left out.
 */
import { messageOf } from '../../base/errors.ts'
import type { LogRecord, QoS } from '../../log/log.ts'
import type { CatchUpParts } from './catch-up.ts'
import type { Outbound } from './outbound.ts'
import type { Source } from './source.ts'
import type { LiveWatch, Subscriber } from './subscriber.ts'
import type { Subscription } from './subscriptions.ts'

/** Topics of live messages that are remembered; past that, live messages wait. */
const SEEN_TOPICS_MAX = 10_000

/** Messages as records, each with memory of its own that stays as it is until the next page. */
export type RetainedPages = AsyncIterator<readonly LogRecord[]>

export class RetainedSource implements Source, LiveWatch {
  private readonly subscriber: Subscriber
  private readonly outbound: Outbound
  private readonly subscription: Subscription
  private readonly ids: readonly number[]
  private readonly pages: RetainedPages
  private readonly parts: CatchUpParts
  private readonly seen = new Set<string>()
  private page: readonly LogRecord[] = []
  private index = 0
  private waiting = false
  private closed = false

  /** Begins at once. */
  constructor(
    subscriber: Subscriber,
    subscription: Subscription,
    pages: RetainedPages,
    parts: CatchUpParts,
  ) {
    this.subscriber = subscriber
    this.outbound = subscriber.outbound
    this.subscription = subscription
    this.ids = subscription.id === undefined ? [] : [subscription.id]
    this.pages = pages
    this.parts = parts
    subscriber.watch(this)
    this.outbound.attach(this)
    this.pump()
  }

  saw(topic: string): boolean {
    if (this.seen.size >= SEEN_TOPICS_MAX && !this.seen.has(topic)) return false
    this.seen.add(topic)
    return true
  }

  pump(): void {
    if (this.waiting || this.closed) return
    for (; this.index < this.page.length; this.index++) {
      const record = this.page[this.index] as LogRecord
      if (this.seen.has(record.topic)) continue
      const qos = Math.min(record.qos, this.subscription.qos) as QoS
      if (!this.outbound.publishRetained(record, qos, this.ids)) return
    }
    this.next()
  }

  /** The subscription is gone, or asked for anew. */
  cancel(): void {
    this.close()
    this.outbound.detach(this)
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    this.page = []
    this.subscriber.unwatch(this)
    // Whoever makes the pages lets go of what they hold.
    this.pages.return?.().catch((thrown: unknown) => this.complain(thrown))
  }

  private next(): void {
    this.waiting = true
    this.pages.next().then(
      ({ done, value }) => {
        this.waiting = false
        if (this.closed) return
        if (done === true) this.end()
        else this.begin(value)
        this.parts.flush()
      },
      (thrown: unknown) => {
        this.waiting = false
        if (this.closed) return
        this.complain(thrown)
        this.parts.abandon(this.outbound)
      },
    )
  }

  private begin(page: readonly LogRecord[]): void {
    this.page = page
    this.index = 0
    this.pump()
  }

  private end(): void {
    this.close()
    this.outbound.detach(this)
    this.outbound.pump()
  }

  private complain(thrown: unknown): void {
    this.parts.logger.error(
      { client: this.outbound.clientId, reason: messageOf(thrown) },
      'retained messages cannot be read for a subscriber: it is disconnected',
    )
  }
}
