import { assert } from '../base/assert.ts'
import type { AppendOutcome, EventLog, LogRecord, Route } from '../log/log.ts'

/**
 * Appends a copy of a record, with another property block, to a stream that need not take its
 * topic: dead letters, and their way back. Partitions are taken in turn where the topic does not
 * lead there by itself.
 */
export function appendTo(
  log: EventLog,
  stream: string,
  record: LogRecord,
  properties: Uint8Array,
): Promise<AppendOutcome> {
  const bytes = Buffer.concat([properties, record.payload])
  return new Promise((resolve) => {
    log.append({
      route: routeTo(log, stream, record.topic),
      client: log.client(record.client),
      qos: record.qos,
      retain: false,
      key: undefined,
      bytes,
      propertiesAt: 0,
      propertiesEnd: properties.length,
      payloadAt: properties.length,
      payloadEnd: bytes.length,
      waiter: { settled: (outcome) => resolve(outcome) },
    })
  })
}

function routeTo(log: EventLog, stream: string, topic: string): Route {
  const route = log.route(topic)
  if (route.stream?.name === stream) return route
  const streamIndex = log.streams.findIndex(({ name }) => name === stream)
  const settings = log.streams[streamIndex]
  assert(settings !== undefined, `the stream "${stream}" is there`)
  // Ref 0 says nothing about equal topics: this topic's own number is of its other route.
  return { ...route, ref: 0, stream: settings, streamIndex, partition: undefined }
}
