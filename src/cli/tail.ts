import { setTimeout as wait } from 'node:timers/promises'
import type { LogRecord, Partition, Position } from '../log/log.ts'
import { type LogReader, openLogReader } from '../log/reader/log-reader.ts'
import { parseStart } from '../log/start.ts'
import type { CliContext } from './context.ts'
import type { DataSink } from './data-sink.ts'
import { type RecordFormat, recordFormatter } from './format.ts'
import { dataDirOf, type Place } from './place.ts'
import { countOf, filterOf, partitionFault, partitionOf, UsageError } from './tail-query.ts'

export interface TailOptions extends Place {
  readonly from?: string
  readonly partition?: string
  readonly topic?: string
  readonly follow?: boolean
  readonly limit?: string
  readonly format: RecordFormat
}

/** Short enough to look live, long enough that an idle follower costs nothing worth a number. */
const POLL_MS = 200
/** A page is one read and one write; memory holds one page. */
const PAGE_RECORDS_MAX = 512
const PAGE_BYTES_MAX = 1024 * 1024
const UNLIMITED = Number.POSITIVE_INFINITY

/**
 * Prints records of a stream from the files themselves: a gateway need not run, and one that does
 * is not disturbed. Without `follow` it ends where the stream ended when it began.
 */
export async function tail(
  stream: string,
  options: TailOptions,
  context: CliContext,
): Promise<number> {
  const follow = options.follow ?? false
  // From the beginning, so that a SIGINT while the first pages are read ends quietly as well.
  const stop = follow ? context.stopRequest() : undefined
  const limit = options.limit === undefined ? UNLIMITED : countOf('--limit', options.limit)
  const filter = options.topic === undefined ? undefined : filterOf(options.topic)
  const partition = options.partition === undefined ? undefined : partitionOf(options.partition)
  const start = parseStart(options.from ?? (follow ? 'latest' : 'earliest'), context.clock)
  const dataDir = dataDirOf(options, context)
  if (dataDir === undefined) return 1
  const reader = openLogReader(dataDir)
  try {
    const bounds = reader.bounds(stream)
    const wanted = start.kind === 'offset' ? [start.partition] : []
    if (partition !== undefined) wanted.push(partition)
    for (const fault of wanted.map((one) => partitionFault(one, bounds))) {
      // Who follows may be early: the partition's first record can still come.
      if (fault !== undefined && follow) context.output.err(`sluice: ${fault}\n`)
      else if (fault !== undefined) throw new UsageError(fault)
    }
    const range: Range = {
      stream,
      from: reader.locate(stream, start),
      end: follow ? undefined : bounds.end,
      filter,
      partition,
      limit,
      format: options.format,
    }
    if (reader.timesTrouble) context.output.err(`sluice: ${reader.timesTrouble}\n`)
    await print(reader, range, context.data, stop)
    return 0
  } finally {
    reader.close()
  }
}

interface Range {
  readonly stream: string
  readonly from: Position
  /** Undefined: for ever. */
  readonly end: Position | undefined
  readonly filter: string | undefined
  readonly partition: Partition | undefined
  readonly limit: number
  readonly format: RecordFormat
}

/** Ends at the range's end, at its limit, when stopped, or when nobody reads any more. */
async function print(
  reader: LogReader,
  { stream, end, filter, partition, limit, format, ...range }: Range,
  sink: DataSink,
  stop: AbortSignal | undefined,
): Promise<void> {
  const toLine = recordFormatter(format)
  let from = range.from
  let printed = 0
  while (printed < limit && (end === undefined || from < end) && !stop?.aborted) {
    const recordsMax = Math.min(PAGE_RECORDS_MAX, limit - printed)
    const query = { stream, from, recordsMax, bytesMax: PAGE_BYTES_MAX }
    const narrowed = {
      ...query,
      ...(partition === undefined ? {} : { partition }),
      ...(filter === undefined ? {} : { filters: [filter] }),
    }
    const page = end === undefined ? reader.read(narrowed) : reader.read(narrowed, end)
    const isNothingNew = page.next === from
    printed += page.records.length
    from = page.next
    if (page.records.length > 0 && !(await sink.write(joined(page.records, toLine)))) return
    if (isNothingNew && (end !== undefined || !(await untilNextPoll(stop)))) return
  }
}

function joined(
  records: readonly LogRecord[],
  toLine: (record: LogRecord) => string | Uint8Array,
): string | Uint8Array {
  const lines = records.map(toLine)
  return Buffer.concat(lines.map((line) => (typeof line === 'string' ? Buffer.from(line) : line)))
}

/** False when it was stopped meanwhile. */
async function untilNextPoll(stop: AbortSignal | undefined): Promise<boolean> {
  try {
    await wait(POLL_MS, undefined, stop === undefined ? {} : { signal: stop })
    return true
  } catch (error) {
    if (stop?.aborted) return false
    throw error
  }
}
