/**
 * Wills [MQTT-3.1.2-8]: what a client asked to be published when its connection ends without a
 * DISCONNECT that says otherwise; also when it was the gateway that ended.
 *
 * W1. A will is on disk before its client gets CONNACK; a client without one costs no write.
 * W2. It is published after its delay [MQTT-3.1.3-9], through the log like any message, and not at
 *     all when the client comes back to its session before that or disconnects cleanly
 *     [MQTT-3.1.2-10].
 * W3. Never twice: before it is appended, it is noted on disk that it is, and behind which
 *     position. A gateway that dies in between looks there for it at its next start.
 * W4. What cannot be published now (no space, a state that cannot be written) is tried again, and
 *     at the next start.
 *
 *   armed ──connection ends──▶ waiting ──delay over──▶ publishing ──kept──▶ gone
 */
import { present } from '../../base/assert.ts'
import type { Clock } from '../../base/clock.ts'
import { SluiceError } from '../../base/errors.ts'
import { failPoint } from '../../base/fail-point.ts'
import type { Logger } from '../../base/logger.ts'
import { asPosition, type DocumentWrite, type EventLog, type Position } from '../../log/log.ts'
import type { PublishDecoder } from '../wire/publish.ts'
import { appendWill, messageOf, type WillMessage } from './append.ts'
import { decodeWill, encodeWill, WILL_KIND, type Will, type WillState } from './will.ts'

export interface WillsParts {
  readonly log: EventLog
  readonly clock: Clock
  readonly logger: Logger
  /** For the will of a client with this version. */
  decoder(version: number): PublishDecoder
  /** The position behind the last kept record of a stream. */
  keptEnd(stream: string): Position
  /** Whether a message of this topic would be retained. */
  admitsRetained(topic: string): boolean
}

/** One connection's will, from CONNECT to its publication or its end. */
export interface ArmedWill {
  readonly key: string
  readonly clientId: string
  will: Will
  state: WillState
  /** Monotonic time of this boot at which one that waits is due. */
  dueUs: number
  /** A newer connection of the client is there, and goes on with its session or not. */
  overtaken: 'continued' | 'ended' | undefined
}

/** Delays are whole seconds. Looked at only while something waits. */
const LOOK_INTERVAL_MS = 250
/** Until what failed is tried again. */
const RETRY_MS = 5000
/** A start and a stop wait no longer for a stream that cannot be written. */
const PUBLISHED_TIMEOUT_MS = 5000
const PAGE_RECORDS = 1000
const PAGE_BYTES = 1024 * 1024

export class Wills {
  private readonly parts: WillsParts
  /** Of connected clients, by client id: the newest connection's. */
  private readonly armed = new Map<string, ArmedWill>()
  /** By client id: until its delay is over, a client has one. */
  private readonly waiting = new Map<string, ArmedWill>()
  /** The last publication of each client: its wills are published one after the other (W3). */
  private readonly publishing = new Map<string, Promise<void>>()
  /** What could not be published, until it is tried again. */
  private readonly failed = new Set<ArmedWill>()
  private timer: NodeJS.Timeout | undefined
  private lastKey = 0
  private closed = false

  constructor(parts: WillsParts) {
    this.parts = parts
  }

  /**
   * Takes up what an earlier run left, before anybody can connect. A delay that is not known to
   * have begun counts from now. What is due at once is published when this resolves, unless its
   * stream cannot be written.
   */
  async start(): Promise<void> {
    const { log, logger } = this.parts
    const found: ArmedWill[] = []
    for await (const { key, value } of log.state.documents.load(WILL_KIND)) {
      const document = decodeWill(value)
      if (document === undefined) {
        logger.warn({ key }, 'a stored will cannot be read: it is not published')
        log.state.documents.put([{ kind: WILL_KIND, key, value: undefined }])
      } else {
        found.push({ key, ...document, dueUs: 0, overtaken: undefined })
      }
    }
    for (const armed of found) await this.takeUp(armed)
    await this.published()
  }

  /**
   * Before CONNACK: the client is here, and this is its will. `continues`: it goes on with its
   * session, so that an earlier will that still waits is dropped; otherwise that session has ended,
   * and its will is due. Rejects with `storage` when the will cannot be stored (W1).
   */
  async arm(
    clientId: string,
    will: Will | undefined,
    continues: boolean,
  ): Promise<ArmedWill | undefined> {
    const before = this.armed.get(clientId)
    const late = this.waiting.get(clientId)
    if (before !== undefined) before.overtaken = continues ? 'continued' : 'ended'
    this.waiting.delete(clientId)
    const armed = will === undefined ? undefined : this.make(clientId, will)
    const writes = armed === undefined ? [] : [this.document(armed)]
    if (late !== undefined && continues) writes.push(noDocument(late))
    else if (late !== undefined) this.publish(late)
    try {
      if (writes.length > 0) await this.parts.log.state.documents.putNow(writes)
    } catch (thrown) {
      // The store tries again what failed: the will of a client that was refused must not stay.
      if (armed !== undefined) this.parts.log.state.documents.put([noDocument(armed)])
      if (before !== undefined) before.overtaken = undefined
      if (late !== undefined && continues) this.waiting.set(clientId, late)
      throw thrown
    }
    if (armed === undefined) this.armed.delete(clientId)
    else this.armed.set(clientId, armed)
    return armed
  }

  /** The client disconnected cleanly, or did not get as far as CONNACK: there is no will. */
  disarm(armed: ArmedWill): void {
    this.release(armed)
    this.remove(armed)
  }

  /** The connection has ended: its will is due after its delay. */
  ended(armed: ArmedWill): void {
    this.release(armed)
    const { delayS } = armed.will
    if (delayS === 0 || armed.overtaken === 'ended') {
      this.publish(armed)
    } else if (armed.overtaken === 'continued') {
      this.remove(armed)
    } else {
      this.wait(armed, delayS * 1000)
      this.parts.log.state.documents.put([this.document(armed)])
    }
  }

  /** Resolves when what is due is published; what waits is taken up by the next start. */
  async close(): Promise<void> {
    await this.published()
    this.closed = true
    clearInterval(this.timer)
  }

  private async takeUp(armed: ArmedWill): Promise<void> {
    const { state, will } = armed
    const delayMs = will.delayS * 1000
    if (state.kind === 'publishing') {
      if (await this.isPublished(armed, state.stream, asPosition(state.from))) this.remove(armed)
      else this.publish(armed)
    } else if (delayMs === 0 || this.waiting.has(armed.clientId)) {
      this.publish(armed)
    } else if (state.kind === 'waiting') {
      // A clock without a battery may stand before the note: it waits no longer than its delay.
      const leftMs = state.dueMs - this.parts.clock.now()
      this.wait(armed, Math.min(Math.max(leftMs, 0), delayMs))
    } else {
      this.wait(armed, delayMs)
    }
  }

  /** Whether the record that was to be appended at or behind `from` is there (W3). */
  private async isPublished(
    { clientId, will }: ArmedWill,
    stream: string,
    from: Position,
  ): Promise<boolean> {
    const { log } = this.parts
    const topic = this.messageOf(will)?.route.topic
    if (topic === undefined || !log.streams.some(({ name }) => name === stream)) return false
    for (let next = from; ; ) {
      const page = await log.read({
        stream,
        from: next,
        filters: [topic],
        recordsMax: PAGE_RECORDS,
        bytesMax: PAGE_BYTES,
      })
      if (page.records.some((record) => record.will && record.client === clientId)) return true
      if (page.next >= page.end || page.next <= next) return false
      next = page.next
    }
  }

  private messageOf(will: Will): WillMessage | undefined {
    return messageOf(will, this.parts.log, this.parts.decoder(will.version))
  }

  private make(clientId: string, will: Will): ArmedWill {
    const key = `${this.parts.log.boot}.${++this.lastKey}`
    return { key, clientId, will, state: { kind: 'armed' }, dueUs: 0, overtaken: undefined }
  }

  private release(armed: ArmedWill): void {
    if (this.armed.get(armed.clientId) === armed) this.armed.delete(armed.clientId)
  }

  private wait(armed: ArmedWill, delayMs: number): void {
    const { clock } = this.parts
    armed.state = { kind: 'waiting', dueMs: Math.round(clock.now() + delayMs) }
    armed.dueUs = clock.monotonicUs() + delayMs * 1000
    this.waiting.set(armed.clientId, armed)
    this.lookLater()
  }

  private lookLater(): void {
    if (this.closed) return
    this.timer ??= setInterval(() => this.look(), LOOK_INTERVAL_MS).unref()
  }

  private look(): void {
    const nowUs = this.parts.clock.monotonicUs()
    for (const armed of this.waiting.values()) {
      if (armed.dueUs > nowUs) continue
      this.waiting.delete(armed.clientId)
      this.publish(armed)
    }
    for (const armed of this.failed) {
      if (armed.dueUs > nowUs) continue
      this.failed.delete(armed)
      this.publish(armed)
    }
    if (this.waiting.size + this.failed.size > 0) return
    clearInterval(this.timer)
    this.timer = undefined
  }

  private publish(armed: ArmedWill): void {
    const { clientId } = armed
    const earlier = this.publishing.get(clientId) ?? Promise.resolve()
    const done = earlier.then(async () => {
      await this.publishNow(armed)
      if (this.publishing.get(clientId) === done) this.publishing.delete(clientId)
    })
    this.publishing.set(clientId, done)
  }

  private async publishNow(armed: ArmedWill): Promise<void> {
    const { log, logger, admitsRetained } = this.parts
    const message = this.messageOf(armed.will)
    if (message === undefined) {
      logger.error({ client: armed.clientId }, 'a stored will is no message: it is not published')
      this.remove(armed)
      return
    }
    try {
      await this.notePublishing(armed, message)
      const { packet, route } = message
      const retain = packet.retain && admitsRetained(route.topic)
      const outcome = await appendWill(log, armed.clientId, message, retain)
      failPoint('will:appended')
      if (outcome === 'kept') this.remove(armed)
      else this.tryAgain(armed)
    } catch (thrown) {
      // The state has told the operator.
      if (!(thrown instanceof SluiceError)) throw thrown
      this.tryAgain(armed)
    }
  }

  /** On disk before the append (W3). */
  private async notePublishing(armed: ArmedWill, { route }: WillMessage): Promise<void> {
    if (armed.state.kind === 'publishing') return
    const stream = present(route.stream, 'the stream of a fallback route').name
    const state: WillState = { kind: 'publishing', stream, from: this.parts.keptEnd(stream) }
    await this.parts.log.state.documents.putNow([this.document({ ...armed, state })])
    armed.state = state
    failPoint('will:noted')
  }

  private tryAgain(armed: ArmedWill): void {
    if (this.closed) return
    armed.dueUs = this.parts.clock.monotonicUs() + RETRY_MS * 1000
    this.failed.add(armed)
    this.lookLater()
  }

  /** A crash before it is on disk leaves a note that the next start finds answered in the log. */
  private remove(armed: ArmedWill): void {
    if (this.closed) return
    const { documents } = this.parts.log.state
    if (armed.state.kind === 'publishing') {
      documents.put([noDocument(armed)])
      return
    }
    documents.putNow([noDocument(armed)]).catch((thrown: unknown) => {
      if (!(thrown instanceof SluiceError)) throw thrown
      documents.put([noDocument(armed)])
    })
  }

  private document({ key, clientId, will, state }: ArmedWill): DocumentWrite {
    return { kind: WILL_KIND, key, value: encodeWill({ clientId, will, state }) }
  }

  /** Waits for what is being published, but not for a stream that cannot be written. */
  private async published(): Promise<void> {
    const all = Promise.all(this.publishing.values())
    let timer: NodeJS.Timeout | undefined
    const timeout = new Promise((resolve) => {
      timer = setTimeout(resolve, PUBLISHED_TIMEOUT_MS)
    })
    await Promise.race([all, timeout])
    clearTimeout(timer)
  }
}

function noDocument({ key }: ArmedWill): DocumentWrite {
  return { kind: WILL_KIND, key, value: undefined }
}
