/**
 * A retained message as a document of the state: all that its delivery needs, so that it outlives
 * the segment that its record was in. The key is the topic.
 *
 *   at + 0   u8   layout, 1
 *      + 1   u8   QoS
 *      + 2   u16  stream's length
 *      + 4   u16  client's length
 *      + 6   u16  0
 *      + 8   u32  properties' length
 *      + 12  u32  boot
 *      + 16  f64  position in the stream
 *      + 24  f64  wall time, ms
 *      + 32  f64  monotonic time of that boot, us
 *      + 40  stream, client, properties, payload, one behind the other
 *
 * Little-endian, as in the log.
 */
import type { LogRecord, QoS } from '../../log/log.ts'
import { memoryRecord } from './memory-record.ts'

export const RETAINED_KIND = 'retained'
/** Up to where a stream's records are in the documents: key stream, value f64. */
export const APPLIED_KIND = 'retained-applied'

const LAYOUT = 1
const HEAD_BYTES = 40

/** Needs the record in memory. */
export function encodeRetained(record: LogRecord): Uint8Array {
  const stream = Buffer.from(record.stream)
  const client = Buffer.from(record.client)
  const { properties, payload } = record
  const streamEnd = HEAD_BYTES + stream.length
  const clientEnd = streamEnd + client.length
  const propertiesEnd = clientEnd + properties.length
  const bytes = Buffer.alloc(propertiesEnd + payload.length)
  bytes.writeUInt8(LAYOUT, 0)
  bytes.writeUInt8(record.qos, 1)
  bytes.writeUInt16LE(stream.length, 2)
  bytes.writeUInt16LE(client.length, 4)
  bytes.writeUInt32LE(properties.length, 8)
  bytes.writeUInt32LE(record.boot, 12)
  bytes.writeDoubleLE(record.position, 16)
  bytes.writeDoubleLE(record.timeMs, 24)
  bytes.writeDoubleLE(record.monotonicUs, 32)
  bytes.set(stream, HEAD_BYTES)
  bytes.set(client, streamEnd)
  bytes.set(properties, clientEnd)
  bytes.set(payload, propertiesEnd)
  return bytes
}

/** The record in memory of its own; undefined when the document is none of ours. */
export function decodeRetained(topic: string, value: Uint8Array): LogRecord | undefined {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  if (bytes.length < HEAD_BYTES || bytes[0] !== LAYOUT) return undefined
  const streamEnd = HEAD_BYTES + bytes.readUInt16LE(2)
  const clientEnd = streamEnd + bytes.readUInt16LE(4)
  const propertiesEnd = clientEnd + bytes.readUInt32LE(8)
  if (propertiesEnd > bytes.length) return undefined
  return memoryRecord({
    stream: bytes.toString('utf8', HEAD_BYTES, streamEnd),
    position: bytes.readDoubleLE(16),
    topic,
    client: bytes.toString('utf8', streamEnd, clientEnd),
    qos: (bytes.readUInt8(1) & 3) as QoS,
    retain: true,
    timeMs: bytes.readDoubleLE(24),
    boot: bytes.readUInt32LE(12),
    monotonicUs: bytes.readDoubleLE(32),
    properties: bytes.subarray(clientEnd, propertiesEnd),
    payload: bytes.subarray(propertiesEnd),
  })
}

export function encodeApplied(position: number): Uint8Array {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(position)
  return bytes
}

export function decodeApplied(value: Uint8Array): number {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  const position = bytes.length === 8 ? bytes.readDoubleLE(0) : 0
  return Number.isSafeInteger(position) && position > 0 ? position : 0
}
