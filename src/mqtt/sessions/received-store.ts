/**
 * Which QoS 2 messages of persistent sessions have arrived and were not released, across crashes,
 * so that a message that is sent again is appended once [MQTT-4.3.3-9].
 *
 * That a message has arrived is in the log: its record carries client and packet identifier. What
 * is written here are releases, and up to where the log needs no second look:
 *
 *   session-received       per client: identifiers as of the ends of all streams at that moment
 *   session-received-mark  isActive, and ends behind which no client's document is out of date
 *
 * I1. A PUBREC leaves only while the mark says that a start must look at the log.
 * I2. A PUBCOMP leaves only after a document without its identifier is on disk.
 * I3. After a crash an identifier is known when its client's document has it, or a record behind
 *     that document and the mark.
 *
 * Gateways whose sessions send nothing with QoS 2 write nothing, and look at nothing.
 */
import { Encoder } from 'cbor-x'
import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/logger.ts'
import { asPosition, type DocumentWrite, type EventLog, type Position } from '../../log/log.ts'
import type { Places } from '../delivery/subscriber.ts'
import { KEPT, type ReceivedById, type ReceivedIds } from '../ingest/received.ts'
import { owned, positions } from './session-document.ts'

export const RECEIVED_KIND = 'session-received'
const MARK_KIND = 'session-received-mark'
const MARK_KEY = 'mark'

/** Without a QoS 2 message for so long, a start need not look any more. */
const IDLE_US = 60_000_000
const PAGE_RECORDS = 2048
const PAGE_BYTES = 1024 * 1024

const cbor = new Encoder({ useRecords: false })
type Pair = readonly [string, number]

export interface ReceivedStoreParts {
  readonly log: EventLog
  readonly clock: Clock
  readonly logger: Logger
  /** Behind the last kept record of each stream. */
  ends(): Places
}

export class ReceivedStore {
  private readonly parts: ReceivedStoreParts
  /** By client id: whose document is older than their last message. */
  private readonly dirty = new Map<string, SessionReceived>()
  private active: 'no' | 'yes' | Promise<void> = 'no'
  private usedUs = 0

  constructor(parts: ReceivedStoreParts) {
    this.parts = parts
  }

  create(clientId: string): SessionReceived {
    return new SessionReceived(clientId, this)
  }

  /** For a new session: what older records say of its client counts no more. */
  reset(received: SessionReceived): void {
    if (this.active !== 'no') this.put([received.document(this.parts.ends())])
  }

  /** All that was there at the last stop or crash, for the clients that `has` names. */
  async load(has: (clientId: string) => boolean): Promise<Map<string, SessionReceived>> {
    const { documents } = this.parts.log.state
    const found = new Map<string, SessionReceived>()
    const since = new Map<string, Places>()
    for await (const { key, value } of documents.load(RECEIVED_KIND)) {
      if (!has(key)) {
        this.put([{ kind: RECEIVED_KIND, key, value: undefined }])
        continue
      }
      const [ids, ends] = cbor.decode(value) as [number[], Pair[]]
      const received = new SessionReceived(key, this)
      for (const id of ids) received.byId.set(id, KEPT)
      found.set(key, received)
      since.set(key, positions(ends))
    }
    const [mark] = await documents.get(MARK_KIND, [MARK_KEY])
    if (mark === undefined) return found
    const [isActive, ends] = cbor.decode(mark) as [boolean, Pair[]]
    if (!isActive) return found
    const served = this.parts.ends()
    for (const { name } of this.parts.log.streams) {
      if (!served.has(name)) continue
      await this.scan(name, positions(ends).get(name) ?? asPosition(0), found, since, has)
    }
    this.active = 'yes'
    this.usedUs = this.parts.clock.monotonicUs()
    for (const [clientId, received] of found) this.dirty.set(clientId, received)
    return found
  }

  /** I1. */
  begin(received: SessionReceived): Promise<void> | undefined {
    this.usedUs = this.parts.clock.monotonicUs()
    if (!received.hasEnded) this.dirty.set(received.clientId, received)
    if (this.active === 'yes') return undefined
    if (this.active !== 'no') return this.active
    const written = this.parts.log.state.documents.putNow([this.mark(true)])
    this.active = written
    written.then(
      () => {
        this.active = 'yes'
      },
      () => {
        // Whoever waits for it is told, and the next message tries again.
        this.active = 'no'
      },
    )
    return written
  }

  /** I2. Rejects with `storage`. */
  async write(received: SessionReceived): Promise<void> {
    this.dirty.delete(received.clientId)
    try {
      await this.parts.log.state.documents.putNow([received.document(this.parts.ends())])
    } catch (thrown) {
      // What the disk has is older than what is known here: the next checkpoint tries again.
      if (!received.hasEnded) this.dirty.set(received.clientId, received)
      throw thrown
    }
  }

  /** The session has ended. */
  forget(clientId: string, received: SessionReceived | undefined): void {
    this.dirty.delete(clientId)
    if (received !== undefined) received.hasEnded = true
    this.put([{ kind: RECEIVED_KIND, key: clientId, value: undefined }])
  }

  /** Moves the mark on, every few seconds and at the stop. */
  checkpoint(): void {
    if (this.active !== 'yes') return
    const ends = this.parts.ends()
    const idleUs = this.parts.clock.monotonicUs() - this.usedUs
    const isIdle = this.dirty.size === 0 && idleUs > IDLE_US
    this.put([...[...this.dirty.values()].map((one) => one.document(ends)), this.mark(!isIdle)])
    this.dirty.clear()
    if (isIdle) this.active = 'no'
  }

  private put(writes: readonly DocumentWrite[]): void {
    this.parts.log.state.documents.put(writes)
  }

  private mark(isActive: boolean): DocumentWrite {
    const value = owned(cbor.encode([isActive, [...this.parts.ends()]]))
    return { kind: MARK_KIND, key: MARK_KEY, value }
  }

  /** I3, for one stream. */
  private async scan(
    stream: string,
    from: Position,
    found: Map<string, SessionReceived>,
    since: ReadonlyMap<string, Places>,
    has: (clientId: string) => boolean,
  ): Promise<void> {
    const { log, logger } = this.parts
    const end = await log.locate(stream, { kind: 'latest' })
    for (let next = from; next < end; ) {
      const page = await log.read({
        stream,
        from: next,
        recordsMax: PAGE_RECORDS,
        bytesMax: PAGE_BYTES,
      })
      for (const { client, qos, packetId, position } of page.records) {
        if (qos !== 2 || packetId === 0 || position < (since.get(client)?.get(stream) ?? 0))
          continue
        if (!has(client)) continue
        const received = found.get(client) ?? new SessionReceived(client, this)
        found.set(client, received)
        received.byId.set(packetId, KEPT)
      }
      if (page.next <= next) {
        logger.warn({ stream, next }, 'the log could not be read for QoS 2 identifiers')
        return
      }
      next = page.next
    }
  }
}

/** What one session remembers. */
export class SessionReceived implements ReceivedIds {
  readonly clientId: string
  readonly byId: ReceivedById = new Map()
  private readonly store: ReceivedStore
  /** Its session is gone: nothing more is written. */
  hasEnded = false
  private waiting: ((kept: boolean) => void)[] = []
  private writing: ((kept: boolean) => void)[] = []

  constructor(clientId: string, store: ReceivedStore) {
    this.clientId = clientId
    this.store = store
  }

  begin(): Promise<void> | undefined {
    return this.store.begin(this)
  }

  /** Nothing is to be remembered, and nothing is being written. */
  get isIdle(): boolean {
    return this.byId.size === 0 && !this.isReleasing
  }

  get isReleasing(): boolean {
    return this.writing.length + this.waiting.length > 0
  }

  released(done: (kept: boolean) => void): void {
    this.waiting.push(done)
    if (this.waiting.length === 1 && this.writing.length === 0) this.writeSoon()
  }

  /** Messages that the log has not answered yet are not among them: they may not be there. */
  document(ends: Places): DocumentWrite {
    const ids = [...this.byId].flatMap(([id, { outcome }]) => (outcome === 'kept' ? [id] : []))
    const value = owned(cbor.encode([ids, [...ends]]))
    return { kind: RECEIVED_KIND, key: this.clientId, value }
  }

  /** What one read of the socket brings shares a write. */
  private writeSoon(): void {
    setImmediate(() => {
      this.writing = this.waiting
      this.waiting = []
      const written = this.hasEnded ? Promise.resolve() : this.store.write(this)
      written.then(
        () => this.written(true),
        () => this.written(false),
      )
    })
  }

  private written(kept: boolean): void {
    const told = this.writing
    this.writing = []
    for (const done of told) done(kept)
    if (this.waiting.length > 0) this.writeSoon()
  }
}
