/**
 * Which partition a record goes to. Stable for ever: records that are on disk were placed by this,
 * and equal keys must keep meeting in one partition. The hash is FNV-1a, 32 bits, over the key's
 * UTF-8, and the partition is the hash modulo the number of partitions. Changing that number moves
 * keys, which is why it is a setting of the stream and not of a deployment.
 */
import type { PartitionKey } from './log.ts'
import { asPartition, type Partition } from './record.ts'

const FNV_OFFSET = 0x811c9dc5
const FNV_PRIME = 0x01000193

/** The partition of a key: below `partitions`, which is at least 1. */
export function partitionOf(key: string, partitions: number): Partition {
  return asPartition(hashOf(key) % partitions)
}

/**
 * FNV-1a over the UTF-8 of `text`, an unsigned 32-bit number. Encodes as it goes: this
 * stands on the way of each message, and a buffer for each would be garbage.
 */
export function hashOf(text: string): number {
  let hash = FNV_OFFSET
  for (let i = 0; i < text.length; i++) {
    let code = text.charCodeAt(i)
    if (code < 0x80) {
      hash = step(hash, code)
      continue
    }
    if (code >= 0xd800 && code < 0xe000) {
      code = text.codePointAt(i) ?? code
      if (code >= 0x10000) i++
      // A lone surrogate has no UTF-8: encoders write the replacement character for it.
      else code = 0xfffd
    }
    hash = hashOfWide(hash, code)
  }
  return hash >>> 0
}

/** Picks partitions for one stream; round robin takes turns from partition 0 on at each boot. */
export class Partitioner {
  private readonly key: PartitionKey
  private readonly partitions: number
  private turn = 0

  constructor(key: PartitionKey, partitions: number) {
    this.key = key
    this.partitions = partitions
  }

  /** The partition of all records with this topic; undefined when more than the topic decides. */
  fixed(topic: string): Partition | undefined {
    const { key, partitions } = this
    switch (key.kind) {
      case 'topic':
        return partitionOf(topic, partitions)
      case 'topic-level':
        return partitionOf(topicLevel(topic, key.level), partitions)
      case 'client':
      case 'user-property':
      case 'round-robin':
        return undefined
      default:
        return key satisfies never
    }
  }

  /** The partition of one record of a stream whose topics do not decide. */
  pick(client: string, property: string | undefined): Partition {
    switch (this.key.kind) {
      case 'client':
        return partitionOf(client, this.partitions)
      case 'user-property':
        return partitionOf(property ?? '', this.partitions)
      default:
        return this.nextTurn()
    }
  }

  private nextTurn(): Partition {
    const partition = this.turn
    this.turn = partition + 1 === this.partitions ? 0 : partition + 1
    return asPartition(partition)
  }
}

/**
 * Levels count from 0: level 1 of devices/d7/telemetry is d7. Without that level: the whole topic.
 */
function topicLevel(topic: string, level: number): string {
  return topic.split('/')[level] ?? topic
}

function step(hash: number, byte: number): number {
  return Math.imul(hash ^ byte, FNV_PRIME)
}

/** Two to four bytes of UTF-8. */
function hashOfWide(start: number, code: number): number {
  let hash = start
  if (code < 0x800) {
    hash = step(hash, 0xc0 | (code >> 6))
  } else if (code < 0x10000) {
    hash = step(hash, 0xe0 | (code >> 12))
    hash = step(hash, 0x80 | ((code >> 6) & 0x3f))
  } else {
    hash = step(hash, 0xf0 | (code >> 18))
    hash = step(hash, 0x80 | ((code >> 12) & 0x3f))
    hash = step(hash, 0x80 | ((code >> 6) & 0x3f))
  }
  return step(hash, 0x80 | (code & 0x3f))
}
