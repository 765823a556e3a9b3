/**
 * What Aedes asks of a persistence for CONNECT and wills, with nothing in it: sessions end with
 * their connection here, messages are in the log, and delivery is our own. Answers come at
 * once, and nothing rejects, because some of Aedes' callers leave a rejection unhandled.
 */
import { Readable } from 'node:stream'

export class EmptyPersistence {
  async setup(): Promise<void> {
    return undefined
  }

  async subscriptionsByClient(): Promise<readonly never[]> {
    return []
  }

  async cleanSubscriptions(): Promise<void> {
    return undefined
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

  async delWill(): Promise<void> {
    return undefined
  }

  streamWill(): Readable {
    return Readable.from([])
  }

  async destroy(): Promise<void> {
    return undefined
  }
}
