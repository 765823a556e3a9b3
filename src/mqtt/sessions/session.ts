/**
 * One client's session [MQTT5 4.1]: its subscriptions, how far it has come in each stream, and what
 * is in flight to and from it. It costs nothing per message while the client is away: what it has
 * missed is in the log, from `next` on.
 *
 *   log of one stream   …──┬──────────┬───┬───────┬──────────▶
 *                       floor      in flight    next        end
 *                       (cursor)   (window)     not given to the client yet
 */
import type { Position } from '../../log/log.ts'
import { Filters } from '../delivery/filters.ts'
import type { Places, Subscriber } from '../delivery/subscriber.ts'
import { Window } from '../delivery/window.ts'
import type { SessionReceived } from './received-store.ts'

/** A moment that can be told again after a restart, also when the clock was set since. */
export interface Moment {
  readonly boot: number
  readonly monotonicUs: number
  readonly timeMs: number
}

export class Session {
  readonly clientId: string
  readonly filters = new Filters()
  /** By stream: the next record to give to the client; of a connected one as last noted. */
  readonly next = new Map<string, Position>()
  readonly window: Window
  /** QoS 2 messages of the client between PUBLISH and PUBREL; undefined: it never sent one. */
  received: SessionReceived | undefined
  /** How long it outlives its connection, seconds; 0: not at all. */
  expiryS: number
  /** When the client left; undefined while it is connected. */
  left: Moment | undefined
  /** While the client is connected. */
  subscriber: Subscriber | undefined
  /** QoS 1 messages before these may have been sent before the gateway died. */
  dupBefore: Places | undefined
  /** Monotonic time when a CONNECT was told that the session is present, us. */
  claimedUs: number | undefined
  /** The user whose session it is; undefined: nobody's, whose client was anonymous. */
  owner: string | undefined
  /** Its state is no longer kept. */
  hasEnded = false
  /** `window.changes` as of the last note. */
  notedChanges = 0
  /** Monotonic time of the last note, us. */
  notedUs = 0

  constructor(clientId: string, expiryS: number, windowSize: number) {
    this.clientId = clientId
    this.expiryS = expiryS
    this.window = new Window(windowSize)
  }

  cursorName(stream: string): string {
    return `session/${this.clientId}/${stream}`
  }

  /** The oldest record of a stream that the client may still need from the log. */
  floor(stream: string): Position | undefined {
    let floor = this.next.get(stream)
    if (floor === undefined) return undefined
    for (const entry of this.window.entries()) {
      if (entry.stream !== stream || entry.isRetained || entry.settled !== undefined) continue
      // Also past PUBREC: a cursor on disk says that the handshake of all before it has ended.
      if (entry.awaited !== 'nothing' && entry.position < floor) floor = entry.position
    }
    return floor
  }

  /** Whether it wants what is published while its client is away. */
  get wantsMessages(): boolean {
    return this.next.size > 0
  }
}

/** The client and the stream of a session's cursor; undefined for another's. */
export function sessionOfCursor(name: string): readonly [string, string] | undefined {
  if (!name.startsWith('session/')) return undefined
  const slash = name.lastIndexOf('/')
  return slash < 'session/'.length ? undefined : [name.slice(8, slash), name.slice(slash + 1)]
}
