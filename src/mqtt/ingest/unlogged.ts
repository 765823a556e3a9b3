/**
 * Messages that no stream takes, and QoS 0 ones of a stream that does not log them: they go to the
 * subscribers that are there now and are gone after that. In memory they look like records of a
 * stream without a name, so that delivery needs no second kind of message.
 */
import type { Clock } from '../../base/clock.ts'
import {
  asOffset,
  asPartition,
  asPosition,
  type ClientName,
  HEAD_BYTES,
  LogRecord,
  type Route,
  TOPIC_LENGTH_AT,
} from '../../log/log.ts'
import type { InboundPublish } from '../wire/publish.ts'

/** Copies the message out of `bytes` into memory of its own. */
export function unloggedRecord(
  route: Route,
  client: ClientName,
  packet: InboundPublish,
  bytes: Buffer,
  end: number,
  clock: Clock,
): LogRecord {
  const topicAt = HEAD_BYTES
  const propertiesAt = topicAt + route.topicBytes.length
  const payloadAt = propertiesAt + packet.propertiesEnd - packet.propertiesAt
  const payloadEnd = payloadAt + end - packet.payloadAt
  const own = Buffer.allocUnsafe(payloadEnd)
  own.writeUInt16LE(route.topicBytes.length, TOPIC_LENGTH_AT)
  own.set(route.topicBytes, topicAt)
  bytes.copy(own, propertiesAt, packet.propertiesAt, packet.propertiesEnd)
  bytes.copy(own, payloadAt, packet.payloadAt, end)
  return new LogRecord(
    '',
    asPosition(0),
    asPartition(0),
    asOffset(0),
    route.topic,
    client.name,
    packet.qos,
    packet.retain,
    clock.now(),
    0,
    clock.monotonicUs(),
    own,
    topicAt,
    propertiesAt,
    payloadAt,
    payloadEnd,
  )
}
