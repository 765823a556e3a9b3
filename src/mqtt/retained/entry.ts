/** What the index knows of one retained message; its bytes are in the documents or in the log. */
import type { Clock } from '../../base/clock.ts'
import type { LogRecord, Position } from '../../log/log.ts'
import { expiryAt } from '../wire/message-expiry.ts'

export interface RetainedEntry {
  readonly topic: string
  /**
   * Changes of the index are numbered. A subscription gets as retained what was there when it
   * began; what changed later reached it as a live message, and must not come again in its old
   * form.
   */
  readonly change: number
  readonly stream: string
  readonly position: Position
  readonly sizeBytes: number
  /** Monotonic time of this boot at which it expires; Infinity for never. */
  readonly expiresUs: number
  /** Wall time at which it expires, for a record of an earlier boot; Infinity for never. */
  readonly expiresMs: number
  /** This very message is in the documents. */
  stored: boolean
  /** A message of this topic may be in the documents. */
  documented: boolean
  /** Its bytes, while there is room for them in memory. */
  cached: LogRecord | undefined
}

/** Needs the record in memory. */
export function entryOf(record: LogRecord, change: number, boot: number): RetainedEntry {
  const expiryS = expirySeconds(record)
  const isOfThisBoot = record.boot === boot
  return {
    topic: record.topic,
    change,
    stream: record.stream,
    position: record.position,
    sizeBytes: record.sizeBytes,
    expiresUs:
      expiryS === undefined || !isOfThisBoot
        ? Number.POSITIVE_INFINITY
        : record.monotonicUs + expiryS * 1e6,
    expiresMs:
      expiryS === undefined || isOfThisBoot
        ? Number.POSITIVE_INFINITY
        : record.timeMs + expiryS * 1000,
    stored: false,
    documented: false,
    cached: undefined,
  }
}

/** An entry whose bytes stay in memory and which never expires. */
export function unexpiring(record: LogRecord, change: number): RetainedEntry {
  const { topic, stream, position, sizeBytes } = record
  return {
    topic,
    change,
    stream,
    position,
    sizeBytes,
    expiresUs: Number.POSITIVE_INFINITY,
    expiresMs: Number.POSITIVE_INFINITY,
    stored: false,
    documented: false,
    cached: record,
  }
}

/** [MQTT-3.3.2-5] */
export function isExpired(entry: RetainedEntry, clock: Clock): boolean {
  return (
    (entry.expiresUs !== Number.POSITIVE_INFINITY && clock.monotonicUs() >= entry.expiresUs) ||
    (entry.expiresMs !== Number.POSITIVE_INFINITY && clock.now() >= entry.expiresMs)
  )
}

function expirySeconds({ bytes, propertiesAt, payloadAt }: LogRecord): number | undefined {
  const at = expiryAt(bytes, propertiesAt, payloadAt)
  return at < 0 ? undefined : new DataView(bytes.buffer, bytes.byteOffset).getUint32(at)
}
