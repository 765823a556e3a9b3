/**
 * What a bridge remembers of messages, so that it takes none of its own back and no retained one
 * twice (C1 and C2 of receive.ts). Fingerprints, not messages: 16 bytes of a hash and the topic.
 *
 * Needed where a message carries no mark: MQTT 3.1.1 without an envelope, and batches over it. A
 * broker sends it back at once or, as a retained one, with a later subscription.
 */
import { createHash } from 'node:crypto'
import { topicMatches } from '../log/topics.ts'
import type { Arrival, Memory } from './receive.ts'

/** A broker sends an echo within a round trip; a stuck link is torn down before this. */
const ECHO_MS = 120_000
/** Two minutes at 64 a second; more only where a forward publishes into what is received. */
const ECHOES_MAX = 8192
/** Retained commands are a handful a device. */
const RETAINED_MAX = 10_000

interface Sent {
  count: number
  readonly untilMs: number
}

export class BridgeMemory implements Memory {
  private readonly filters: readonly string[]
  private readonly nowMs: () => number
  /** By fingerprint, the oldest first. */
  private readonly sentOnes = new Map<string, Sent>()
  /** Of the last retained message of each topic, the least recently taken first. */
  private readonly retained = new Map<string, string>()

  /** `filters`: what is received. `nowMs`: monotonic time. */
  constructor(filters: readonly string[], nowMs: () => number) {
    this.filters = filters
    this.nowMs = nowMs
  }

  /** To be told of what goes up without a mark, before it does. Most of it costs a match. */
  sent(topic: string, payload: Uint8Array, retain: boolean): void {
    if (!this.filters.some((filter) => topicMatches(filter, topic))) return
    const print = fingerprint(topic, payload)
    const count = (this.sentOnes.get(print)?.count ?? 0) + 1
    this.sentOnes.delete(print)
    this.sentOnes.set(print, { count, untilMs: this.nowMs() + ECHO_MS })
    dropOldest(this.sentOnes, ECHOES_MAX)
    if (retain) this.remember(topic, print)
  }

  /** To be told of a message that was taken, once it is kept here. */
  took({ topic, payload, retain }: Arrival): void {
    if (retain) this.remember(topic, fingerprint(topic, payload))
  }

  /** Each sending explains one echo: the same command from somebody else still comes through. */
  isEcho({ topic, payload }: Arrival): boolean {
    if (this.sentOnes.size === 0) return false
    const print = fingerprint(topic, payload)
    const sent = this.sentOnes.get(print)
    if (sent === undefined) return false
    sent.count--
    if (sent.count === 0) this.sentOnes.delete(print)
    return sent.untilMs > this.nowMs()
  }

  isSeen({ topic, payload }: Arrival): boolean {
    return this.retained.get(topic) === fingerprint(topic, payload)
  }

  /** Topic and fingerprint of what was taken, to be kept across restarts. */
  seen(): IterableIterator<[string, string]> {
    return this.retained.entries()
  }

  /** What `seen` gave before the restart. */
  load(entries: Iterable<readonly [string, string]>): void {
    for (const [topic, print] of entries) this.remember(topic, print)
  }

  private remember(topic: string, print: string): void {
    this.retained.delete(topic)
    this.retained.set(topic, print)
    dropOldest(this.retained, RETAINED_MAX)
  }
}

function dropOldest(map: Map<string, unknown>, most: number): void {
  const [oldest] = map.size > most ? map.keys() : []
  if (oldest !== undefined) map.delete(oldest)
}

/** The topic's length keeps ("ab", "c") and ("a", "bc") apart. */
function fingerprint(topic: string, payload: Uint8Array): string {
  const hash = createHash('sha256').update(`${topic.length}:${topic}`).update(payload)
  return hash.digest('base64').slice(0, 22)
}
