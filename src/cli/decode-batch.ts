import { createReadStream } from 'node:fs'
import { messageOf } from '../base/errors.ts'
import {
  BATCH_BYTES_MAX,
  BatchError,
  type DecodedBatch,
  type DecodedRecord,
  decodeBatch,
} from '../bridge/batch-decode.ts'
import type { CliContext } from './context.ts'
import { isoTime, payloadMember, printable, textPayload } from './format.ts'

export interface DecodeBatchOptions {
  readonly format: 'text' | 'json'
  /** The same as `format` json. */
  readonly json?: boolean
}

/** Lines that are written at once: memory holds the batch and not its text as well. */
const LINES_AT_ONCE = 500

/** Prints the records of a batch, from a file, or from standard input without one. */
export async function decodeBatchCommand(
  file: string | undefined,
  options: DecodeBatchOptions,
  context: CliContext,
): Promise<number> {
  const isInput = file === undefined || file === '-'
  const from = isInput ? 'standard input' : file
  const { err } = context.output
  let bytes: Uint8Array
  try {
    bytes = await contentOf(isInput ? undefined : file)
  } catch (error) {
    err(`sluice: ${from} cannot be read: ${messageOf(error)}\n`)
    return 1
  }
  let batch: DecodedBatch
  try {
    batch = await decodeBatch(bytes)
  } catch (error) {
    if (!(error instanceof BatchError)) throw error
    err(`sluice: ${from} is no batch: ${error.message}\n`)
    return 1
  }
  const { gateway, epoch, stream, records } = batch
  const head = `gateway ${gateway}, epoch ${epoch}, stream ${stream}, records ${records.length}`
  err(`sluice: ${printable(head)}, from ${bytes.length.toLocaleString('en-US')} bytes\n`)
  await print(batch, options, context)
  return 0
}

/** At most one byte more than a batch may have: the decoder then says that it is too large. */
async function contentOf(file: string | undefined): Promise<Uint8Array> {
  const stream = file === undefined ? createReadStream('', { fd: 0 }) : createReadStream(file)
  const chunks: Buffer[] = []
  let left = BATCH_BYTES_MAX + 1
  for await (const chunk of stream) {
    chunks.push((chunk as Buffer).subarray(0, left))
    left -= (chunk as Buffer).length
    if (left <= 0) break
  }
  return Buffer.concat(chunks)
}

async function print(
  batch: DecodedBatch,
  { format, json }: DecodeBatchOptions,
  context: CliContext,
): Promise<void> {
  const isJson = json === true || format === 'json'
  for (let at = 0; at < batch.records.length; at += LINES_AT_ONCE) {
    const some = batch.records.slice(at, at + LINES_AT_ONCE)
    const lines = some.map((one) => (isJson ? jsonLine(batch, one) : textLine(one)))
    if (!(await context.data.write(lines.join('')))) return
  }
}

function jsonLine({ gateway, epoch, stream }: DecodedBatch, record: DecodedRecord): string {
  const { partition, offset, timeMs, topic, client, qos, retain, properties } = record
  const names = JSON.stringify({
    ...{ gateway, epoch, stream, partition, offset, time: isoTime(timeMs) },
    ...{ topic, client, qos, retain },
    ...(properties && { properties_base64: Buffer.from(properties).toString('base64') }),
  })
  return `${printable(`${names.slice(0, -1)},${payloadMember(record.payload)}}`)}\n`
}

function textLine({ partition, offset, timeMs, topic, payload }: DecodedRecord): string {
  const place = `p${partition}:${offset}`
  return `${isoTime(timeMs)}  ${printable(topic)}  ${place}  ${textPayload(payload)}\n`
}
