/**
 * Joins connections, sessions and delivery: what a client needs to be sent messages, made when it
 * connects and given up when it leaves. A session outlives that; without one all goes with the
 * connection.
 */
import type { SessionFacts } from '../aedes/protocol.ts'
import type { CatchUpParts } from '../delivery/catch-up.ts'
import { Filters } from '../delivery/filters.ts'
import { HeldPackets } from '../delivery/held-packets.ts'
import { Outbound, type OutboundFacts } from '../delivery/outbound.ts'
import { Redelivery } from '../delivery/redelivery.ts'
import type { Router } from '../delivery/router.ts'
import { type Receiver, Subscriber } from '../delivery/subscriber.ts'
import type { Subscription } from '../delivery/subscriptions.ts'
import { Window } from '../delivery/window.ts'
import type { MessageExpiry } from '../wire/message-expiry.ts'
import type { Output } from '../wire/output.ts'
import type { Session } from './session.ts'
import type { Sessions } from './sessions.ts'

export interface ClientsParts {
  readonly sessions: Sessions
  readonly router: Router
  readonly expiry: MessageExpiry
  readonly catchUp: CatchUpParts
  /** Unacknowledged messages to one client. */
  readonly inflightMax: number
}

/** Who connects, and what it may get. */
export interface Owner extends Receiver {
  readonly user: string | undefined
}

export interface Client {
  readonly outbound: Outbound
  readonly subscriber: Subscriber
  /** Undefined: all ends with the connection. */
  readonly session: Session | undefined
}

export class Clients {
  private readonly parts: ClientsParts
  private readonly bySubscriber = new Map<Subscriber, Session | undefined>()

  constructor(parts: ClientsParts) {
    this.parts = parts
  }

  /**
   * What a client that has connected needs. An older connection of its session is cut off from it
   * here. Undefined: its CONNACK speaks of a session that has ended since.
   */
  open(facts: SessionFacts & OutboundFacts, output: Output, grants: Owner): Client | undefined {
    const { sessions, inflightMax } = this.parts
    const { clientId, sessionExpiryS, sessionPresent } = facts
    const size = Math.min(inflightMax, facts.receiveMaximum)
    if (sessionExpiryS === 0 && !sessionPresent) {
      return this.make(facts, output, grants, new Window(size), new Filters(), undefined)
    }
    const older = sessions.subscriberOf(clientId)
    if (older !== undefined) this.close(older.subscriber, older.expiryS)
    const session = sessions.attach(clientId, sessionExpiryS, sessionPresent, size, grants.user)
    if (session === undefined) return undefined
    const client = this.make(facts, output, grants, session.window, session.filters, session)
    // Now, not when it begins: should it end before that, this is where its place is known.
    this.resume(client.subscriber, session)
    return client
  }

  /** Begins to send to a client: after its CONNACK. */
  begin({ outbound, subscriber }: Client): void {
    const { router, catchUp } = this.parts
    for (const { subscription } of subscriber.filters.list()) {
      router.tree.add(subscriber, subscription)
    }
    if (outbound.window.isResuming) {
      const { filters, grants } = subscriber
      outbound.attach(new Redelivery(outbound, filters, grants, catchUp))
    }
    outbound.attach(subscriber)
    outbound.pump()
  }

  /** Whether the client had no such filter. */
  subscribe(subscriber: Subscriber, subscription: Subscription): boolean {
    const { router, sessions } = this.parts
    const { filters } = subscriber
    const before = filters.get(subscription.filter)
    // What the client has still to read is older than this filter.
    filters.set(subscription, subscriber.isBehind ? new Map(router.ends) : undefined)
    router.tree.add(subscriber, subscription)
    const session = this.bySubscriber.get(subscriber)
    if (session !== undefined) sessions.added(session, subscription, before)
    return before === undefined
  }

  /** Whether the client had the filter. */
  unsubscribe(subscriber: Subscriber, filter: string): boolean {
    const { router, sessions } = this.parts
    const before = subscriber.filters.get(filter)
    if (before === undefined) return false
    subscriber.filters.delete(filter)
    router.tree.remove(subscriber, filter)
    const session = this.bySubscriber.get(subscriber)
    if (session !== undefined) sessions.removed(session, before)
    return true
  }

  /** Resolves when a session's subscriptions are on disk; undefined: there is nothing to keep. */
  kept(subscriber: Subscriber): Promise<void> | undefined {
    const session = this.bySubscriber.get(subscriber)
    return session === undefined ? undefined : this.parts.sessions.keep(session)
  }

  /** The connection has ended, or another one takes the session over; again: nothing. */
  close(subscriber: Subscriber, expiryS: number): void {
    if (!this.bySubscriber.has(subscriber)) return
    const { router, sessions } = this.parts
    const session = this.bySubscriber.get(subscriber)
    this.bySubscriber.delete(subscriber)
    for (const filter of subscriber.filters.names()) router.tree.remove(subscriber, filter)
    // Before what waits is given up.
    if (session !== undefined) sessions.detach(session, expiryS)
    subscriber.outbound.close()
  }

  private make(
    facts: SessionFacts & OutboundFacts,
    output: Output,
    grants: Receiver,
    window: Window,
    filters: Filters,
    session: Session | undefined,
  ): Client {
    const { catchUp, expiry } = this.parts
    const held = session === undefined ? undefined : this.held(output, session)
    const outbound = new Outbound(facts, window, output, catchUp.stats, expiry, held)
    const hasCursors = session !== undefined
    const subscriber = new Subscriber(outbound, filters, grants, hasCursors, catchUp.stats, catchUp)
    if (session !== undefined) session.subscriber = subscriber
    this.bySubscriber.set(subscriber, session)
    return { outbound, subscriber, session }
  }

  private held(output: Output, session: Session): HeldPackets {
    const { sessions, catchUp } = this.parts
    return new HeldPackets(output, {
      write: () => sessions.keepPlace(session),
      failed: () => {
        if (session.subscriber !== undefined) catchUp.abandon(session.subscriber.outbound)
      },
      released: () => {
        session.subscriber?.outbound.pump()
        catchUp.flush()
      },
    })
  }

  private resume(subscriber: Subscriber, session: Session): void {
    const { router } = this.parts
    const qos0From = new Map(router.ends)
    const behind = [...session.next].filter(([stream, next]) => next < router.keptEnd(stream))
    subscriber.resume({ places: new Map(behind), qos0From, dupBefore: session.dupBefore })
  }
}
