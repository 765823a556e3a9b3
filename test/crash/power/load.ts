/** What the recorded process writes, so that whoever checks can tell what should be there. */
import { SeededRandom } from '../../../src/base/random.ts'
import type { StreamSettings } from '../../../src/log/log.ts'

/** Small bounds, so that a few hundred records fill segments, move WALs and change slabs. */
export const BOUNDS = {
  segmentBytes: 64 * 1024,
  walBytesMax: 96 * 1024,
  slabBytes: 32 * 1024,
  tailBytes: 64 * 1024,
} as const

/** The rules that promise nothing on a power loss must still open, dense and undamaged. */
export const STREAMS: readonly StreamSettings[] = [
  stream('sync', { partitions: 3 }),
  stream('slow', { lingerMs: 2 }),
  stream('write', { partitions: 2, ackAfter: 'write' }),
  stream('receive', { partitions: 2, ackAfter: 'receive' }),
]

/** The streams whose acknowledgements hold on a power loss. */
export const PROMISED: readonly string[] = STREAMS.filter(
  ({ ackAfter }) => ackAfter === 'fsync',
).map(({ name }) => name)

const PAYLOAD_BYTES_MAX = 20 * 1024
const SMALL_BYTES_MAX = 600

function stream(name: string, settings: Partial<StreamSettings>): StreamSettings {
  return {
    name,
    topics: [`${name}/#`],
    partitions: 1,
    key: { kind: 'topic' },
    ackAfter: 'fsync',
    qos0: true,
    lingerMs: 0,
    ...settings,
  }
}

/**
 * Records that their number tells: the same number has the same bytes everywhere. Payloads are
 * ranges of one random block, so that making and comparing one costs no more than a copy.
 */
export class Load {
  private readonly seed: number
  private readonly block: Buffer

  constructor(seed: number) {
    this.seed = seed
    const random = new SeededRandom(seed)
    this.block = Buffer.from(
      Uint32Array.from({ length: 16 * 1024 }, () => random.below(0x1_0000_0000)).buffer,
    )
  }

  /** 0 to 600 bytes, one in eight up to 20 KiB. */
  payload(id: number): Buffer {
    const random = new SeededRandom(this.seed ^ Math.imul(id + 1, 0x9e3779b1))
    const bytes = random.below(random.oneIn(8) ? PAYLOAD_BYTES_MAX + 1 : SMALL_BYTES_MAX)
    const at = random.below(this.block.length - bytes)
    return this.block.subarray(at, at + bytes)
  }
}

/** The number travels in the property block, because a payload may be empty. */
export function propertiesOf(id: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeDoubleLE(id)
  return bytes
}

export function idOf(properties: Uint8Array): number {
  return Buffer.from(properties).readDoubleLE(0)
}
