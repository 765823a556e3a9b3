/**
 * A record as CBOR (RFC 8949), with the names of its JSON form. A CBOR payload goes in as it is;
 * one that is neither JSON nor CBOR is a byte string, and its encoding is said to be "bytes".
 */
import { Encoder } from 'cbor-x'
import type { LogRecord } from '../../log/log.ts'
import { isoTime, payloadOf, propertiesOf, type ShownPayload } from './record-json.ts'

const encoder = new Encoder({ useRecords: false, mapsAsObjects: true, tagUint8Array: false })

const PAYLOAD = text('payload')
/** The head of a map of eleven members. */
const MAP = Buffer.from([0xab])

export function recordCbor(record: LogRecord): Buffer {
  const properties = propertiesOf(record)
  const [encoding, payload] = payloadCbor(record, payloadOf(record, properties))
  const head = encoder.encode({
    partition: record.partition,
    offset: record.offset,
    position: record.position,
    time: isoTime(record.timeMs),
    topic: record.topic,
    client: record.client,
    qos: record.qos,
    retain: record.retain,
    properties,
    encoding,
  })
  return Buffer.concat([MAP, membersOf(head), PAYLOAD, payload])
}

function payloadCbor(
  record: LogRecord,
  { encoding, json }: ShownPayload,
): readonly [encoding: string, payload: Uint8Array] {
  if (encoding === 'cbor') return [encoding, record.payload]
  if (encoding === 'json') {
    try {
      return [encoding, encoder.encode(JSON.parse(json))]
    } catch (thrown) {
      // Nested so deep that the encoder runs out of stack: it goes out as it came.
      if (!(thrown instanceof RangeError)) throw thrown
    }
  }
  return ['bytes', encoder.encode(Buffer.from(record.payload))]
}

/** An encoded text string. */
export function text(value: string): Buffer {
  return encoder.encode(value)
}

/** An encoded boolean. */
export function flag(value: boolean): Buffer {
  return Buffer.from([value ? 0xf5 : 0xf4])
}

/** A small map without its head, which cbor-x writes in one byte or as a 16-bit length. */
function membersOf(map: Buffer): Buffer {
  return map.subarray(map[0] === 0xb9 ? 3 : 1)
}
