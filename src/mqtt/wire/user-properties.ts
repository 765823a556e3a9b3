import { Property } from './packets.ts'

/** User properties as they stand in a property block, in their order [MQTT-3.3.2-18]. */
export function encodeUserProperties(
  pairs: readonly (readonly [string, string])[],
): Uint8Array<ArrayBuffer> {
  let size = 0
  for (const [name, value] of pairs) size += 5 + Buffer.byteLength(name) + Buffer.byteLength(value)
  const block = Buffer.allocUnsafeSlow(size)
  let at = 0
  for (const [name, value] of pairs) {
    block[at++] = Property.userProperty
    at = putString(block, name, at)
    at = putString(block, value, at)
  }
  return block
}

function putString(block: Buffer, text: string, at: number): number {
  const length = block.write(text, at + 2)
  block.writeUInt16BE(length, at)
  return at + 2 + length
}
