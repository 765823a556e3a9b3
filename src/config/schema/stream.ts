import { z } from 'zod'
import type { AckRule, PartitionKey } from '../../log/log.ts'
import { ackRules } from '../../log/log.ts'
import { defaults } from '../defaults.ts'
import {
  compact,
  duration,
  flag,
  name,
  oneOf,
  size,
  textLeaf,
  topicFilter,
  whole,
} from '../leaves.ts'

/** What happens to a cursor that still needs what retention wants to delete. */
export const lagRules = ['gap', 'refuse'] as const
export type LagRule = (typeof lagRules)[number]

/** Without age and size nothing is deleted. */
export interface RetentionConfig {
  readonly ageMs?: number
  readonly sizeBytes?: number
  readonly onLag: LagRule
}

export interface StreamConfig {
  readonly name: string
  /**
   * A message goes to the first stream with a filter that matches; none: written from inside only.
   */
  readonly topics: readonly string[]
  readonly partitions: number
  readonly key: PartitionKey
  readonly ackAfter: AckRule
  /** QoS 0 messages are logged too. */
  readonly qos0: boolean
  /** How long a commit may wait for company. */
  readonly lingerMs: number
  readonly retention: RetentionConfig
}

/** A partition is a lane of order, not a file; a thousand serve any number of consumers here. */
const PARTITIONS_MAX = 1024
/** An acknowledgement that takes longer looks like a dead gateway to its publisher. */
const LINGER_MS_MAX = 60_000
/** Levels of the longest topic: 65,535 bytes, each a "/". */
const LEVEL_MAX = 65_535

/** "topic:1", "client", "topic", "property:site", "none"; undefined for anything else. */
export function parseKey(text: string): PartitionKey | undefined {
  if (text === 'topic' || text === 'client') return { kind: text }
  if (text === 'none') return { kind: 'round-robin' }
  const property = parseProperty(text)
  if (property !== undefined) return { kind: 'user-property', name: property }
  const digits = /^topic:(\d{1,5})$/.exec(text)?.[1]
  if (digits === undefined || Number(digits) > LEVEL_MAX) return undefined
  return { kind: 'topic-level', level: Number(digits) }
}

/** The name in "property:<user property>". */
export function parseProperty(text: string): string | undefined {
  const name = text.startsWith('property:') ? text.slice('property:'.length) : ''
  return name === '' || name.includes('\u0000') ? undefined : name
}

const retentionSchema = z
  .strictObject({
    age: duration(1).optional(),
    size: size(1).optional(),
    on_lag: oneOf(lagRules).default(defaults.stream.onLag),
  })
  .transform(
    (table): RetentionConfig =>
      compact({ ageMs: table.age, sizeBytes: table.size, onLag: table.on_lag }),
  )

export const streamSchema = z
  .strictObject({
    name: name(),
    topics: z.array(topicFilter()),
    partitions: whole(1, PARTITIONS_MAX).default(defaults.stream.partitions),
    key: textLeaf(
      '"topic:<level>" (levels count from 0), "client", "topic", "property:<user property>" or "none"',
      parseKey,
    ).default(defaults.stream.key),
    ack_after: oneOf(ackRules).default(defaults.stream.ackAfter),
    qos0: flag().default(defaults.stream.qos0),
    linger: duration(0, LINGER_MS_MAX).default(defaults.stream.lingerMs),
    retention: retentionSchema.prefault({}),
  })
  .transform(
    (table): StreamConfig => ({
      name: table.name,
      topics: table.topics,
      partitions: table.partitions,
      key: table.key,
      ackAfter: table.ack_after,
      qos0: table.qos0,
      lingerMs: table.linger,
      retention: table.retention,
    }),
  )

/** The stream that stands in when none is written. */
export const defaultStream: StreamConfig = {
  name: defaults.stream.name,
  topics: defaults.stream.topics,
  partitions: defaults.stream.partitions,
  key: defaults.stream.key,
  ackAfter: defaults.stream.ackAfter,
  qos0: defaults.stream.qos0,
  lingerMs: defaults.stream.lingerMs,
  retention: { onLag: defaults.stream.onLag },
}
