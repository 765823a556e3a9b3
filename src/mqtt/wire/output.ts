/**
 * What is to be sent to one connection, collected until the end of the work at hand and then
 * written in one go: 500 deliveries cost 5 system calls, not 500. Acks are kept as numbers and
 * packed into four bytes each at the flush; everything else is written straight into a chunk from a
 * shared pool.
 *
 * The memory a peer that does not read can hold is bounded: whoever sends what may be dropped or
 * delayed asks `hasRoom` first.
 */
import type { Carrier } from '../origin.ts'
import type { MqttStats } from '../stats.ts'

const CHUNK_BYTES = 64 * 1024
/** Of all connections together; more are left to the garbage collector. */
const POOLED_CHUNKS_MAX = 64
/**
 * Answers cannot wait, so a client that asks on and never reads is not read any more past so many
 * times the limit for deliveries: a subscriber that is merely slow must still get its acks through.
 */
const UNREAD_ANSWERS_FACTOR = 4

const pool: Buffer[] = []

export class Output {
  /** The chunk that is being filled; write at `length` after `reserve`, then raise it. */
  chunk: Buffer | undefined
  length = 0
  private acks: number[] = []
  /** In the order of their writes, to be pooled again when each is done. */
  private readonly writing: Buffer[] = []
  private readonly socket: Carrier
  private readonly unsentBytesMax: number
  private readonly stats: MqttStats
  private readonly dirty: Output[]
  private isDirty = false

  /**
   * `dirty` is where an output with something to send is put until `flushAll`. A socket with more
   * than `unsentBytesMax` counts as full: deliveries wait or are dropped.
   */
  constructor(socket: Carrier, unsentBytesMax: number, stats: MqttStats, dirty: Output[]) {
    this.socket = socket
    this.unsentBytesMax = unsentBytesMax
    this.stats = stats
    this.dirty = dirty
  }

  get hasRoom(): boolean {
    return this.socket.writableLength + this.length < this.unsentBytesMax
  }

  /** The client lets answers pile up. */
  get isStuffed(): boolean {
    return this.socket.writableLength > this.unsentBytesMax * UNREAD_ANSWERS_FACTOR
  }

  /** PUBACK, PUBREC, PUBREL or PUBCOMP in the short form, which MQTT 5 allows for success. */
  ack(first: number, packetId: number): void {
    this.acks.push((first << 16) | packetId)
    this.markDirty()
  }

  bytes(bytes: Uint8Array): void {
    const at = this.reserve(bytes.length)
    ;(this.chunk as Buffer).set(bytes, at)
    this.length += bytes.length
  }

  /** Makes room for a packet of `size` bytes in `chunk` and returns where they go. */
  reserve(size: number): number {
    this.stats.packetsSent++
    // What was collected before goes out before [MQTT-4.6.0-2].
    if (this.acks.length > 0) this.packAcks()
    return this.room(size)
  }

  private room(size: number): number {
    if (this.chunk === undefined || this.length + size > this.chunk.length) {
      this.writeChunk()
      this.chunk = size > CHUNK_BYTES ? Buffer.allocUnsafeSlow(size) : (pool.pop() ?? newChunk())
    }
    this.markDirty()
    return this.length
  }

  /** Sends what was collected; acks that are still numbers came behind what is in the chunk. */
  flush(): void {
    this.isDirty = false
    if (this.chunk !== undefined && this.acks.length > 0) this.packAcks()
    if (this.acks.length > 0) this.writeAcks()
    this.writeChunk()
  }

  /** Moves the acks into the chunk, behind what is there. */
  private packAcks(): void {
    const size = this.acks.length * 4
    const at = this.room(size)
    this.pack(this.chunk as Buffer, at)
    this.length = at + size
  }

  /** Writes the acks at `at` and forgets them. */
  private pack(target: Buffer, start: number): void {
    this.stats.packetsSent += this.acks.length
    let at = start
    for (const ack of this.acks) {
      target[at] = ack >> 16
      target[at + 1] = 2
      target[at + 2] = (ack >> 8) & 255
      target[at + 3] = ack & 255
      at += 4
    }
    this.acks.length = 0
  }

  private markDirty(): void {
    if (this.isDirty) return
    this.isDirty = true
    this.dirty.push(this)
  }

  private writeAcks(): void {
    const bytes = Buffer.allocUnsafe(this.acks.length * 4)
    this.pack(bytes, 0)
    if (this.socket.destroyed) return
    this.stats.sentBytes += bytes.length
    this.socket.write(bytes)
  }

  private writeChunk(): void {
    const chunk = this.chunk
    if (chunk === undefined) return
    const length = this.length
    this.chunk = undefined
    this.length = 0
    if (length === 0 || this.socket.destroyed) {
      release(chunk)
      return
    }
    this.stats.sentBytes += length
    this.writing.push(chunk)
    this.socket.write(chunk.subarray(0, length), this.written)
  }

  private readonly written = (): void => {
    const chunk = this.writing.shift()
    if (chunk !== undefined) release(chunk)
  }
}

function newChunk(): Buffer {
  return Buffer.allocUnsafeSlow(CHUNK_BYTES)
}

function release(chunk: Buffer): void {
  if (chunk.length === CHUNK_BYTES && pool.length < POOLED_CHUNKS_MAX) pool.push(chunk)
}

/** Flushes every output that has something to send. */
export function flushAll(dirty: Output[]): void {
  for (const output of dirty) output.flush()
  dirty.length = 0
}
