/**
 * The door of the one folder that knows Aedes: what the front end wants of a protocol library
 * (CONNECT, authentication, keep-alive, take-over, SUBSCRIBE, wills, DISCONNECT), in Sluice's
 * words.
 *
 * PUBLISH and its acks do not come through here: they are decoded, appended and answered by our own
 * code, which measured 3 to 4 times the library's rate and meets none of its faults on that path.
 */
import type { CloseReason } from '../stats.ts'

/** What CONNECT agreed on. */
export interface SessionFacts {
  readonly clientId: string
  /** 3, 4 or 5. */
  readonly version: number
  /** Messages with QoS 1 and 2 that the client takes at once [MQTT-3.1.2-11]. */
  readonly receiveMaximum: number
  /** Undefined: no limit. */
  readonly packetBytesMax: number | undefined
  /** How long the session outlives its connection, seconds; 0: not at all. */
  readonly sessionExpiryS: number
  /** What CONNECT asked for; the same, or more. */
  readonly sessionExpiryAskedS: number
  /** CONNACK has to say so. */
  readonly sessionPresent: boolean
}

/** Whether sessions are there, which CONNACK must say. */
export interface SessionDirectory {
  /** For CONNECT without a clean start: whether the client's session is there. */
  claim(clientId: string): boolean
  /** For CONNECT with a clean start: ends the client's session. */
  discard(clientId: string): void
}

/** A connection, as the protocol side sees it. */
export interface Peer {
  /** A CONNACK that refuses, copied before this returns. */
  refused(connack: Uint8Array): void
  /** CONNECT is accepted: CONNACK is to be sent. All later packets to the client are the peer's. */
  ready(facts: SessionFacts): void
  /**
   * CONNECT is accepted, under this client id: CONNACK is sent when the promise resolves, unless
   * the peer has ended the session. It must not reject.
   */
  accepted(clientId: string): Promise<void>
  /** The protocol is done with this connection: flush and close it. */
  ended(reason: CloseReason, cause: string): void
  /** The handling of one of its packets failed: it ends, and nobody else does. */
  fail(thrown: unknown): void
}

/** One connection, as the front end sees the protocol. */
export interface ProtocolSession {
  /** How long the session outlives its connection, seconds; DISCONNECT may have changed it. */
  readonly sessionExpiryS: number
  /** A whole, checked CONNECT or DISCONNECT, in memory that stays as it is. */
  packet(bytes: Buffer): void
  /** The client gave a sign of life [MQTT-3.1.2-24]. */
  touch(): void
  /** Ends the session from our side. */
  disconnect(why: CloseReason, cause: string): void
  /** The socket is gone. */
  lost(): void
}

export interface Protocol {
  start(): Promise<void>
  open(peer: Peer): ProtocolSession
  /** Whose packet led to the exception that nobody caught, if it was a client's. */
  culprit(): Peer | undefined
  close(): Promise<void>
}

export interface ProtocolOptions {
  readonly packetBytesMax: number
  readonly connectTimeoutMs: number
  readonly sessions: SessionDirectory
  /** No session outlives its connection for longer [MQTT5 3.2.2.3.2]. */
  readonly sessionExpiryMaxS: number
}
