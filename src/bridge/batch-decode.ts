/** Reads the batches that batch.ts builds: B1 and B3 stand there, the bytes in docs/FORMAT.md. */
import { promisify } from 'node:util'
import { gunzip as gunzipCallback, inflate as inflateCallback } from 'node:zlib'
import { codeOf, messageOf } from '../base/errors.ts'
import { CborFault, CborReader } from './cbor-reader.ts'

const inflate = promisify(inflateCallback)
const gunzip = promisify(gunzipCallback)

/** What a message may unpack to: the largest batch that can be configured, and its heads. */
export const BATCH_BYTES_MAX = 272 * 1024 ** 2
/** As the configuration has it. */
export const BATCH_RECORDS_MAX = 100_000

/** The bytes are no batch; the message says what is wrong with them. */
export class BatchError extends Error {
  override readonly name = 'BatchError'
}

export interface DecodedRecord {
  readonly topic: string
  /** The publisher's client id; empty for what the gateway itself wrote. */
  readonly client: string
  readonly partition: number
  readonly offset: number
  /** Wall time in ms since 1970. */
  readonly timeMs: number
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  readonly payload: Uint8Array
  /** The MQTT 5 property block as published, without its length; undefined when there was none. */
  readonly properties: Uint8Array | undefined
}

export interface DecodedBatch {
  readonly gateway: string
  readonly epoch: number
  readonly stream: string
  readonly records: readonly DecodedRecord[]
}

/**
 * The records of a batch, compressed or not. `bytesMax` bounds what it may unpack to. Rejects with
 * a `BatchError` for anything else than a whole batch.
 */
export async function decodeBatch(
  bytes: Uint8Array,
  bytesMax = BATCH_BYTES_MAX,
): Promise<DecodedBatch> {
  const plain = await unpacked(bytes, bytesMax)
  if (!startsWith(plain, PLAIN_START)) {
    throw new BatchError('it does not begin as a batch of version 1 does (a6 61 76 01)')
  }
  try {
    return batchOf(new CborReader(plain))
  } catch (error) {
    if (error instanceof CborFault) throw new BatchError(error.message)
    throw error
  }
}

/** Whether a message looks like a batch, without reading it: not a proof. */
export function looksLikeBatch(bytes: Uint8Array): boolean {
  return packing(bytes) !== undefined || startsWith(bytes, PLAIN_START)
}

/** A map of six, whose first key is "v" and its value 1. */
const PLAIN_START = [0xa6, 0x61, 0x76, 0x01]

/** CBOR of ours begins with neither: 0x78 would be a text, 0x1f is no item at all. */
function packing(bytes: Uint8Array): 'zlib' | 'gzip' | undefined {
  if (startsWith(bytes, [0x1f, 0x8b])) return 'gzip'
  const [first = 0, second = 0] = bytes
  const isZlib = (first & 15) === 8 && bytes.length > 1 && ((first << 8) | second) % 31 === 0
  return isZlib ? 'zlib' : undefined
}

function startsWith(bytes: Uint8Array, start: readonly number[]): boolean {
  return start.every((byte, index) => bytes[index] === byte)
}

async function unpacked(bytes: Uint8Array, bytesMax: number): Promise<Uint8Array> {
  if (bytes.length === 0) throw new BatchError('there are no bytes')
  const kind = packing(bytes)
  if (kind === undefined && bytes.length > bytesMax) throw tooLarge(bytesMax)
  if (kind === undefined) return bytes
  try {
    const options = { maxOutputLength: bytesMax }
    return kind === 'gzip' ? await gunzip(bytes, options) : await inflate(bytes, options)
  } catch (error) {
    if (codeOf(error) === 'ERR_BUFFER_TOO_LARGE') throw tooLarge(bytesMax)
    throw new BatchError(`the compressed bytes cannot be unpacked: ${messageOf(error)}`)
  }
}

function tooLarge(bytesMax: number): BatchError {
  return new BatchError(`it is larger than ${bytesMax.toLocaleString('en-US')} bytes unpacked`)
}

/** The pairs stand in one order: records cannot be read before the time that they count from. */
function batchOf(reader: CborReader): DecodedBatch {
  reader.map('the batch')
  reader.text('"v"')
  reader.integer('"v"')
  const gateway = behind(reader, 'gateway').text('the gateway')
  const epoch = behind(reader, 'epoch').integer('the epoch')
  const stream = behind(reader, 'stream').text('the stream')
  const timeMs = behind(reader, 'time').integer('the time')
  const count = behind(reader, 'records').array('"records"')
  if (count > BATCH_RECORDS_MAX) {
    throw new BatchError(`it claims ${count} records, more than ${BATCH_RECORDS_MAX}`)
  }
  const records = new RowReader(reader, timeMs).records(count)
  reader.end()
  return { gateway, epoch, stream, records }
}

/** The reader, behind a key that must be the next item. */
function behind(reader: CborReader, key: string): CborReader {
  if (reader.text(`the key "${key}"`) !== key) throw new BatchError(`the key "${key}" is missing`)
  return reader
}

/** Rows leave out what the rows before them have said. */
class RowReader {
  private readonly reader: CborReader
  private readonly names: string[] = []
  private readonly nextOffsets = new Map<number, number>()
  private timeMs: number

  constructor(reader: CborReader, timeMs: number) {
    this.reader = reader
    this.timeMs = timeMs
  }

  records(count: number): DecodedRecord[] {
    const records: DecodedRecord[] = []
    for (let index = 0; index < count; index++) records.push(this.record(`record ${index}`))
    return records
  }

  private record(where: string): DecodedRecord {
    const { reader } = this
    const items = reader.array(where)
    if (items !== 7 && items !== 8) throw new BatchError(`${where} has ${items} items, not 7 or 8`)
    const topic = this.name(`the topic of ${where}`)
    const client = this.name(`the client of ${where}`)
    const partition = reader.integer(`the partition of ${where}`)
    const next = this.nextOffsets.get(partition) ?? 0
    const offset = next + reader.integer(`the offset of ${where}`)
    this.timeMs += reader.integer(`the time of ${where}`)
    const flags = reader.integer(`the flags of ${where}`)
    const isPossible = partition >= 0 && offset >= 0 && Number.isSafeInteger(offset)
    if (!isPossible || !Number.isSafeInteger(this.timeMs)) {
      throw new BatchError(`${where} has an impossible place: partition ${partition}, ${offset}`)
    }
    const qos = flags & 3
    if (flags < 0 || flags > 7 || qos === 3) throw new BatchError(`${where} has flags ${flags}`)
    this.nextOffsets.set(partition, offset + 1)
    return {
      topic,
      client,
      partition,
      offset,
      timeMs: this.timeMs,
      qos: qos as 0 | 1 | 2,
      retain: (flags & 4) !== 0,
      payload: reader.byteString(`the payload of ${where}`),
      properties: items === 8 ? reader.byteString(`the properties of ${where}`) : undefined,
    }
  }

  private name(what: string): string {
    const { names, reader } = this
    if (reader.isText) {
      const text = reader.text(what)
      names.push(text)
      return text
    }
    const name = names[reader.integer(what)]
    if (name === undefined) throw new BatchError(`${what} is a number that no name has`)
    return name
  }
}
