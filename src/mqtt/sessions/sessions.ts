/**
 * The persistent sessions of all clients.
 *
 * E1. What SUBACK and UNSUBACK say is on disk before they leave.
 * E2. A session that was connected falls back a few seconds after a crash, never forward: QoS 1
 *     messages are sent again with DUP. What QoS 2 needs is on disk before it leaves.
 * E3. A client that is away costs nothing per message: no match, no write, no memory.
 * E4. A session ends when its expiry interval has passed since the client left, also across
 *     restarts, and however the wall clock was set meanwhile.
 *
 * Kept are two documents a session (session-document.ts) and a cursor a stream,
 * `session/<client id>/<stream>`, by which retention and commands know it.
 */
import { assert } from '../../base/assert.ts'
import { messageOf } from '../../base/errors.ts'
import type { Cursor, DocumentWrite, Position } from '../../log/log.ts'
import type { Subscriber } from '../delivery/subscriber.ts'
import type { Subscription } from '../delivery/subscriptions.ts'
import { loadSessions } from './load.ts'
import { filtersOverlap } from './overlap.ts'
import { ReceivedStore } from './received-store.ts'
import { Session, sessionOfCursor } from './session.ts'
import { encodePlace, encodeSession, PLACE_KIND, SESSION_KIND } from './session-document.ts'
import type { SessionsParts } from './sessions-parts.ts'
import { isOver, now } from './time-away.ts'
import { Wanted } from './wanted.ts'

/** Each second, because intervals are whole seconds. */
const LOOK_MS = 1000
/** How much a crash can set the place of a connected session back. */
const NOTE_LOOKS = 5
/** A connected session that gets nothing is noted less often: its place is the live end. */
const IDLE_NOTE_US = 60_000_000
/** Between the answer that a session is present and its connection; a connect takes no longer. */
const CLAIM_US = 60_000_000
/** Sessions that lag too far are looked for so often. */
const LAG_LOOKS = 60

export interface Connected {
  readonly subscriber: Subscriber
  readonly expiryS: number
}

export class Sessions {
  private readonly parts: SessionsParts
  private readonly byId = new Map<string, Session>()
  private readonly away = new Set<Session>()
  private readonly received: ReceivedStore
  private readonly wanted = new Wanted()
  private timer: NodeJS.Timeout | undefined
  private looks = 0
  /** Sessions that ended by their expiry since the start. */
  private expired = 0
  private passing: Promise<void> | undefined
  private closed = false

  constructor(parts: SessionsParts) {
    this.parts = parts
    this.received = new ReceivedStore(parts)
    parts.log.state.cursors.onMoved((cursor, why) => {
      if (why !== 'commit') this.moved(cursor, why)
    })
  }

  /** Sessions that are there, and those of them whose client is away. */
  get counts(): { readonly sessions: number; readonly away: number; readonly expired: number } {
    return { sessions: this.byId.size, away: this.away.size, expired: this.expired }
  }

  /** Takes up what an earlier run left, before anybody connects. */
  async start(): Promise<void> {
    for (const session of await loadSessions(this.parts)) {
      this.byId.set(session.clientId, session)
      this.away.add(session)
      for (const { subscription } of session.filters.list()) this.want(subscription)
      await this.joinNewStreams(session)
    }
    const found = await this.received.load((clientId) => this.byId.has(clientId))
    for (const [clientId, received] of found) {
      const session = this.byId.get(clientId)
      if (session !== undefined) session.received = received
    }
    this.timer = setInterval(() => this.look(), LOOK_MS)
  }

  /** Whether a message that no stream takes is kept for somebody. */
  wants(topic: string): boolean {
    return this.wanted.has(topic)
  }

  /** Whether there is place for a session of this client. */
  admits(clientId: string): boolean {
    return this.byId.size < this.parts.sessionsMax || this.byId.has(clientId)
  }

  has(clientId: string): boolean {
    return this.byId.has(clientId)
  }

  /** Whose the client's session is: undefined where there is none, or it is nobody's. */
  ownerOf(clientId: string): string | undefined {
    return this.byId.get(clientId)?.owner
  }

  /** For CONNECT that wants its session back: whether it is there. It does not end for a while. */
  claim(clientId: string): boolean {
    const session = this.byId.get(clientId)
    if (session === undefined) return false
    session.claimedUs = this.parts.clock.monotonicUs()
    return true
  }

  /** For CONNECT that begins anew [MQTT-3.1.2-4]. */
  discard(clientId: string): void {
    const session = this.byId.get(clientId)
    if (session !== undefined) this.end(session)
  }

  /**
   * The session of a client that has connected: the one it was told of, or a new one. Undefined: it
   * was told of one that is gone, because two connections of it raced.
   */
  attach(
    clientId: string,
    expiryS: number,
    wasPresent: boolean,
    size: number,
    owner: string | undefined,
  ): Session | undefined {
    const known = this.byId.get(clientId)
    if (wasPresent) {
      if (known === undefined) return undefined
      const isOther = known.owner !== owner
      known.owner = owner
      known.claimedUs = undefined
      this.away.delete(known)
      known.left = undefined
      known.window.resume(size)
      if (isOther || known.expiryS !== expiryS) this.put(this.agreement(known, expiryS))
      this.put(this.place(known))
      known.received ??= this.received.create(clientId)
      return known
    }
    if (known !== undefined) this.end(known)
    const session = new Session(clientId, expiryS, size)
    session.owner = owner
    this.byId.set(clientId, session)
    session.received = this.received.create(clientId)
    this.received.reset(session.received)
    this.put(this.agreement(session, expiryS))
    this.put(this.place(session))
    return session
  }

  /** Who is connected with the client's session, and how long it would outlive that. */
  subscriberOf(clientId: string): Connected | undefined {
    const session = this.byId.get(clientId)
    if (session?.subscriber === undefined) return undefined
    return { subscriber: session.subscriber, expiryS: session.expiryS }
  }

  /** The client has left: notes where it was. `subscriber` still knows what waits. */
  detach(session: Session, expiryS: number): void {
    const { subscriber } = session
    if (subscriber === undefined) return
    if (session.hasEnded || this.closed) {
      session.subscriber = undefined
      return
    }
    this.note(session)
    session.subscriber = undefined
    session.window.suspend()
    session.dupBefore = undefined
    session.left = now(this.parts)
    this.away.add(session)
    if (session.received?.isIdle === true) session.received = undefined
    if (expiryS === 0) this.end(session)
    else this.put(session.expiryS === expiryS ? [] : this.agreement(session, expiryS))
    if (!session.hasEnded) this.put(this.place(session))
  }

  /** Notes a filter that was added; its cursors begin where the streams end now. */
  added(session: Session, subscription: Subscription, before: Subscription | undefined): void {
    if (before !== undefined) this.unwant(before)
    this.want(subscription)
    this.placed(session, subscription)
  }

  private placed(session: Session, subscription: Subscription): void {
    if (subscription.qos === 0) return
    for (const stream of this.streamsOf(subscription.filter)) {
      if (!session.next.has(stream)) session.next.set(stream, this.parts.keptEnd(stream))
    }
  }

  removed(session: Session, subscription: Subscription): void {
    this.unwant(subscription)
    const left = new Set<string>()
    for (const { subscription: other } of session.filters.list()) {
      if (other.qos > 0) for (const stream of this.streamsOf(other.filter)) left.add(stream)
    }
    for (const stream of [...session.next.keys()]) {
      if (left.has(stream)) continue
      session.next.delete(stream)
      this.dropCursor(session.cursorName(stream))
    }
  }

  /** A stream that the configuration has only now, or whose topics are others, may be for it. */
  private async joinNewStreams(session: Session): Promise<void> {
    const known = session.next.size
    for (const { subscription } of session.filters.list()) this.placed(session, subscription)
    if (session.next.size > known) await this.keep(session)
  }

  /** E1: resolves when the subscriptions as they are now are on disk. Rejects with `storage`. */
  async keep(session: Session): Promise<void> {
    if (session.hasEnded || this.closed) return
    const { log } = this.parts
    // The cursors first and in this very turn: they begin where the streams end now.
    const opened = [...session.next.keys()].map(async (stream) => {
      const name = session.cursorName(stream)
      await log.state.cursors.open(name, stream, 'stream', { kind: 'latest' })
      // Given up while it was being opened: nothing else would take it away, and it holds records.
      if (this.byId.get(session.clientId)?.next.has(stream) !== true) this.dropCursor(name)
    })
    const writes = [...this.agreement(session, session.expiryS), ...this.noted(session)]
    await Promise.all([...opened, log.state.documents.putNow(writes)])
  }

  /** E2: resolves when the window as it is now is on disk. Rejects with `storage`. */
  async keepPlace(session: Session): Promise<void> {
    if (session.hasEnded || this.closed) return
    await this.parts.log.state.documents.putNow(this.noted(session))
  }

  /** Looks at expiry, lag and places; of the timer, and of tests. */
  look(): void {
    if (this.closed) return
    this.looks++
    for (const session of [...this.away]) {
      if (this.isClaimed(session) || !isOver(session, this.parts)) continue
      this.expired++
      this.end(session)
    }
    if (this.looks % NOTE_LOOKS === 0) this.noteAll(false)
    if (this.looks % LAG_LOOKS === 0) this.passOverOld()
  }

  /** Moves sessions that are away past what is older than they may lag; resolves when done. */
  passOverOld(): Promise<void> {
    this.passing ??= this.passOver()
      .catch((thrown: unknown) => {
        const reason = messageOf(thrown)
        this.parts.logger.warn({ reason }, 'sessions that lag too far could not be moved')
      })
      .finally(() => {
        this.passing = undefined
      })
    return this.passing
  }

  /** Notes all places; nothing moves any more. The log is still open. */
  async close(): Promise<void> {
    if (this.closed) return
    clearInterval(this.timer)
    this.noteAll(true)
    this.closed = true
    await this.passing
  }

  private want(subscription: Subscription): void {
    if (subscription.qos > 0) this.wanted.add(subscription)
  }

  private unwant(subscription: Subscription): void {
    if (subscription.qos > 0) this.wanted.remove(subscription.filter)
  }

  /** The streams that may hold a message for the filter. */
  private streamsOf(filter: string): readonly string[] {
    return this.parts.log.streams
      .filter(({ topics }) => topics.length === 0 || topics.some((t) => filtersOverlap(t, filter)))
      .map(({ name }) => name)
  }

  private isClaimed({ claimedUs }: Session): boolean {
    return claimedUs !== undefined && this.parts.clock.monotonicUs() - claimedUs < CLAIM_US
  }

  private end(session: Session): void {
    if (session.hasEnded) return
    session.hasEnded = true
    this.byId.delete(session.clientId)
    this.away.delete(session)
    for (const { subscription } of session.filters.list()) this.unwant(subscription)
    for (const stream of session.next.keys()) this.dropCursor(session.cursorName(stream))
    const key = session.clientId
    this.put([
      { kind: SESSION_KIND, key, value: undefined },
      { kind: PLACE_KIND, key, value: undefined },
    ])
    this.received.forget(key, session.received)
    this.parts.ended(key)
  }

  private noteAll(isLast: boolean): void {
    const nowUs = this.parts.clock.monotonicUs()
    for (const session of this.byId.values()) {
      if (session.subscriber === undefined) continue
      const isIdle = session.notedChanges === session.window.changes
      if (isIdle && !isLast && nowUs - session.notedUs < IDLE_NOTE_US) continue
      this.put(this.noted(session))
    }
    this.received.checkpoint()
  }

  private noted(session: Session): readonly DocumentWrite[] {
    this.note(session)
    return this.place(session)
  }

  /** Brings `next` and the cursors up to where the session is now. */
  private note(session: Session): void {
    const { subscriber } = session
    session.notedChanges = session.window.changes
    session.notedUs = this.parts.clock.monotonicUs()
    if (subscriber === undefined) return
    const waiting = subscriber.next()
    for (const stream of session.next.keys()) {
      session.next.set(stream, waiting.get(stream) ?? this.parts.keptEnd(stream))
      this.commit(session, stream)
    }
  }

  private commit(session: Session, stream: string): void {
    const { cursors } = this.parts.log.state
    const name = session.cursorName(stream)
    const floor = session.floor(stream)
    if (floor !== undefined && cursors.get(name) !== undefined) {
      cursors.commit(name, { kind: 'stream', next: floor })
    }
  }

  /** Somebody sought, or records that it had not read were removed. */
  private moved({ name, place }: Cursor, why: 'seek' | 'gap'): void {
    const [clientId, stream] = sessionOfCursor(name) ?? []
    // Behind the close a cursor may still be moved; the next start finds it ahead.
    if (this.closed) return
    if (clientId === undefined || stream === undefined || place.kind !== 'stream') return
    const session = this.byId.get(clientId)
    const known = session?.next.get(stream)
    if (session === undefined || known === undefined) return
    if (why === 'gap') this.skip(session, stream, place.next)
    else this.seek(session, stream, place.next)
  }

  private seek(session: Session, stream: string, to: Position): void {
    session.filters.forgetSince()
    session.window.abandon(stream)
    session.next.set(stream, to)
    session.subscriber?.move(stream, to)
    this.put([...this.agreement(session, session.expiryS), ...this.place(session)])
  }

  private skip(session: Session, stream: string, to: Position): void {
    const { subscriber } = session
    const from = subscriber === undefined ? session.next : subscriber.next()
    const next = from.get(stream)
    if (next === undefined || next >= to) return
    session.next.set(stream, to)
    subscriber?.move(stream, to)
    this.put(this.place(session))
  }

  private async passOver(): Promise<void> {
    const { log, maxLagMs } = this.parts
    const nowMs = this.parts.trustedNow()
    if (nowMs === undefined || this.away.size === 0) return
    for (const { name: stream } of log.streams) {
      if (!this.parts.ends().has(stream) || !this.isAnyBehind(stream)) continue
      const oldest = await log.locate(stream, { kind: 'time', timeMs: nowMs - maxLagMs })
      const gaps = [...this.away].flatMap((session) => {
        const cursor = log.state.cursors.get(session.cursorName(stream))
        if (cursor?.place.kind !== 'stream' || cursor.place.next >= oldest) return []
        const first = cursor.place.next
        const records = oldest - first
        const reason = 'policy' as const
        return [{ stream, cursor: cursor.name, first, end: oldest, records, sizeBytes: 0, reason }]
      })
      if (gaps.length > 0) await log.state.gaps.add(gaps)
    }
  }

  /** Looking for a time may read files, which is not worth it for nothing. */
  private isAnyBehind(stream: string): boolean {
    const end = this.parts.keptEnd(stream)
    for (const session of this.away) if ((session.next.get(stream) ?? end) < end) return true
    return false
  }

  private dropCursor(name: string): void {
    const { cursors } = this.parts.log.state
    if (cursors.get(name) === undefined) return
    cursors.remove(name).catch((thrown: unknown) => {
      const reason = messageOf(thrown)
      this.parts.logger.warn({ cursor: name, reason }, 'the cursor of a session stays for now')
    })
  }

  private agreement(session: Session, expiryS: number): readonly DocumentWrite[] {
    session.expiryS = expiryS
    return [{ kind: SESSION_KIND, key: session.clientId, value: encodeSession(session) }]
  }

  private place(session: Session): readonly DocumentWrite[] {
    const value = encodePlace(session, this.parts.clock.now())
    return [{ kind: PLACE_KIND, key: session.clientId, value }]
  }

  private put(writes: readonly DocumentWrite[]): void {
    assert(!this.closed, 'no session changes once the sessions are closed')
    if (writes.length > 0) this.parts.log.state.documents.put(writes)
  }
}
