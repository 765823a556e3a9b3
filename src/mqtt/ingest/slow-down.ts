/**
 * Publishers of MQTT 3.1.1 to a full stream. The protocol has no word for "no space", so a message
 * that is not taken gets no ack, and its publisher is not read for a while: it does not send the
 * rest of its store into the void. Read again when the stream takes records, or after the wait, so
 * that its other topics and its pings go on.
 */
import type { EventLog } from '../../log/log.ts'

/** Well within any keep-alive, and few enough messages are turned away in it. */
export const SLOW_DOWN_MS = 5000

/** Who is told that it is read again. */
export interface Slowed {
  hurry(): void
}

export class SlowDown {
  private readonly waiting = new Map<Slowed, { stream: string; timer: NodeJS.Timeout }>()

  constructor(log: Pick<EventLog, 'onFull'>) {
    log.onFull((stream, reason) => {
      if (reason === undefined) this.release(stream)
    })
  }

  /** `publisher` is told by `hurry`; asked again before that, nothing changes. */
  hold(publisher: Slowed, stream: string): void {
    if (this.waiting.has(publisher)) return
    const timer = setTimeout(() => this.end(publisher), SLOW_DOWN_MS)
    this.waiting.set(publisher, { stream, timer })
  }

  isHeld(publisher: Slowed): boolean {
    return this.waiting.has(publisher)
  }

  forget(publisher: Slowed): void {
    clearTimeout(this.waiting.get(publisher)?.timer)
    this.waiting.delete(publisher)
  }

  private release(stream: string): void {
    for (const [publisher, held] of [...this.waiting]) {
      if (held.stream === stream) this.end(publisher)
    }
  }

  private end(publisher: Slowed): void {
    this.forget(publisher)
    publisher.hurry()
  }
}
