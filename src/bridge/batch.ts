/**
 * Many records in one message: what goes out of a metered link, and what reads it at the far end.
 * docs/FORMAT.md describes the bytes.
 *
 * B1. A batch is whole or nothing: it is acknowledged as one, and a batch that cannot be read to
 *     its end gives no record at all.
 * B2. A message is at most `bytesMax` long, except for a batch of one record that is longer by
 *     itself: what was read from the log must be able to leave.
 * B3. Reading is bounded: a message unpacks to `BATCH_BYTES_MAX` and `BATCH_RECORDS_MAX` at most,
 *     however little of it there is on the wire.
 */
import { promisify } from 'node:util'
import { deflate as deflateCallback, gzip as gzipCallback } from 'node:zlib'
import { assert } from '../base/assert.ts'
import type { LogRecord } from '../log/log.ts'
import { CborWriter } from './cbor-writer.ts'

export { BatchError, type DecodedBatch, type DecodedRecord, decodeBatch } from './batch-decode.ts'

const deflate = promisify(deflateCallback)
const gzip = promisify(gzipCallback)

export type BatchCompression = 'none' | 'deflate' | 'gzip'

export interface BatchLimits {
  readonly recordsMax: number
  /** Of the message before it is compressed: compression is not known before it is done. */
  readonly bytesMax: number
}

export interface BatchHead {
  readonly gateway: string
  readonly epoch: number
  readonly stream: string
}

export interface BuiltBatch {
  /** The payload of the PUBLISH; the caller's for good. */
  readonly message: Uint8Array
  readonly records: number
  /** Of the message before compression. */
  readonly plainBytes: number
}

/** Heads, numbers and lengths of a record at their longest: eleven items of at most nine bytes. */
const RECORD_HEAD_MAX = 11 * 9
/** A first buffer for a common batch; it doubles from there. */
const CAPACITY = 16 * 1024

/**
 * Collects records of one stream, in the order of its positions. After `build` it is empty and
 * ready for the next batch, also while the last one is still being compressed.
 */
export class BatchBuilder {
  private readonly limits: BatchLimits
  private readonly head: BatchHead
  private readonly writer: CborWriter
  private readonly names = new Map<string, number>()
  private readonly nextOffsets = new Map<number, number>()
  private lastTimeMs = 0
  private arrayAt = 0
  private count = 0

  constructor(limits: BatchLimits, head: BatchHead) {
    this.limits = limits
    this.head = head
    this.writer = new CborWriter(Math.min(CAPACITY, limits.bytesMax))
  }

  get records(): number {
    return this.count
  }

  /** Of the message so far, before compression; 0 without records. */
  get sizeBytes(): number {
    return this.writer.sizeBytes
  }

  /** False: the record does not fit, nothing happened, and `build` is due. Copies the record. */
  add(record: LogRecord): boolean {
    if (!record.inMemory) assert(false, `the bytes of position ${record.position} are in memory`)
    const { count, writer } = this
    if (count >= this.limits.recordsMax) return false
    // At most: a name is three bytes a character, and often only a number.
    const atMost = record.sizeBytes + record.client.length * 3 + RECORD_HEAD_MAX
    const before = writer.sizeBytes
    const mayNotFit = count > 0 && before + atMost > this.limits.bytesMax
    if (mayNotFit && !this.fits(record)) return false
    if (count === 0) this.writeHead(record)
    this.writeRecord(record)
    this.count = count + 1
    return true
  }

  /**
   * The message, compressed off the event loop; what does not get smaller stays as it is. Rejects
   * only when zlib has no memory. Must not be called without records.
   */
  async build(compress: BatchCompression): Promise<BuiltBatch> {
    const { count: records, writer } = this
    assert(records > 0, 'a batch has a record')
    writer.setArray(this.arrayAt, records)
    const plain = writer.take()
    this.count = 0
    this.names.clear()
    this.nextOffsets.clear()
    return { message: await compressed(plain, compress), records, plainBytes: plain.length }
  }

  /** Near the limit two look-ups pay: a name that is known costs no more than 5 bytes. */
  private fits(record: LogRecord): boolean {
    const before = this.writer.sizeBytes
    const topic = this.names.has(record.topic) ? 5 : 5 + Buffer.byteLength(record.topic)
    const client = this.names.has(record.client) ? 5 : 5 + Buffer.byteLength(record.client)
    const body = record.payloadEnd - record.propertiesAt
    return before + RECORD_HEAD_MAX + topic + client + body <= this.limits.bytesMax
  }

  private writeHead(record: LogRecord): void {
    const { writer, head } = this
    this.lastTimeMs = Math.round(record.timeMs)
    writer.map(6)
    writer.text('v')
    writer.integer(1)
    writer.text('gateway')
    writer.text(head.gateway)
    writer.text('epoch')
    writer.integer(head.epoch)
    writer.text('stream')
    writer.text(head.stream)
    writer.text('time')
    writer.integer(this.lastTimeMs)
    writer.text('records')
    this.arrayAt = writer.openArray()
  }

  private writeRecord(record: LogRecord): void {
    const { writer } = this
    const { partition, offset, propertiesAt, payloadAt } = record
    const hasProperties = payloadAt > propertiesAt
    const timeMs = Math.round(record.timeMs)
    writer.array(hasProperties ? 8 : 7)
    this.writeName(record.topic)
    this.writeName(record.client)
    writer.integer(partition)
    writer.integer(offset - (this.nextOffsets.get(partition) ?? 0))
    writer.integer(timeMs - this.lastTimeMs)
    writer.integer(record.qos | (record.retain ? 4 : 0))
    writer.bytes(record.bytes, payloadAt, record.payloadEnd)
    if (hasProperties) writer.bytes(record.bytes, propertiesAt, payloadAt)
    this.nextOffsets.set(partition, offset + 1)
    this.lastTimeMs = timeMs
  }

  /** A name is written once and is a number from then on. */
  private writeName(name: string): void {
    const known = this.names.get(name)
    if (known !== undefined) {
      this.writer.integer(known)
      return
    }
    this.names.set(name, this.names.size)
    this.writer.text(name)
  }
}

async function compressed(plain: Buffer, compress: BatchCompression): Promise<Uint8Array> {
  if (compress === 'none') return plain
  const smaller = compress === 'deflate' ? await deflate(plain) : await gzip(plain)
  return smaller.length < plain.length ? smaller : plain
}
