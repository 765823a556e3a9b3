/**
 * One connection's login: its CONNECT is checked, who sent it is verified, and what it asks for is
 * weighed against rules and limits, before the protocol side sees it. Keeps what CONNECT said for
 * as long as the connection lives: its identity, its will, its client id.
 *
 * N3. Verifying may take seconds, in which everything can change: what was true before is asked
 *     again after it.
 * N4. A client id is held from here to the end of the connection: by one user at a time.
 */
import type { Grants, Identity, Login, LoginOutcome } from '../access/access.ts'
import { present } from '../base/assert.ts'
import type { SessionFacts } from './aedes/protocol.ts'
import { RECEIVE_MAXIMUM } from './ingest/publisher.ts'
import type { LimitName, MqttLimits } from './limits.ts'
import type { Origin } from './origin.ts'
import { refusalConnack, sessionsFullConnack } from './refusals.ts'
import type { MqttStats } from './stats.ts'
import { ConnectionWill } from './wills/connection-will.ts'
import type { Wills } from './wills/wills.ts'
import { connack } from './wire/connack.ts'
import { checkConnect, forLibrary, type ValidConnect } from './wire/connect.ts'
import { FrameReader } from './wire/frame-reader.ts'
import { Reason } from './wire/packets.ts'
import type { PacketFault, PublishDecoder } from './wire/publish.ts'
import { ReasonStrings, refusingConnack } from './wire/reason-string.ts'
import { TOPIC_ALIAS_MAXIMUM } from './wire/topic-aliases.ts'

/** What a client is served by: what it asked for, and what it was given. */
export interface ClientFacts extends SessionFacts {
  readonly topicAliasMaximum: number
  readonly explain: ReasonStrings
}

/** What the front end does for logins. */
export interface LoginHost {
  readonly stats: MqttStats
  readonly packetBytesMax: number
  readonly limits: MqttLimits
  readonly wills: Wills
  /** Who a client is, from what its CONNECT shows. */
  login(login: Login): LoginOutcome | Promise<LoginOutcome>
  /** What a client that logged in may do. */
  grants(clientId: string, identity: Identity): Grants
  /** A decoder, for a will before its client is connected. */
  decoder(version: number): PublishDecoder
  /** Whether there is place for a session that outlives its connection. */
  admitsSession(clientId: string): boolean
  /** Takes a client id for a user; false: it is another user's. */
  takeId(clientId: string, user: string | undefined, holder: object): boolean
  releaseId(clientId: string, holder: object): void
}

/** The connection that logs in. */
export interface LoginSink {
  /** CONNECT is well-formed: nothing more is read until it is answered. */
  wait(): void
  /** Whether it still waits. */
  readonly isWaiting: boolean
  /** The client may come in; `packet` is its CONNECT for the protocol side. */
  pass(packet: Buffer): void
  /** Ends the connection, behind the CONNACK where there is one. */
  turnAway(connack: Uint8Array | undefined, sentence: string): void
  fail(thrown: unknown): void
}

export class ClientLogin {
  private readonly host: LoginHost
  private readonly sink: LoginSink
  /** Without the password, which nobody needs again. */
  private connect: Omit<ValidConnect, 'credentials'> | undefined
  private who: Identity | undefined
  private will: ConnectionWill | undefined
  private heldId: string | undefined
  /** Memory of the CONNECT while it is looked at. */
  heldBytes = 0

  constructor(host: LoginHost, sink: LoginSink) {
    this.host = host
    this.sink = sink
  }

  /** Undefined before its login. */
  get identity(): Identity | undefined {
    return this.who
  }

  /** A CONNECT, from its body on. Answered through the sink, now or later. */
  begin(bytes: Buffer, bodyAt: number, end: number, origin: Origin): void {
    const { host, sink } = this
    const verdict = checkConnect(bytes, bodyAt, end, host.limits)
    if (verdict.kind === 'refused') {
      this.countLimit(verdict.limit)
      sink.turnAway(verdict.connack, verdict.sentence)
      return
    }
    const fault = verdict.will && this.willFault(verdict.will.packet, verdict.version)
    if (fault !== undefined) {
      const sentence = `the will: ${fault.sentence}`
      const isFive = verdict.version === 5
      sink.turnAway(isFive ? refusingConnack(fault.reason, sentence) : undefined, sentence)
      return
    }
    const { credentials, ...connect } = verdict
    this.connect = connect
    // A copy for the protocol side, and the will or the password once more.
    this.heldBytes = 2 * (end - bodyAt)
    sink.wait()
    // The library keeps parts of what it gets: it must not be a view on the read chunk.
    const packet = forLibrary(bytes, bodyAt, end, verdict)
    const isThere = () => sink.isWaiting
    const outcome = host.login({ ...credentials, ...origin, isThere })
    if (outcome instanceof Promise) {
      outcome
        .then((verified) => this.verified(verified, verdict, packet))
        .catch((thrown: unknown) => sink.fail(thrown))
    } else {
      this.verified(outcome, verdict, packet)
    }
  }

  /** What the client asked for and was given, for those who serve it. */
  facts(session: SessionFacts): ClientFacts {
    const { topicAliasMaximum, packetBytesMax, wantsProblemInformation } = this.asked
    const explain = new ReasonStrings(wantsProblemInformation, packetBytesMax)
    return { ...session, packetBytesMax, topicAliasMaximum, explain }
  }

  /** CONNACK that accepts; undefined: the client takes no packet of its size. */
  connack(facts: ClientFacts, grants: Grants): Uint8Array | undefined {
    const { version, sessionPresent, sessionExpiryS, sessionExpiryAskedS, clientId } = facts
    const { asked } = this
    const said = {
      sessionPresent,
      sessionExpiryS: sessionExpiryS === sessionExpiryAskedS ? undefined : sessionExpiryS,
      receiveMaximum: RECEIVE_MAXIMUM,
      packetBytesMax: this.host.packetBytesMax,
      topicAliasMaximum: TOPIC_ALIAS_MAXIMUM,
      assignedClientId: asked.isAssignedId ? clientId : undefined,
      serverKeepAliveS: asked.serverKeepAliveS,
      responseInformation: asked.wantsResponseInformation
        ? responseTopics(clientId, grants)
        : undefined,
    }
    return connack(version, said, facts.packetBytesMax ?? Number.MAX_SAFE_INTEGER)
  }

  /** What must be on disk before CONNACK. Rejects with `storage`. */
  async accepted(clientId: string): Promise<void> {
    await this.will?.arm(clientId)
  }

  /** DISCONNECT, with its reason. */
  disconnected(reason: number): void {
    this.will?.disconnected(reason)
  }

  /** The connection has ended; `grants`: what it might do, when it was connected. */
  ended(grants: Grants | undefined, sessionExpiryS: number): void {
    // The rules may have changed since CONNECT.
    const isGranted = grants !== undefined && this.mayWill(grants)
    if (grants !== undefined && !isGranted) this.host.stats.denied.will++
    this.will?.end(isGranted, sessionExpiryS)
    if (this.heldId !== undefined) this.host.releaseId(this.heldId, this)
    this.heldId = undefined
  }

  /** A verified CONNECT goes to the protocol side, which answers it. */
  private verified(outcome: LoginOutcome, connect: ValidConnect, packet: Buffer): void {
    const { host, sink } = this
    // The client may have gone meanwhile (N3).
    if (!sink.isWaiting) return
    const { version, sessionExpiryS, credentials } = connect
    if (outcome.kind === 'refused') {
      host.stats.denied[outcome.refusal]++
      sink.turnAway(refusalConnack(outcome.refusal, version), outcome.sentence)
      return
    }
    const { clientId } = credentials
    this.who = outcome.identity
    if (!host.takeId(clientId, this.who.user, this)) {
      host.stats.denied['client-id']++
      const sentence = 'the client id is in use by another user, or its session is'
      sink.turnAway(refusalConnack('client-id', version), sentence)
      return
    }
    this.heldId = clientId
    if (!this.mayWill(host.grants(clientId, this.who))) {
      host.stats.denied.will++
      const sentence = 'no rule lets the client publish its will'
      sink.turnAway(refusalConnack('not-authorized', version), sentence)
      return
    }
    if (sessionExpiryS > 0 && !host.admitsSession(clientId)) {
      this.countLimit('sessions')
      sink.turnAway(sessionsFullConnack(version), 'there are too many sessions')
      return
    }
    this.will = new ConnectionWill(host.wills, present(this.connect, 'the CONNECT of a client'))
    sink.pass(packet)
  }

  private get asked(): ValidConnect['asked'] {
    return present(this.connect, 'the CONNECT of a client').asked
  }

  private mayWill(grants: Grants): boolean {
    const { will, version } = present(this.connect, 'the CONNECT of a client')
    if (will === undefined || grants.isOpen) return true
    const decoder = this.host.decoder(version)
    if (decoded(will.packet, decoder) !== undefined) return false
    return grants.mayPublish(present(decoder.packet.route, 'a decoded route').topic)
  }

  private willFault(will: Buffer, version: number): PacketFault | undefined {
    if (will.length > this.host.packetBytesMax) {
      return { reason: Reason.packetTooLarge, sentence: 'it is too large', fatal: true }
    }
    return decoded(will, this.host.decoder(version))
  }

  private countLimit(limit: LimitName | undefined): void {
    if (limit !== undefined) this.host.stats.limited[limit]++
  }
}

/** Decodes a will as the PUBLISH that it is; answers what is wrong with it. */
function decoded(will: Buffer, decoder: PublishDecoder): PacketFault | undefined {
  let fault: PacketFault | undefined
  new FrameReader(will.length).read(will, (first, bytes, _at, bodyAt, end) => {
    fault = decoder.decode(first, bytes, bodyAt, end)
    return false
  })
  return fault
}

/** Where a client may have its answers sent to [MQTT5 3.2.2.3.15]; undefined: it may not. */
function responseTopics(clientId: string, grants: Grants): string | undefined {
  const prefix = `response/${clientId}`
  const isTopic = !/[#+/]/.test(clientId)
  return isTopic && grants.maySubscribe(`${prefix}/#`) ? prefix : undefined
}
