import type { StreamSettings } from '../log/log.ts'

/** A queue as configured. */
export interface QueueSettings {
  /** Also the name of the queue's own stream. */
  readonly name: string
  readonly topics: readonly string[]
  /** After which an unacknowledged message goes to somebody else. */
  readonly ackTimeoutMs: number
  readonly maxDeliveries: number
  /** The stream that takes what was delivered too often; without one it is a gap. */
  readonly deadLetter?: string
  /** The user property with the priority, 0 (first) to 9. */
  readonly priority?: { readonly kind: 'user-property'; readonly name: string }
}

/**
 * The stream that a queue's messages are logged in. One partition: workers compete for single
 * messages, so lanes of order would say nothing, and positions are the order.
 */
export function streamOfQueue({ name, topics }: QueueSettings): StreamSettings {
  return {
    name,
    topics,
    partitions: 1,
    key: { kind: 'round-robin' },
    ackAfter: 'fsync',
    // Whoever hands in work at QoS 0 wants it done as well.
    qos0: true,
    lingerMs: 0,
  }
}
