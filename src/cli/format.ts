/**
 * A record as a line: `text` for people, `json` for programs, `raw` for files. Payloads and topics
 * come from anyone: what could drive a terminal (escape sequences, C1 controls, a change of the
 * writing direction) never leaves in `text` and `json` as it is.
 */
import type { LogRecord } from '../log/log.ts'
import { readPayload } from './payload.ts'

export const recordFormats = ['text', 'json', 'raw'] as const
export type RecordFormat = (typeof recordFormats)[number]

export type FormatRecord = (record: LogRecord) => string | Uint8Array

/** A line of a terminal or two; the whole payload is there in the other formats. */
const TEXT_PAYLOAD_CHARS_MAX = 400
/** Longer topics push their line out of the columns instead of pushing all lines. */
const TOPIC_COLUMN_MAX = 48

const NEWLINE = Buffer.from('\n')
/** Controls, line and paragraph separators, direction marks and lone surrogates. */
const UNSAFE = /[\p{Cc}\p{Cs}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

/** Text lines are aligned to the widest seen so far: make one formatter for an output. */
export function recordFormatter(format: RecordFormat): FormatRecord {
  if (format === 'json') return jsonLine
  if (format === 'raw') return (record) => Buffer.concat([record.payload, NEWLINE])
  format satisfies 'text'
  const columns = { topic: 0, place: 0 }
  return (record) => textLine(record, columns)
}

function jsonLine(record: LogRecord): string {
  const names = JSON.stringify({
    stream: record.stream,
    partition: record.partition,
    offset: record.offset,
    position: record.position,
    time: isoTime(record.timeMs),
    topic: record.topic,
    client: record.client,
    qos: record.qos,
    retain: record.retain,
  })
  const line = `${names.slice(0, -1)},${payloadMember(record.payload)}}`
  // Only inside strings, where the escape means the same.
  return `${line.replace(UNSAFE, escaped)}\n`
}

/** The member of a JSON object that holds a payload. */
export function payloadMember(bytes: Uint8Array): string {
  const payload = readPayload(bytes)
  switch (payload.kind) {
    case 'value':
      return `"payload":${payload.json}`
    case 'text':
      return `"payload":${JSON.stringify(payload.text)}`
    case 'bytes':
      return `"payload_base64":"${Buffer.from(bytes).toString('base64')}"`
    default:
      return payload satisfies never
  }
}

function textLine(record: LogRecord, columns: { topic: number; place: number }): string {
  const topic = printable(record.topic)
  const place = `p${record.partition}:${record.offset}`
  columns.topic = Math.min(TOPIC_COLUMN_MAX, Math.max(columns.topic, topic.length))
  columns.place = Math.max(columns.place, place.length)
  const names = `${topic.padEnd(columns.topic)}  ${place.padEnd(columns.place)}`
  return `${isoTime(record.timeMs)}  ${names}  ${textPayload(record.payload)}\n`
}

/** A payload on one line, cut where it is long. */
export function textPayload(bytes: Uint8Array): string {
  if (bytes.length === 0) return '(empty)'
  const payload = readPayload(bytes)
  switch (payload.kind) {
    case 'value':
      return cut(payload.json, bytes)
    case 'text':
      return cut(payload.text, bytes)
    case 'bytes': {
      // Two digits a byte: no more of them is turned to hex than will be shown.
      const shown = bytes.subarray(0, TEXT_PAYLOAD_CHARS_MAX)
      return cut(`0x${Buffer.from(shown).toString('hex')}`, bytes)
    }
    default:
      return payload satisfies never
  }
}

function cut(text: string, bytes: Uint8Array): string {
  if (text.length <= TEXT_PAYLOAD_CHARS_MAX) return printable(text)
  // A surrogate pair that the cut splits is dropped whole.
  const head = text.slice(0, TEXT_PAYLOAD_CHARS_MAX).replace(/[\ud800-\udbff]$/, '')
  return `${printable(head)}… (${bytes.length.toLocaleString('en-US')} bytes)`
}

/** The text with everything that a terminal could obey written as an escape. */
export function printable(text: string): string {
  return text.replace(UNSAFE, escaped)
}

function escaped(char: string): string {
  if (char === '\n') return '\\n'
  if (char === '\r') return '\\r'
  if (char === '\t') return '\\t'
  return `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** ISO 8601 in UTC; a time that no calendar holds (a damaged clock) shows as the epoch's number. */
export function isoTime(timeMs: number): string {
  const date = new Date(timeMs)
  return Number.isNaN(date.getTime()) ? `@${timeMs}` : date.toISOString()
}
