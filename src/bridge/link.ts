/**
 * The link of one bridge: one connection after the other, for ever, and an honest word about it.
 *
 * K1. At most one connection at a time; the next begins only after `closed` of the last.
 * K2. Waits between attempts are set back only by a link that held for `stableAfterMs`: one that
 *     falls a second after CONNACK must not knock a hundred times a minute.
 * K3. With something in flight and no ack for `stuckAfterMs`, the connection is torn down, whatever
 *     the keep-alive says: a broker that answers pings and acknowledges nothing is no upstream.
 */
import { Backoff } from '../base/backoff.ts'
import type { Clock } from '../base/clock.ts'
import type { Logger } from '../base/logger.ts'
import type { Random } from '../base/random.ts'
import type { BridgeSettings } from './settings.ts'
import type { After } from './timer.ts'
import type {
  CloseReason,
  Connected,
  InboundMessage,
  Uplink,
  UplinkConnection,
  UplinkEvents,
} from './uplink.ts'

export type LinkState =
  | { readonly kind: 'paused' }
  | { readonly kind: 'connecting'; readonly sinceMs: number }
  | { readonly kind: 'up'; readonly sinceMs: number }
  | {
      readonly kind: 'waiting'
      readonly sinceMs: number
      readonly reason: CloseReason
      /** When it tries again; monotonic, as all times here. */
      readonly untilMs: number
    }

export interface LinkHost {
  up(connection: UplinkConnection, facts: Connected): void
  /** What was in flight is lost; there is no connection now. */
  down(reason: CloseReason): void
  message(message: InboundMessage, taken: () => void): void
  roomy(): void
}

export interface LinkParts {
  readonly name: string
  readonly uplink: Uplink
  readonly settings: Pick<BridgeSettings, 'backoff'>
  readonly stuckAfterMs: number
  readonly clock: Clock
  readonly random: Random
  readonly after: After
  readonly logger: Logger
  readonly host: LinkHost
}

/** Looks so many times in the time after which a link is stuck. */
const STUCK_LOOKS = 4

export class Link implements UplinkEvents {
  state: LinkState = { kind: 'paused' }
  /** Of all that ended, the last, with the wall time. */
  lastError: { readonly reason: CloseReason; readonly timeMs: number } | undefined
  /** Connections that were up. */
  connects = 0
  /** Attempts since the last link that was stable. */
  attempts = 0
  private readonly parts: LinkParts
  private readonly backoff: Backoff
  private connection: UplinkConnection | undefined
  private cancel: (() => void) | undefined
  private cancelStable: (() => void) | undefined
  private cancelLook: (() => void) | undefined
  private progressMs = 0
  private wanted = false
  /** Who waits for the end of the connection. */
  private ended: (() => void)[] = []

  constructor(parts: LinkParts) {
    this.parts = parts
    this.backoff = new Backoff(parts.settings.backoff, parts.random)
  }

  /** Begins, or begins again after `stop`. */
  start(): void {
    if (this.wanted) return
    this.wanted = true
    this.backoff.reset()
    if (this.connection === undefined) this.connect()
  }

  /** Ends the connection and tries no more; resolves when it has ended. */
  stop(sentence: string): Promise<void> {
    this.wanted = false
    this.cancel?.()
    const { connection } = this
    if (connection === undefined) {
      this.state = { kind: 'paused' }
      return Promise.resolve()
    }
    return new Promise((resolve) => {
      this.ended.push(resolve)
      connection.close({ kind: 'local', sentence })
    })
  }

  /** Tears the connection down; the next attempt comes after a wait. */
  fail(reason: CloseReason): void {
    this.connection?.close(reason)
  }

  /** Something in flight was acknowledged, or is the first that is in flight (K3). */
  progressed(): void {
    this.progressMs = this.nowMs()
  }

  connected(facts: Connected): void {
    const { connection, parts } = this
    if (connection === undefined) return
    this.connects++
    this.state = { kind: 'up', sinceMs: this.nowMs() }
    this.progressed()
    parts.logger.info({ bridge: parts.name }, 'the bridge is connected to its upstream')
    this.cancelStable = parts.after(parts.settings.backoff.stableAfterMs, () => {
      this.backoff.reset()
      this.attempts = 0
    })
    this.lookForStuck()
    parts.host.up(connection, facts)
  }

  message(message: InboundMessage, taken: () => void): void {
    this.parts.host.message(message, taken)
  }

  roomy(): void {
    this.parts.host.roomy()
  }

  closed(reason: CloseReason): void {
    const wasUp = this.state.kind === 'up'
    this.connection = undefined
    this.cancelStable?.()
    this.cancelLook?.()
    if (wasUp) this.parts.host.down(reason)
    if (this.wanted) this.wait(reason)
    else this.state = { kind: 'paused' }
    const { ended } = this
    this.ended = []
    for (const resolve of ended) resolve()
  }

  private connect(): void {
    this.attempts++
    this.state = { kind: 'connecting', sinceMs: this.nowMs() }
    this.connection = this.parts.uplink.connect(this)
  }

  private wait(reason: CloseReason): void {
    const { parts } = this
    // Ended by us and wanted again meanwhile: there is nothing to wait for.
    const waitMs = reason.kind === 'local' ? 0 : this.backoff.next()
    const sinceMs = this.nowMs()
    this.state = { kind: 'waiting', sinceMs, reason, untilMs: sinceMs + waitMs }
    if (reason.kind !== 'local') {
      this.lastError = { reason, timeMs: parts.clock.now() }
      const sentence = `the upstream ${reason.sentence}`
      const fields = { bridge: parts.name, state: reason.kind, attempts: this.attempts }
      parts.logger.warn({ ...fields, waitMs }, `${sentence}; the bridge tries again`)
    }
    this.cancel = parts.after(waitMs, () => {
      if (this.wanted && this.connection === undefined) this.connect()
    })
  }

  private lookForStuck(): void {
    const { stuckAfterMs, after } = this.parts
    this.cancelLook = after(stuckAfterMs / STUCK_LOOKS, () => {
      const { connection } = this
      if (connection === undefined || this.state.kind !== 'up') return
      const silentMs = this.nowMs() - this.progressMs
      if (connection.inflight > 0 && silentMs >= stuckAfterMs) {
        const seconds = Math.round(silentMs / 1000)
        const what = `${connection.inflight} messages under way, no answer for ${seconds} s`
        this.fail({ kind: 'stuck', sentence: `acknowledges nothing: ${what}` })
        return
      }
      this.lookForStuck()
    })
  }

  private nowMs(): number {
    return this.parts.clock.monotonicUs() / 1000
  }
}
