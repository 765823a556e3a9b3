import { Property } from './packets.ts'

type Pairs = readonly (readonly [string, string])[]

/** Enough for where a record is in the log, and how often it was delivered. */
const SCRATCH_BYTES = 4096
const scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES)

/** User properties as they stand in a property block, in their order [MQTT-3.3.2-18]. */
export function encodeUserProperties(pairs: Pairs): Uint8Array<ArrayBuffer> {
  let size = 0
  for (const [name, value] of pairs) size += 5 + Buffer.byteLength(name) + Buffer.byteLength(value)
  const block = Buffer.allocUnsafeSlow(size)
  put(block, pairs)
  return block
}

/**
 * The same for a message that is written at once: the bytes are those of the next call as well.
 * A replay sends them with each message, and an allocation cost more than all else of it.
 */
export function userPropertiesNow(pairs: Pairs): Uint8Array {
  let most = 0
  for (const [name, value] of pairs) most += 5 + 3 * (name.length + value.length)
  if (most > SCRATCH_BYTES) return encodeUserProperties(pairs)
  return scratch.subarray(0, put(scratch, pairs))
}

function put(block: Buffer, pairs: Pairs): number {
  let at = 0
  for (const [name, value] of pairs) {
    block[at++] = Property.userProperty
    at = putString(block, name, at)
    at = putString(block, value, at)
  }
  return at
}

/** Names and numbers are ASCII: a loop costs a fifth of a call into the runtime. */
function putString(block: Buffer, text: string, at: number): number {
  let end = at + 2
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code > 127) {
      end = at + 2 + block.write(text, at + 2)
      break
    }
    block[end++] = code
  }
  block.writeUInt16BE(end - at - 2, at)
  return end
}
