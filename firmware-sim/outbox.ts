/**
 * What a device has measured and not yet sent. A sensor node has little memory: when the outbox is
 * full the oldest message makes room for the newest, and the loss is counted. The sequence numbers
 * are given before, so a receiver sees the hole too.
 */
export class Outbox<T> {
  readonly capacity: number
  private readonly messages: T[] = []

  constructor(capacity: number) {
    this.capacity = capacity
  }

  get size(): number {
    return this.messages.length
  }

  get full(): boolean {
    return this.messages.length >= this.capacity
  }

  /** Adds `message` at the end; returns the message that had to go for it, if one had to. */
  put(message: T): T | undefined {
    const dropped = this.full ? this.messages.shift() : undefined
    this.messages.push(message)
    return dropped
  }

  /** Takes the oldest message out. */
  take(): T | undefined {
    return this.messages.shift()
  }

  /** Takes everything out and says how much it was. */
  clear(): number {
    return this.messages.splice(0).length
  }
}
