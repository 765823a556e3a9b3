/**
 * Retained messages for one new subscription, page by page as the client has room.
 *
 * A retained message never comes behind a newer one of its topic. Once a live message was sent or
 * queued that replaces it, it is left out; a live one that does not, because it is not to be
 * retained, waits until the retained one was sent [MQTT-3.3.1-9].
 */
import { messageOf } from '../../base/errors.ts'
import type { LogRecord, Position, QoS } from '../../log/log.ts'
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
  /** By topic: the newest live message that is retained. */
  private readonly seen = new Map<string, Position>()
  private readonly isRetained: (topic: string) => boolean
  private page: readonly LogRecord[] = []
  private index = 0
  /** For a page, or at first for SUBACK. */
  private waiting = true
  private hasBegun = false
  private closed = false

  /** `isRetained`: whether a topic has a retained message now. Sends nothing before `begin`. */
  constructor(
    subscriber: Subscriber,
    subscription: Subscription,
    pages: RetainedPages,
    isRetained: (topic: string) => boolean,
    parts: CatchUpParts,
  ) {
    this.subscriber = subscriber
    this.outbound = subscriber.outbound
    this.subscription = subscription
    this.ids = subscription.id === undefined ? [] : [subscription.id]
    this.pages = pages
    this.isRetained = isRetained
    this.parts = parts
    subscriber.watch(this)
    this.outbound.attach(this)
  }

  /** SUBACK is on its way. Again: nothing. */
  begin(): void {
    if (this.hasBegun || this.closed) return
    this.hasBegun = true
    this.next()
  }

  saw({ topic, position, retain }: LogRecord): boolean {
    if (!retain) return !this.isRetained(topic)
    const known = this.seen.get(topic)
    if (known === undefined && this.seen.size >= SEEN_TOPICS_MAX) return false
    if (known === undefined || known < position) this.seen.set(topic, position)
    return true
  }

  private isReplaced({ topic, position }: LogRecord): boolean {
    const seen = this.seen.get(topic)
    return seen !== undefined && seen >= position
  }

  pump(): void {
    if (this.waiting || this.closed) return
    for (; this.index < this.page.length; this.index++) {
      const record = this.page[this.index] as LogRecord
      if (this.isReplaced(record)) continue
      const qos = Math.min(record.qos, this.subscription.qos) as QoS
      if (!this.outbound.publishRetained(record, qos, this.ids)) return
    }
    this.next()
  }

  /** The subscription is gone, or asked for anew. */
  cancel(): void {
    this.close()
    this.outbound.detach(this)
    // What waited for it.
    this.outbound.pump()
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
        else this.send(value)
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

  private send(page: readonly LogRecord[]): void {
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
