/**
 * User properties in the property block of a record, which is as its publisher wrote it
 * [MQTT5 3.3.2.3.7]: reading one, and a block with some taken out and some put in.
 */
const USER_PROPERTY = 0x26

type Pair = readonly [string, string]

/** Bytes of the values that have a fixed size, by property identifier [MQTT5 2.2.2.2]. */
const FIXED: ReadonlyMap<number, number> = new Map([
  [0x01, 1],
  [0x02, 4],
  [0x23, 2],
])

/** The first user property of that name; undefined without one. */
export function findUserProperty(block: Uint8Array, name: string): string | undefined {
  for (const [key, value] of userPropertiesOf(block)) if (key === name) return value
  return undefined
}

/** All user properties, in order. */
export function userPropertiesOf(block: Uint8Array): readonly Pair[] {
  const pairs: Pair[] = []
  walk(block, (at) => {
    const nameEnd = at + 2 + lengthAt(block, at)
    pairs.push([text(block, at + 2, nameEnd), text(block, nameEnd + 2)])
  })
  return pairs
}

/** The block without user properties whose name begins with `prefix`, and with `added`. */
export function changedBlock(block: Uint8Array, prefix: string, added: readonly Pair[]): Buffer {
  const parts: Uint8Array[] = []
  let kept = 0
  walk(block, (at, end) => {
    const name = text(block, at + 2, at + 2 + lengthAt(block, at))
    if (!name.startsWith(prefix)) return
    parts.push(block.subarray(kept, at - 1))
    kept = end
  })
  parts.push(block.subarray(kept))
  for (const [name, value] of added) parts.push(encoded(name, value))
  return Buffer.concat(parts)
}

/** Tells where each user property's name begins and its value ends. */
function walk(block: Uint8Array, found: (at: number, end: number) => void): void {
  let at = 0
  while (at < block.length) {
    const id = block[at++] as number
    const end = endOfValue(block, id, at)
    if (id === USER_PROPERTY) found(at, end)
    at = end
  }
}

function endOfValue(block: Uint8Array, id: number, at: number): number {
  const fixed = FIXED.get(id)
  if (fixed !== undefined) return at + fixed
  const end = at + 2 + lengthAt(block, at)
  return id === USER_PROPERTY ? end + 2 + lengthAt(block, end) : end
}

function lengthAt(block: Uint8Array, at: number): number {
  return ((block[at] ?? 0) << 8) | (block[at + 1] ?? 0)
}

function text(block: Uint8Array, at: number, end: number = at + lengthAt(block, at - 2)): string {
  return Buffer.from(block.buffer, block.byteOffset + at, end - at).toString()
}

function encoded(name: string, value: string): Buffer {
  const [key, content] = [Buffer.from(name), Buffer.from(value)]
  const head = Buffer.from([USER_PROPERTY, key.length >> 8, key.length & 0xff])
  const middle = Buffer.from([content.length >> 8, content.length & 0xff])
  return Buffer.concat([head, key, middle, content])
}
