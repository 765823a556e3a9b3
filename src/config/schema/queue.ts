import { z } from 'zod'
import { defaults } from '../defaults.ts'
import { compact, duration, name, textLeaf, topicFilter, whole } from '../leaves.ts'
import { parseProperty } from './stream.ts'

export interface QueueConfig {
  /** Also the name of the queue's own stream. */
  readonly name: string
  readonly topics: readonly string[]
  /** After which an unacknowledged message goes to somebody else. */
  readonly ackTimeoutMs: number
  readonly maxDeliveries: number
  /** The stream that takes what was delivered too often. */
  readonly deadLetter?: string
  /** The user property with the priority, 0 (first) to 9. */
  readonly priority?: { readonly kind: 'user-property'; readonly name: string }
}

/** Counted in one byte with each entry. */
const DELIVERIES_MAX = 255

function parsePriority(text: string): QueueConfig['priority'] {
  const property = parseProperty(text)
  return property === undefined ? undefined : { kind: 'user-property', name: property }
}

export const queueSchema = z
  .strictObject({
    name: name(),
    topics: z.array(topicFilter()),
    ack_timeout: duration(1).default(defaults.queue.ackTimeoutMs),
    max_deliveries: whole(1, DELIVERIES_MAX).default(defaults.queue.maxDeliveries),
    dead_letter: name().optional(),
    priority: textLeaf('"property:<user property>"', parsePriority).optional(),
  })
  .transform(
    (table): QueueConfig =>
      compact({
        name: table.name,
        topics: table.topics,
        ackTimeoutMs: table.ack_timeout,
        maxDeliveries: table.max_deliveries,
        deadLetter: table.dead_letter,
        priority: table.priority,
      }),
  )
