/**
 * What Aedes asks of a persistence for CONNECT and wills, with nothing in it: sessions end with
 * their connection here, messages are in the log, and delivery is our own. Answers come at
 * once, and nothing rejects, because some of Aedes' callers leave a rejection unhandled.
 */
import { Readable } from 'node:stream'
import type { SessionDirectory } from './protocol.ts'

/** Stands for a stored subscription: with one, the library says in CONNACK "session present". */
const PRESENT = { topic: '$session', qos: 0 } as const

export class EmptyPersistence<Client extends { readonly id: string | null }> {
  private readonly accepted: (client: Client) => Promise<void>
  private readonly sessions: SessionDirectory

  constructor(accepted: (client: Client) => Promise<void>, sessions: SessionDirectory) {
    this.accepted = accepted
    this.sessions = sessions
  }

  async setup(): Promise<void> {
    return undefined
  }

  /** Called for each CONNECT without a clean start. */
  async subscriptionsByClient(client: Client): Promise<readonly object[]> {
    return this.sessions.claim(client.id ?? '') ? [{ ...PRESENT }] : []
  }

  async addSubscriptions(): Promise<void> {
    return undefined
  }

  /** Called for each CONNECT with a clean start. */
  async cleanSubscriptions(client: Client): Promise<void> {
    this.sessions.discard(client.id ?? '')
  }

  outgoingStream(): Readable {
    return Readable.from([])
  }

  async outgoingClearMessageId(): Promise<undefined> {
    return undefined
  }

  async putWill(): Promise<void> {
    return undefined
  }

  /** Called for each CONNECT that is accepted, before its CONNACK, which waits for the answer. */
  delWill(client: Client): Promise<void> {
    return this.accepted(client)
  }

  streamWill(): Readable {
    return Readable.from([])
  }

  async destroy(): Promise<void> {
    return undefined
  }
}
