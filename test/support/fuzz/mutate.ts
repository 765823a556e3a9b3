/** Damage to streams of packets, as radios, bugs and attackers do it. */
import type { SeededRandom } from '../../../src/base/random.ts'

/** A stream with one thing or a few things wrong; one in five stays as it is. */
export function mutate(random: SeededRandom, packets: readonly Buffer[]): Buffer[] {
  const mutated = packets.map((packet) => Buffer.from(packet))
  if (random.oneIn(5)) return mutated
  for (let faults = 1 + random.below(4); faults > 0; faults--) {
    const fault = random.pick(FAULTS)
    fault(random, mutated)
  }
  return mutated
}

type FaultOf = (random: SeededRandom, packets: Buffer[]) => void

const FAULTS: readonly FaultOf[] = [
  flipBit,
  flipBit,
  setByte,
  cutPacket,
  insertBytes,
  wrongLength,
  swap,
  repeat,
  leaveOut,
  garbage,
]

function any(random: SeededRandom, packets: readonly Buffer[]): number {
  // Rarely the CONNECT: behind a broken one nothing more is looked at.
  return packets.length > 1 && !random.oneIn(8) ? 1 + random.below(packets.length - 1) : 0
}

function change(
  random: SeededRandom,
  packets: Buffer[],
  how: (packet: Buffer, at: number) => Buffer,
): void {
  const index = any(random, packets)
  const packet = packets[index]
  if (packet === undefined || packet.length === 0) return
  // The first bytes say what and how long: there it hurts most.
  const at = random.below(random.oneIn(2) ? Math.min(8, packet.length) : packet.length)
  packets[index] = how(packet, at)
}

function flipBit(random: SeededRandom, packets: Buffer[]): void {
  change(random, packets, (packet, at) => {
    packet[at] = (packet[at] as number) ^ (1 << random.below(8))
    return packet
  })
}

function setByte(random: SeededRandom, packets: Buffer[]): void {
  change(random, packets, (packet, at) => {
    packet[at] = random.pick([0, 1, 0x7f, 0x80, 0xff, random.below(256)])
    return packet
  })
}

function cutPacket(random: SeededRandom, packets: Buffer[]): void {
  change(random, packets, (packet, at) => packet.subarray(0, at))
}

function insertBytes(random: SeededRandom, packets: Buffer[]): void {
  change(random, packets, (packet, at) =>
    Buffer.concat([
      packet.subarray(0, at),
      noise(random, 1 + random.below(8)),
      packet.subarray(at),
    ]),
  )
}

function wrongLength(random: SeededRandom, packets: Buffer[]): void {
  change(random, packets, (packet) => {
    if (packet.length > 1) packet[1] = random.below(256)
    return packet
  })
}

function swap(random: SeededRandom, packets: Buffer[]): void {
  const [a, b] = [any(random, packets), any(random, packets)]
  const [first, second] = [packets[a], packets[b]]
  if (first === undefined || second === undefined) return
  packets[a] = second
  packets[b] = first
}

function repeat(random: SeededRandom, packets: Buffer[]): void {
  const packet = packets[any(random, packets)]
  if (packet !== undefined) packets.splice(any(random, packets), 0, Buffer.from(packet))
}

function leaveOut(random: SeededRandom, packets: Buffer[]): void {
  packets.splice(any(random, packets), 1)
}

function garbage(random: SeededRandom, packets: Buffer[]): void {
  packets.splice(any(random, packets), 0, noise(random, 1 + random.below(60)))
}

function noise(random: SeededRandom, size: number): Buffer {
  return Buffer.from(Array.from({ length: size }, () => random.below(256)))
}
