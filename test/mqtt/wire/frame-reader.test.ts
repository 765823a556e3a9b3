import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../../src/base/random.ts'
import { FrameReader } from '../../../src/mqtt/wire/frame-reader.ts'
import { writeVarint } from '../../../src/mqtt/wire/packets.ts'

function frame(first: number, body: Buffer): Buffer {
  const head = Buffer.alloc(5)
  head[0] = first
  return Buffer.concat([head.subarray(0, writeVarint(head, body.length, 1)), body])
}

/** Reads all chunks and returns the bodies, copied as a sink must. */
function read(reader: FrameReader, chunks: readonly Buffer[]) {
  const bodies: Buffer[] = []
  for (const chunk of chunks) {
    const fault = reader.read(chunk, (_first, bytes, _at, bodyAt, end) => {
      bodies.push(Buffer.from(bytes.subarray(bodyAt, end)))
      return true
    })
    if (fault !== undefined) return { bodies, fault }
  }
  return { bodies, fault: undefined }
}

describe('FrameReader', () => {
  it('cuts the same packets however the stream is chunked', () => {
    const random = new SeededRandom(20_261_121)
    const bodies = Array.from({ length: 300 }, () =>
      Buffer.alloc(random.pick([0, 1, 2, 126, 127, 128, 5000, 20_000]), random.below(256)),
    )
    const stream = Buffer.concat(bodies.map((body) => frame(0x30, body)))
    const chunks: Buffer[] = []
    for (let at = 0; at < stream.length; ) {
      const size = random.pick([1, 2, 3, 700, 65_536])
      chunks.push(stream.subarray(at, at + size))
      at += size
    }
    const result = read(new FrameReader(1_000_000), chunks)
    expect(result.fault, `seed ${random.seed}`).toBeUndefined()
    expect(result.bodies.map(({ length }) => length)).toEqual(bodies.map(({ length }) => length))
    expect(Buffer.concat(result.bodies).equals(Buffer.concat(bodies))).toBe(true)
  })

  it('refuses a packet over the limit from its fixed header alone', () => {
    const header = Buffer.from([0x30, 0x80, 0x80, 0x80, 0x40])
    expect(read(new FrameReader(1000), [header]).fault).toBe('too-large')
  })

  it('takes a packet of exactly the limit and none of a byte more', () => {
    const most = frame(0x30, Buffer.alloc(98))
    expect(read(new FrameReader(100), [most]).bodies).toHaveLength(1)
    expect(read(new FrameReader(99), [most]).fault).toBe('too-large')
  })

  it('calls a remaining length of five bytes malformed', () => {
    const header = Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff])
    expect(read(new FrameReader(300_000_000), [header]).fault).toBe('malformed')
  })

  it('stops where the sink says so and goes on from there', () => {
    const reader = new FrameReader(1000)
    const seen: number[] = []
    const sink = (first: number) => {
      seen.push(first)
      return first !== 0x10
    }
    reader.read(Buffer.concat([frame(0x10, Buffer.alloc(3)), frame(0x30, Buffer.alloc(4))]), sink)
    expect(seen).toEqual([0x10])
    reader.read(undefined, sink)
    expect(seen).toEqual([0x10, 0x30])
  })
})
