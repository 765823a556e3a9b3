import { asOffset, asPartition, asPosition, LogRecord, type QoS } from '../../src/log/log.ts'

export interface RecordFields {
  readonly stream?: string
  readonly position?: number
  readonly partition?: number
  readonly offset?: number
  readonly topic?: string
  readonly client?: string
  readonly qos?: QoS
  readonly retain?: boolean
  readonly timeMs?: number
  readonly payload?: string | Uint8Array
  /** An MQTT 5 property block. */
  readonly properties?: Uint8Array
}

/** A record as the log would hand it out, with defaults for what a test does not care about. */
export function record(fields: RecordFields = {}): LogRecord {
  const topic = Buffer.from(fields.topic ?? 'devices/a/telemetry')
  const payload = Buffer.from(fields.payload ?? '{"temperature":20.5}')
  const properties = fields.properties ?? new Uint8Array(0)
  const payloadAt = topic.length + properties.length
  return new LogRecord(
    fields.stream ?? 'default',
    asPosition(fields.position ?? 100),
    asPartition(fields.partition ?? 0),
    asOffset(fields.offset ?? 42),
    topic.toString(),
    fields.client ?? 'a',
    fields.qos ?? 1,
    fields.retain ?? false,
    fields.timeMs ?? Date.UTC(2026, 0, 31, 8, 0, 0, 250),
    1,
    0,
    Buffer.concat([topic, properties, payload]),
    0,
    topic.length,
    payloadAt,
    payloadAt + payload.length,
  )
}
