/**
 * The MQTT 5 property block of a PUBLISH [MQTT5 3.3.2.3] as a record keeps it, read and written.
 * The front end has let only well-formed blocks into the log.
 */
const PAYLOAD_FORMAT = 0x01
const MESSAGE_EXPIRY = 0x02
const CONTENT_TYPE = 0x03
const RESPONSE_TOPIC = 0x08
const CORRELATION_DATA = 0x09
const USER_PROPERTY = 0x26
/** A topic alias belongs to a connection and is skipped, if a record has one. */
const TOPIC_ALIAS = 0x23

/** As it is shown in JSON; what a record does not have is absent. */
export interface RecordProperties {
  content_type?: string
  response_topic?: string
  correlation_base64?: string
  message_expiry_s?: number
  payload_utf8?: boolean
  /** In order: a name may stand more than once. */
  user?: (readonly [string, string])[]
}

export function readProperties(block: Uint8Array): RecordProperties {
  const found: RecordProperties = {}
  const bytes = Buffer.from(block.buffer, block.byteOffset, block.length)
  let at = 0
  const take = (): Buffer => {
    const from = at + 2
    at = from + bytes.readUInt16BE(at)
    return bytes.subarray(from, at)
  }
  while (at < bytes.length) {
    const id = bytes[at++]
    if (id === USER_PROPERTY) {
      found.user ??= []
      found.user.push([take().toString(), take().toString()])
    } else if (id === CONTENT_TYPE) found.content_type = take().toString()
    else if (id === RESPONSE_TOPIC) found.response_topic = take().toString()
    else if (id === CORRELATION_DATA) found.correlation_base64 = take().toString('base64')
    else if (id === MESSAGE_EXPIRY) {
      found.message_expiry_s = bytes.readUInt32BE(at)
      at += 4
    } else if (id === PAYLOAD_FORMAT) found.payload_utf8 = bytes[at++] === 1
    else if (id === TOPIC_ALIAS) at += 2
    // What cannot be in a PUBLISH has no known length: the rest cannot be read.
    else return found
  }
  return found
}

/** The block of these properties. Texts are at most 65,535 bytes. */
export function writeProperties(properties: RecordProperties): Buffer {
  const parts: Uint8Array[] = []
  const text = (id: number, ...texts: readonly (string | Buffer)[]): void => {
    parts.push(Buffer.from([id]))
    for (const one of texts) {
      const bytes = Buffer.from(one)
      parts.push(Buffer.from([bytes.length >> 8, bytes.length & 0xff]), bytes)
    }
  }
  const { content_type, response_topic, correlation_base64, message_expiry_s, user } = properties
  if (properties.payload_utf8 === true) parts.push(Buffer.from([PAYLOAD_FORMAT, 1]))
  if (message_expiry_s !== undefined) {
    const value = Buffer.alloc(5, MESSAGE_EXPIRY)
    value.writeUInt32BE(message_expiry_s, 1)
    parts.push(value)
  }
  if (content_type !== undefined) text(CONTENT_TYPE, content_type)
  if (response_topic !== undefined) text(RESPONSE_TOPIC, response_topic)
  if (correlation_base64 !== undefined) {
    text(CORRELATION_DATA, Buffer.from(correlation_base64, 'base64'))
  }
  for (const [name, value] of user ?? []) text(USER_PROPERTY, name, value)
  return Buffer.concat(parts)
}
