/** Which records of a stream are wanted, and from where. */
import type { Clock } from '../../base/clock.ts'
import {
  asPartition,
  asPosition,
  type EventLog,
  type Partition,
  type Position,
  type ReadQuery,
  type StreamSettings,
} from '../../log/log.ts'
import { parseStart } from '../../log/start.ts'
import { filterFault } from '../../log/topics.ts'
import { ApiError, badRequest } from './api-error.ts'
import type { JsonSchema } from './schema.ts'

export interface Narrowing {
  readonly partition?: string
  readonly topic?: string
}

export type Narrowed = Pick<ReadQuery, 'stream' | 'partition' | 'filters'>

const PLACES =
  'earliest, latest, a time back (-6h), an ISO time, a Unix time in ms, <partition>:<offset>, or ' +
  'position:<n>'

export const nameSchema: JsonSchema = {
  type: 'object',
  properties: { name: { type: 'string', description: 'The stream.' } },
  required: ['name'],
}
export const fromSchema: JsonSchema = {
  type: 'string',
  description: `Where to begin: ${PLACES}.`,
  examples: ['earliest', '-6h', '2026-01-31T08:00:00Z', '1769846400000', '0:42', 'position:100'],
}
export const narrowingSchemas = {
  partition: { type: 'integer', minimum: 0, maximum: 65_535, description: 'Only this partition.' },
  topic: {
    type: 'string',
    description: 'Only records whose topic this MQTT topic filter matches.',
    examples: ['plant/+/temperature'],
  },
} as const satisfies Record<string, JsonSchema>

/** Throws an ApiError: no such stream. */
export function knownStream(log: EventLog, name: string): StreamSettings {
  const stream = log.streams.find((one) => one.name === name)
  if (stream !== undefined) return stream
  const names = log.streams.map((one) => one.name).join(', ')
  throw new ApiError(
    404,
    'stream-unknown',
    `There is no stream "${name.slice(0, 100)}".`,
    `There are ${names}: GET /v1/streams.`,
  )
}

/** Throws an ApiError: no such partition, no topic filter. */
export function narrow(stream: StreamSettings, { partition, topic }: Narrowing): Narrowed {
  const fault = topic === undefined ? undefined : filterFault(topic)
  if (fault !== undefined) {
    throw badRequest(
      `The topic filter ${fault}.`,
      'Send an MQTT topic filter; in a URL, + is written %2B and # is written %23.',
    )
  }
  return {
    stream: stream.name,
    ...(partition === undefined ? {} : { partition: partitionOf(stream, Number(partition)) }),
    ...(topic === undefined || topic === '#' ? {} : { filters: [topic] }),
  }
}

/** The position that a place in a URL names. Throws `start-invalid`, or an ApiError. */
export async function locate(
  log: EventLog,
  stream: StreamSettings,
  text: string,
  clock: Clock,
): Promise<Position> {
  const [, number] = /^position:(\d{1,16})$/.exec(text) ?? []
  if (number !== undefined && Number.isSafeInteger(Number(number)))
    return asPosition(Number(number))
  const start = parseStart(text, clock)
  if (start.kind === 'offset') partitionOf(stream, start.partition)
  return await log.locate(stream.name, start)
}

function partitionOf({ name, partitions }: StreamSettings, number: number): Partition {
  if (number < partitions) return asPartition(number)
  const hint = partitions === 1 ? 'It has only partition 0.' : `It has 0 to ${partitions - 1}.`
  throw badRequest(`The stream "${name}" has no partition ${number}.`, hint)
}
