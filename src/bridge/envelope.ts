/**
 * What a single record carries on its way up, so that a receiver can drop what comes twice and
 * prove that nothing is missing: (gateway, epoch, stream, partition, offset) names one record for
 * ever. As user properties with MQTT 5; with 3.1.1, which has none, around the payload.
 * docs/FORMAT.md describes both. Runs once per record.
 */
import { isUtf8 } from 'node:buffer'
import type { LogRecord } from '../log/log.ts'
import { CborFault, CborReader } from './cbor-reader.ts'
import { CborWriter } from './cbor-writer.ts'

export type EnvelopeKind = 'cbor' | 'json'

export interface Envelope {
  readonly gateway: string
  readonly epoch: number
  readonly stream: string
  readonly partition: number
  readonly offset: number
  /** Wall time in ms since 1970. */
  readonly timeMs: number
  readonly topic: string
  readonly client: string
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly payload: Uint8Array
}

/** What to add behind the publisher's own user properties: a reader takes the last of a name. */
export function userProperties(
  record: LogRecord,
  gateway: string,
  epoch: number,
): readonly (readonly [string, string])[] {
  return [
    ['gateway', gateway],
    ['epoch', String(epoch)],
    ['stream', record.stream],
    ['partition', String(record.partition)],
    ['offset', String(record.offset)],
    ['time', String(Math.round(record.timeMs))],
  ]
}

/** The names that `userProperties` gives, in its order. */
export const ORIGIN_PROPERTIES = [
  'gateway',
  'epoch',
  'stream',
  'partition',
  'offset',
  'time',
] as const

const CAPACITY = 4096
/** Used again for each record: what it gives out is copied. */
const writer = new CborWriter(CAPACITY)

/** The record as a map of eleven pairs, in one message. */
export function envelope(
  kind: EnvelopeKind,
  record: LogRecord,
  gateway: string,
  epoch: number,
): Uint8Array {
  return kind === 'cbor' ? cborOf(record, gateway, epoch) : jsonOf(record, gateway, epoch)
}

/** What `envelope` gave, of either kind; undefined for anything else. */
export function decodeEnvelope(bytes: Uint8Array): Envelope | undefined {
  if (bytes[0] === CBOR_START) return fromCbor(bytes)
  return bytes[0] === JSON_START ? fromJson(bytes) : undefined
}

/** A map of eleven. */
const CBOR_START = 0xab
/** { */
const JSON_START = 0x7b

function cborOf(record: LogRecord, gateway: string, epoch: number): Uint8Array {
  writer.cut(0)
  writer.map(11)
  writer.text('gateway')
  writer.text(gateway)
  writer.text('epoch')
  writer.integer(epoch)
  writer.text('stream')
  writer.text(record.stream)
  writer.text('partition')
  writer.integer(record.partition)
  writer.text('offset')
  writer.integer(record.offset)
  writer.text('time')
  writer.integer(Math.round(record.timeMs))
  writer.text('topic')
  writer.text(record.topic)
  writer.text('client')
  writer.text(record.client)
  writer.text('qos')
  writer.integer(record.qos)
  writer.text('retain')
  writer.boolean(record.retain)
  writer.text('payload')
  writer.bytes(record.bytes, record.payloadAt, record.payloadEnd)
  return Buffer.from(writer.written())
}

/** The payload comes last, so that its bytes are found again exactly as they were sent. */
function jsonOf(record: LogRecord, gateway: string, epoch: number): Uint8Array {
  const head = JSON.stringify({
    gateway,
    epoch,
    stream: record.stream,
    partition: record.partition,
    offset: record.offset,
    time: Math.round(record.timeMs),
    topic: record.topic,
    client: record.client,
    qos: record.qos,
    retain: record.retain,
  })
  return Buffer.from(`${head.slice(0, -1)},${payloadMember(record.payload)}}`)
}

function payloadMember(bytes: Uint8Array): string {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (!isUtf8(view)) return `"payload_base64":"${view.toString('base64')}"`
  const text = view.toString()
  if (isJson(text)) return `"payload":${text}`
  return `"payload_text":${JSON.stringify(text)}`
}

/** What a JSON value can begin with: an exception for each other payload would cost more. */
const JSON_FIRST = /^\s*[[{"\d\-tfn]/

function isJson(text: string): boolean {
  if (!JSON_FIRST.test(text)) return false
  try {
    JSON.parse(text)
    return true
  } catch (error) {
    if (error instanceof SyntaxError) return false
    throw error
  }
}

function fromCbor(bytes: Uint8Array): Envelope | undefined {
  try {
    const reader = new CborReader(bytes)
    const items = new Map<string, unknown>()
    for (let pairs = reader.map('the envelope'); pairs > 0; pairs--) {
      const name = reader.text('a name')
      items.set(name, itemOf(reader, name))
    }
    reader.end()
    const payload = items.get('payload')
    return payload instanceof Uint8Array ? fieldsOf((name) => items.get(name), payload) : undefined
  } catch (error) {
    // Any payload may begin with that byte: then it is not one of ours.
    if (error instanceof CborFault) return undefined
    throw error
  }
}

function itemOf(reader: CborReader, name: string): unknown {
  switch (name) {
    case 'gateway':
    case 'stream':
    case 'topic':
    case 'client':
      return reader.text(name)
    case 'retain':
      return reader.boolean(name)
    case 'payload':
      return reader.byteString(name)
    default:
      return reader.integer(name)
  }
}

function fromJson(bytes: Uint8Array): Envelope | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()
  let item: unknown
  try {
    item = JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
  if (typeof item !== 'object' || item === null) return undefined
  const members = new Map<string, unknown>(Object.entries(item))
  const payload = jsonPayload(text, members)
  return payload === undefined ? undefined : fieldsOf((name) => members.get(name), payload)
}

const MARK = ',"payload":'

function jsonPayload(text: string, members: ReadonlyMap<string, unknown>): Buffer | undefined {
  const plain = members.get('payload_text')
  if (typeof plain === 'string') return Buffer.from(plain)
  const base64 = members.get('payload_base64')
  if (typeof base64 === 'string') return Buffer.from(base64, 'base64')
  if (!members.has('payload')) return undefined
  // Within the texts before it, a quote stands behind a backslash: the first is the one.
  const at = text.indexOf(MARK)
  if (at >= 0) return Buffer.from(text.slice(at + MARK.length, text.lastIndexOf('}')))
  // Somebody has written the JSON anew: the same value in other characters.
  return Buffer.from(JSON.stringify(members.get('payload')))
}

function fieldsOf(get: (name: string) => unknown, payload: Uint8Array): Envelope | undefined {
  const [gateway, stream] = [get('gateway'), get('stream')]
  const [topic, client, retain] = [get('topic'), get('client'), get('retain')]
  const [epoch, partition, offset] = [get('epoch'), get('partition'), get('offset')].map(wholeOf)
  const [timeMs, qos] = [get('time'), get('qos')].map(wholeOf)
  if (typeof gateway !== 'string' || typeof stream !== 'string') return undefined
  if (typeof topic !== 'string' || typeof client !== 'string') return undefined
  if (typeof retain !== 'boolean' || (qos !== 0 && qos !== 1 && qos !== 2)) return undefined
  if (epoch === undefined || partition === undefined) return undefined
  if (offset === undefined || timeMs === undefined) return undefined
  return {
    gateway,
    epoch,
    stream,
    partition,
    offset,
    timeMs,
    topic,
    client,
    qos,
    retain,
    payload,
  }
}

function wholeOf(item: unknown): number | undefined {
  return typeof item === 'number' && Number.isSafeInteger(item) && item >= 0 ? item : undefined
}
