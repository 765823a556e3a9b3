import type { NewRecord } from './log.ts'
import { HEAD_BYTES, PACKET_ID_AT } from './record.ts'
import type { Slab } from './slab.ts'

/** Below this a loop beats the fixed cost of a view and a native copy. */
const LOOP_BYTES_MAX = 32

/** Everything of an entry that the caller of append does not say. */
export interface Placing {
  streamIndex: number
  position: number
  partition: number
  offset: number
  timeMs: number
  monotonicUs: number
  boot: number
}

/** Bytes of the entry of a record, padding included. */
export function entryBytes(record: NewRecord): number {
  const { route, client } = record
  return (
    (HEAD_BYTES +
      route.topicBytes.length +
      client.bytes.length +
      record.propertiesEnd -
      record.propertiesAt +
      record.payloadEnd -
      record.payloadAt +
      7) &
    ~7
  )
}

/** Writes a record's entry of `sizeBytes` at `at`, in the layout of record.ts. */
export function pack(
  slab: Slab,
  at: number,
  sizeBytes: number,
  record: NewRecord,
  placing: Placing,
): void {
  const { view, bytes } = slab
  const { route, client } = record
  const propertiesLength = record.propertiesEnd - record.propertiesAt
  const payloadLength = record.payloadEnd - record.payloadAt
  view.setUint32(at, sizeBytes, true)
  view.setUint32(at + 4, placing.streamIndex, true)
  view.setUint32(at + 8, route.ref, true)
  view.setUint32(at + 12, client.ref, true)
  view.setFloat64(at + 16, placing.position, true)
  view.setFloat64(at + 24, placing.offset, true)
  view.setFloat64(at + 32, placing.timeMs, true)
  view.setFloat64(at + 40, placing.monotonicUs, true)
  view.setUint32(at + 48, placing.boot, true)
  view.setUint16(at + 52, placing.partition, true)
  const flags = record.qos | (record.retain ? 4 : 0) | (record.will === true ? 8 : 0)
  view.setUint16(at + 54, flags, true)
  view.setUint16(at + 56, route.topicBytes.length, true)
  view.setUint16(at + 58, client.bytes.length, true)
  view.setUint32(at + 60, propertiesLength, true)
  view.setUint32(at + 64, payloadLength, true)
  view.setUint32(at + PACKET_ID_AT, record.packetId ?? 0, true)
  const clientAt = at + HEAD_BYTES + route.topicBytes.length
  const propertiesAt = clientAt + client.bytes.length
  copy(route.topicBytes, 0, route.topicBytes.length, bytes, at + HEAD_BYTES)
  copy(client.bytes, 0, client.bytes.length, bytes, clientAt)
  copy(record.bytes, record.propertiesAt, record.propertiesEnd, bytes, propertiesAt)
  copy(record.bytes, record.payloadAt, record.payloadEnd, bytes, propertiesAt + propertiesLength)
}

function copy(from: Uint8Array, start: number, end: number, to: Uint8Array, at: number): void {
  if (end - start > LOOP_BYTES_MAX) {
    to.set(start === 0 && end === from.length ? from : from.subarray(start, end), at)
    return
  }
  for (let i = start, o = at; i < end; i++, o++) to[o] = from[i] as number
}
