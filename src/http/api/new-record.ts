/** A record that a request brings: what it may be, and how it becomes one of the log. */
import { isUtf8 } from 'node:buffer'
import type { ClientName, EventLog, NewRecord, QoS, StreamSettings } from '../../log/log.ts'
import { topicFault } from '../../log/topics.ts'
import { ApiError, badRequest } from './api-error.ts'
import { type RecordProperties, writeProperties } from './properties.ts'
import { propertiesSchema } from './record-schema.ts'
import type { JsonSchema } from './schema.ts'

export const newRecordSchema: JsonSchema = {
  type: 'object',
  required: ['topic', 'payload'],
  additionalProperties: false,
  properties: {
    topic: { type: 'string', minLength: 1, description: 'A topic that the stream takes.' },
    payload: { description: 'A text, a JSON value, or base64.' },
    encoding: {
      type: 'string',
      enum: ['text', 'json', 'base64'],
      description: 'What "payload" is. Default: "text" for a string, "json" for anything else.',
    },
    qos: { type: 'integer', enum: [0, 1, 2], default: 1 },
    retain: { type: 'boolean', default: false },
    properties: propertiesSchema,
  },
  examples: [
    { topic: 'plant/press/command', payload: { speed: 3 } },
    { topic: 'plant/press/command', payload: 'AQID', encoding: 'base64', qos: 2, retain: true },
  ],
}

/** As the schema has checked it. */
export interface SentRecord {
  readonly topic: string
  readonly payload: unknown
  readonly encoding?: 'text' | 'json' | 'base64'
  readonly qos?: QoS
  readonly retain?: boolean
  readonly properties?: RecordProperties
}

/** The same bounds as an MQTT publish has. */
export interface AppendLimits {
  readonly recordBytesMax: number
  readonly topicBytesMax: number
  readonly topicLevelsMax: number
}

export interface Target {
  readonly log: EventLog
  readonly stream: StreamSettings
  readonly client: ClientName
  readonly limits: AppendLimits
  readonly admitsRetained: (topic: string) => boolean
}

/** Throws an ApiError that names the record: nothing of the request is appended then. */
export function newRecord(
  sent: SentRecord,
  name: string,
  target: Target,
): Omit<NewRecord, 'waiter'> {
  const { log, stream, client, limits } = target
  const { topic, qos = 1, retain = false, properties = {} } = sent
  checkTopic(topic, name, limits)
  const route = log.fallbackRoute(topic)
  if (route.stream?.name !== stream.name) {
    throw badRequest(
      `${name}: the stream "${stream.name}" does not take the topic "${topic.slice(0, 100)}".`,
      `It belongs to the stream "${route.stream?.name}": send it there, or use another topic.`,
    )
  }
  const payload = payloadOf(sent, name)
  if (properties.payload_utf8 === true && !isUtf8(payload)) {
    throw badRequest(`${name}: the payload is not UTF-8.`, 'Leave out payload_utf8.')
  }
  if (retain && payload.length > 0 && !target.admitsRetained(topic)) {
    throw new ApiError(
      507,
      'retained-full',
      `${name}: no more messages can be retained.`,
      'Clear some, or raise mqtt.max_retained.',
    )
  }
  const block = writeProperties(properties)
  const bytes = Buffer.concat([block, payload])
  if (bytes.length > limits.recordBytesMax) {
    throw new ApiError(
      413,
      'too-large',
      `${name}: payload and properties have ${bytes.length} bytes; ${limits.recordBytesMax} are the most.`,
      'Send less in one record, or raise mqtt.max_packet.',
    )
  }
  return {
    route,
    client,
    qos,
    retain,
    key: keyOf(stream, properties),
    bytes,
    propertiesAt: 0,
    propertiesEnd: block.length,
    payloadAt: block.length,
    payloadEnd: bytes.length,
  }
}

function checkTopic(topic: string, name: string, limits: AppendLimits): void {
  const fault = topicFault(topic) ?? limitFault(topic, limits)
  if (fault === undefined) return
  throw badRequest(`${name}: the topic ${fault}.`, 'Send the name of a topic as MQTT has it.')
}

function limitFault(topic: string, limits: AppendLimits): string | undefined {
  if (topic.startsWith('$')) return 'begins with $, which is reserved'
  if (/\p{Cs}/u.test(topic)) return 'is not well-formed Unicode'
  if (Buffer.byteLength(topic) > limits.topicBytesMax) {
    return `is longer than ${limits.topicBytesMax} bytes`
  }
  if (topic.split('/').length > limits.topicLevelsMax) {
    return `has more than ${limits.topicLevelsMax} levels`
  }
  return undefined
}

function payloadOf({ payload, encoding }: SentRecord, name: string): Buffer {
  const meant = encoding ?? (typeof payload === 'string' ? 'text' : 'json')
  if (meant === 'json') return Buffer.from(JSON.stringify(payload))
  if (typeof payload !== 'string') {
    throw badRequest(
      `${name}: the payload is no string, but its encoding is "${meant}".`,
      'Send a string, or the encoding "json".',
    )
  }
  if (meant === 'text') return Buffer.from(payload)
  const bytes = Buffer.from(payload, 'base64')
  // Node skips what is not base64: the bytes must be those that were meant.
  if (bytes.toString('base64').replace(/=+$/, '') === payload.replace(/=+$/, '')) return bytes
  throw badRequest(`${name}: the payload is not base64.`, 'Send base64 (RFC 4648, section 4).')
}

function keyOf({ key }: StreamSettings, { user }: RecordProperties): string | undefined {
  if (key.kind !== 'user-property') return undefined
  return user?.find(([name]) => name === key.name)?.[1]
}
