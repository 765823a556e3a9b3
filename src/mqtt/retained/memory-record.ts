/**
 * Records in memory of their own, for messages that live longer than the log keeps them at hand:
 * retained ones, and those of `$SYS`. Laid out as the log lays out an entry, as far as delivery
 * looks at it.
 */
import {
  asOffset,
  asPartition,
  asPosition,
  HEAD_BYTES,
  LogRecord,
  type QoS,
  TOPIC_LENGTH_AT,
} from '../../log/log.ts'

export interface MemoryRecordFields {
  /** Empty: it is in no stream. */
  readonly stream: string
  readonly position: number
  readonly topic: string
  readonly client: string
  readonly qos: QoS
  readonly retain: boolean
  readonly timeMs: number
  readonly boot: number
  readonly monotonicUs: number
  readonly properties: Uint8Array
  readonly payload: Uint8Array
}

/** Copies properties and payload. */
export function memoryRecord(fields: MemoryRecordFields): LogRecord {
  const { topic, properties, payload } = fields
  const topicBytes = Buffer.from(topic)
  const propertiesAt = HEAD_BYTES + topicBytes.length
  const payloadAt = propertiesAt + properties.length
  const payloadEnd = payloadAt + payload.length
  const bytes = Buffer.allocUnsafeSlow(payloadEnd)
  bytes.writeUInt16LE(topicBytes.length, TOPIC_LENGTH_AT)
  bytes.set(topicBytes, HEAD_BYTES)
  bytes.set(properties, propertiesAt)
  bytes.set(payload, payloadAt)
  return new LogRecord(
    fields.stream,
    asPosition(fields.position),
    asPartition(0),
    asOffset(0),
    topic,
    fields.client,
    fields.qos,
    fields.retain,
    fields.timeMs,
    fields.boot,
    fields.monotonicUs,
    bytes,
    HEAD_BYTES,
    propertiesAt,
    payloadAt,
    payloadEnd,
  )
}

/** The same record in memory that the log does not take back; needs it in memory. */
export function copyOf(record: LogRecord): LogRecord {
  const { properties, payload } = record
  return memoryRecord({ ...fieldsOf(record), properties, payload })
}

function fieldsOf(record: LogRecord): Omit<MemoryRecordFields, 'properties' | 'payload'> {
  const { stream, position, topic, client, qos, retain, timeMs, boot, monotonicUs } = record
  return { stream, position, topic, client, qos, retain, timeMs, boot, monotonicUs }
}
