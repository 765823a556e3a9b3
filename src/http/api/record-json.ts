/** A record as JSON: built as text, so that numbers in payloads keep every digit. */
import { cborToJson } from '../../base/cbor-json.ts'
import type { LogRecord } from '../../log/log.ts'
import { type RecordProperties, readProperties } from './properties.ts'

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const NO_PROPERTIES: RecordProperties = {}

/** What a payload was found to be, with its JSON text; "base64" is what is neither. */
export interface ShownPayload {
  readonly encoding: 'json' | 'cbor' | 'base64'
  readonly json: string
}

/** On one line: an event of a stream of events has none within its data. */
export function recordJson(record: LogRecord): string {
  const properties = propertiesOf(record)
  const { encoding, json } = payloadOf(record, properties)
  const own = properties === NO_PROPERTIES ? '{}' : JSON.stringify(properties)
  return (
    `{"partition":${record.partition},"offset":${record.offset},"position":${record.position},` +
    `"time":"${isoTime(record.timeMs)}","topic":${JSON.stringify(record.topic)},` +
    `"client":${JSON.stringify(record.client)},"qos":${record.qos},"retain":${record.retain},` +
    `"properties":${own},"encoding":"${encoding}","payload":${json}}`
  )
}

export function propertiesOf(record: LogRecord): RecordProperties {
  const { properties } = record
  return properties.length === 0 ? NO_PROPERTIES : readProperties(properties)
}

/** By the content type where that says JSON or CBOR, else by trying both. */
export function payloadOf(record: LogRecord, properties: RecordProperties): ShownPayload {
  const { payload } = record
  const type = properties.content_type?.toLowerCase() ?? ''
  const isCbor = /^application\/(?:[\w.-]+\+)?cbor\b/.test(type)
  const text = isCbor ? undefined : jsonText(payload)
  if (text !== undefined) return { encoding: 'json', json: text }
  const json = cborToJson(payload, isCbor)
  if (json !== undefined) return { encoding: 'cbor', json }
  return { encoding: 'base64', json: `"${base64(payload)}"` }
}

/** The text itself when it is one JSON value; line feeds can only stand between its tokens. */
function jsonText(payload: Uint8Array): string | undefined {
  if (!mayBeJson(payload[0])) return undefined
  try {
    const text = decoder.decode(payload)
    JSON.parse(text)
    return /[\r\n]/.test(text) ? text.replace(/[\r\n]/g, ' ') : text
  } catch (thrown) {
    if (thrown instanceof SyntaxError || thrown instanceof TypeError) return undefined
    throw thrown
  }
}

/** Most that is not JSON is told by its first byte, which spares an exception a record. */
function mayBeJson(first: number | undefined): boolean {
  return first !== undefined && '{["-0123456789tfn \t\r\n'.includes(String.fromCharCode(first))
}

export function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64')
}

export function isoTime(timeMs: number): string {
  return new Date(Math.round(timeMs)).toISOString()
}
