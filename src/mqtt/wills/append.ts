/** Appends a will to the log, as the PUBLISH that it is. */
import { present } from '../../base/assert.ts'
import type { AppendOutcome, EventLog, Route } from '../../log/log.ts'
import { FrameReader } from '../wire/frame-reader.ts'
import { userProperty } from '../wire/properties.ts'
import type { InboundPublish, PublishDecoder } from '../wire/publish.ts'
import type { Will } from './will.ts'

export interface WillMessage {
  readonly route: Route
  readonly packet: InboundPublish
  readonly bytes: Buffer
  readonly end: number
}

/**
 * The message of a will, and where it goes: always into a stream, also with QoS 0 and where no
 * stream takes its topic, because only the log can tell a later start that it was published.
 * Undefined when it cannot be decoded, which was checked with CONNECT.
 */
export function messageOf(
  will: Will,
  log: EventLog,
  decoder: PublishDecoder,
): WillMessage | undefined {
  const packet = Buffer.from(will.packet)
  let message: WillMessage | undefined
  new FrameReader(packet.length).read(packet, (first, bytes, _at, bodyAt, end) => {
    if (decoder.decode(first, bytes, bodyAt, end) === undefined) {
      const { topic } = present(decoder.packet.route, 'the route of a decoded PUBLISH')
      message = { route: log.fallbackRoute(topic), packet: decoder.packet, bytes, end }
    }
    return false
  })
  return message
}

/** Resolves with what became of it; `retain` says whether it may be retained. */
export function appendWill(
  log: EventLog,
  clientId: string,
  { route, packet, bytes, end }: WillMessage,
  retain: boolean,
): Promise<AppendOutcome> {
  const stream = present(route.stream, 'the stream of a fallback route')
  const { propertiesAt, propertiesEnd, payloadAt } = packet
  const key =
    stream.key.kind === 'user-property'
      ? userProperty(bytes, propertiesAt, propertiesEnd, stream.key.name)
      : undefined
  return new Promise((resolve) => {
    log.append({
      route,
      client: log.client(clientId),
      qos: packet.qos,
      retain,
      will: true,
      key,
      bytes,
      propertiesAt,
      propertiesEnd,
      payloadAt,
      payloadEnd: end,
      waiter: { settled: resolve },
    })
  })
}
