import type { JsonSchema } from './schema.ts'

/** A string in MQTT has no null character [MQTT-1.5.4-2]. */
const NO_NULL = '^[^\\u0000]*$'
const TOPIC_NAME = '^[^\\u0000+#]+$'

/** The properties of MQTT 5 that a record keeps, and that a new one can be given. */
export const propertiesSchema: JsonSchema = {
  type: 'object',
  additionalProperties: false,
  properties: {
    content_type: { type: 'string', maxLength: 1024, pattern: NO_NULL },
    response_topic: { type: 'string', maxLength: 4096, pattern: TOPIC_NAME },
    correlation_base64: { type: 'string', maxLength: 8192, pattern: '^[A-Za-z0-9+/]*={0,2}$' },
    message_expiry_s: { type: 'integer', minimum: 0, maximum: 4_294_967_295 },
    payload_utf8: { type: 'boolean', description: 'The publisher says that it is UTF-8 text.' },
    user: {
      type: 'array',
      description: 'User properties in order, each a name and a value.',
      maxItems: 1000,
      items: {
        type: 'array',
        minItems: 2,
        maxItems: 2,
        items: { type: 'string', maxLength: 16_383, pattern: NO_NULL },
      },
    },
  },
}

export const recordSchema: JsonSchema = {
  type: 'object',
  required: [
    ...['partition', 'offset', 'position', 'time', 'topic', 'client', 'qos', 'retain'],
    ...['properties', 'encoding', 'payload'],
  ],
  properties: {
    partition: { type: 'integer', minimum: 0 },
    offset: { type: 'integer', minimum: 0, description: 'Its number in the partition.' },
    position: { type: 'integer', minimum: 0, description: 'Its number in the stream.' },
    time: { type: 'string', format: 'date-time' },
    topic: { type: 'string' },
    client: { type: 'string', description: "The publisher's client id; empty: the gateway." },
    qos: { type: 'integer', enum: [0, 1, 2] },
    retain: { type: 'boolean' },
    properties: propertiesSchema,
    encoding: {
      type: 'string',
      enum: ['json', 'cbor', 'base64', 'bytes'],
      description:
        'What "payload" is: the JSON value that was sent, the CBOR item that was sent, or the ' +
        'bytes: in base64 in a JSON answer, as a byte string ("bytes") in a CBOR answer.',
    },
    payload: {},
  },
  examples: [
    {
      partition: 0,
      offset: 41,
      position: 99,
      time: '2026-01-31T08:00:00.250Z',
      topic: 'plant/press/telemetry',
      client: 'press-1',
      qos: 1,
      retain: false,
      properties: { content_type: 'application/json', user: [['site', 'north']] },
      encoding: 'json',
      payload: { temperature: 20.5 },
    },
  ],
}
