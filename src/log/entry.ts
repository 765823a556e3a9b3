/**
 * Whole entries in the packed layout of record.ts, for those who are not on the hot path: the
 * reader's pages and the in-memory model. One place packs, one place unpacks.
 */
import { type Boots, timeOf } from './clock/time-of.ts'
import {
  asOffset,
  asPartition,
  asPosition,
  CHECKED_AT,
  HEAD_BYTES,
  LogRecord,
  PACKET_ID_AT,
  type QoS,
  TOPIC_LENGTH_AT,
} from './record.ts'

/** A topic or client: its bytes, which the checksum covers, and the text they stand for. */
export interface Name {
  readonly text: string
  readonly bytes: Uint8Array
}

/** What an entry holds. */
export interface EntryParts {
  readonly position: number
  readonly partition: number
  readonly offset: number
  readonly topic: Name
  readonly client: Name
  /** QoS | retain << 2 | will << 3 | packet identifier << 8. */
  readonly flags: number
  readonly boot: number
  readonly monotonicUs: number
  readonly timeMs: number
  readonly properties: Uint8Array
  readonly payload: Uint8Array
}

/** Bytes of the entry, padding included. */
export function entryBytes(parts: EntryParts): number {
  return Math.ceil((HEAD_BYTES + contentBytes(parts)) / 8) * 8
}

/** Bytes an entry counts with against limits, as `LogRecord.sizeBytes` has it. */
export function contentBytes(parts: EntryParts): number {
  const { topic, client, properties, payload } = parts
  return topic.bytes.length + client.bytes.length + properties.length + payload.length
}

/** Writes the entry at `at` into zeroed memory, and gives the bytes that its checksum covers. */
export function writeEntry(
  page: Uint8Array,
  at: number,
  parts: EntryParts,
  topicRef: number,
  clientRef: number,
): Uint8Array {
  const { topic, client, properties, payload } = parts
  const view = new DataView(page.buffer, page.byteOffset + at)
  view.setUint32(0, entryBytes(parts), true)
  view.setUint32(8, topicRef, true)
  view.setUint32(12, clientRef, true)
  view.setFloat64(16, parts.position, true)
  view.setFloat64(24, parts.offset, true)
  view.setFloat64(32, parts.timeMs, true)
  view.setFloat64(40, parts.monotonicUs, true)
  view.setUint32(48, parts.boot, true)
  view.setUint16(52, parts.partition, true)
  view.setUint8(54, parts.flags)
  view.setUint16(TOPIC_LENGTH_AT, topic.bytes.length, true)
  view.setUint16(58, client.bytes.length, true)
  view.setUint32(60, properties.length, true)
  view.setUint32(64, payload.length, true)
  // All of it, so that a bit that nobody set shows in the checksum.
  view.setUint32(PACKET_ID_AT, parts.flags >>> 8, true)
  let end = at + HEAD_BYTES
  for (const range of [topic.bytes, client.bytes, properties, payload]) {
    page.set(range, end)
    end += range.length
  }
  return page.subarray(at + CHECKED_AT, end)
}

/**
 * The records of a page of entries, which view its memory. Refs count within the page. Times are
 * what `boots` know of them; without it as written.
 */
export function readEntries(
  stream: string,
  page: Uint8Array,
  boots: Boots = new Map(),
): LogRecord[] {
  const buffer = Buffer.from(page.buffer, page.byteOffset, page.byteLength)
  const topics = new Map<number, string>()
  const clients = new Map<number, string>()
  const records: LogRecord[] = []
  for (let at = 0; at < buffer.length; at += buffer.readUInt32LE(at)) {
    const topicAt = at + HEAD_BYTES
    const clientAt = topicAt + buffer.readUInt16LE(at + TOPIC_LENGTH_AT)
    const propertiesAt = clientAt + buffer.readUInt16LE(at + 58)
    const payloadAt = propertiesAt + buffer.readUInt32LE(at + 60)
    const flags = buffer.readUInt8(at + 54)
    const boot = buffer.readUInt32LE(at + 48)
    const monotonicUs = buffer.readDoubleLE(at + 40)
    const timeMs = buffer.readDoubleLE(at + 32)
    records.push(
      new LogRecord(
        stream,
        asPosition(buffer.readDoubleLE(at + 16)),
        asPartition(buffer.readUInt16LE(at + 52)),
        asOffset(buffer.readDoubleLE(at + 24)),
        text(topics, buffer, buffer.readUInt32LE(at + 8), topicAt, clientAt),
        text(clients, buffer, buffer.readUInt32LE(at + 12), clientAt, propertiesAt),
        (flags & 3) as QoS,
        (flags & 4) !== 0,
        timeOf({ boot, monotonicUs, timeMs }, boots),
        boot,
        monotonicUs,
        page,
        topicAt,
        propertiesAt,
        payloadAt,
        payloadAt + buffer.readUInt32LE(at + 64),
        buffer.readUInt16LE(at + PACKET_ID_AT),
        (flags & 8) !== 0,
      ),
    )
  }
  return records
}

/** Names repeat within a page, so each is decoded once. */
function text(
  known: Map<number, string>,
  buffer: Buffer,
  ref: number,
  from: number,
  to: number,
): string {
  const found = known.get(ref)
  if (found !== undefined) return found
  const decoded = buffer.toString('utf8', from, to)
  known.set(ref, decoded)
  return decoded
}
