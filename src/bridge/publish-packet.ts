/**
 * PUBLISH and its acks as bytes, for the way up. The client library builds an object for each
 * message, copies it deeply and keeps the copy until the ack: for what is in the log anyway that is
 * waste (decision 15 has the figures). Here a message is copied once, into the buffer that the
 * socket gets.
 */
import type { OutboundMessage } from './uplink.ts'

export interface PublishSizes {
  remainingLength: number
  properties: number
}

/** Fills `sizes`; returns the size of the whole packet. */
export function publishSizes(
  message: OutboundMessage,
  version: 4 | 5,
  sizes: PublishSizes,
): number {
  let remaining = 2 + message.topic.length + (message.qos > 0 ? 2 : 0) + message.payload.length
  sizes.properties = 0
  if (version === 5) {
    sizes.properties = message.properties.length + message.extraEnd
    remaining += varintBytes(sizes.properties) + sizes.properties
  }
  sizes.remainingLength = remaining
  return 1 + varintBytes(remaining) + remaining
}

/** Writes the packet at `at` into a buffer that has the room; returns its end. */
export function writePublish(
  target: Buffer,
  at: number,
  message: OutboundMessage,
  version: 4 | 5,
  packetId: number,
  sizes: PublishSizes,
): number {
  const { topic, qos, properties, extra, extraEnd, payload } = message
  target[at] = 0x30 | (qos << 1) | (message.retain ? 1 : 0)
  let next = writeVarint(target, sizes.remainingLength, at + 1)
  target[next++] = topic.length >> 8
  target[next++] = topic.length & 255
  target.set(topic, next)
  next += topic.length
  if (qos > 0) {
    target[next++] = packetId >> 8
    target[next++] = packetId & 255
  }
  if (version === 5) {
    next = writeVarint(target, sizes.properties, next)
    if (properties.length > 0) target.set(properties, next)
    next += properties.length
    // Byte by byte: our own properties are about a hundred bytes, and a view costs more.
    for (let i = 0; i < extraEnd; i++) target[next++] = extra[i] as number
  }
  target.set(payload, next)
  return next + payload.length
}

/** PUBACK, PUBREL or PUBCOMP without a reason: four bytes. */
export function writeAck(target: Buffer, at: number, first: number, packetId: number): number {
  target[at] = first
  target[at + 1] = 2
  target[at + 2] = packetId >> 8
  target[at + 3] = packetId & 255
  return at + 4
}

function varintBytes(value: number): number {
  if (value < 128) return 1
  if (value < 16_384) return 2
  return value < 2_097_152 ? 3 : 4
}

function writeVarint(target: Buffer, value: number, at: number): number {
  let rest = value
  let next = at
  while (rest > 127) {
    target[next++] = (rest & 127) | 128
    rest >>>= 7
  }
  target[next++] = rest
  return next
}
