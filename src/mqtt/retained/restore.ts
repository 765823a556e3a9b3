/** The retained messages at a start: the documents, then the log from where they end (R2). */
import { messageOf } from '../../base/errors.ts'
import type { Logger } from '../../base/logger.ts'
import {
  asPosition,
  type EventLog,
  isOutOfService,
  type LogRecord,
  type Position,
} from '../../log/log.ts'
import { APPLIED_KIND, decodeApplied, decodeRetained, RETAINED_KIND } from './document.ts'
import type { DocumentWriter } from './document-writer.ts'
import type { Payloads } from './payloads.ts'

const PAGE_RECORDS = 1000
const PAGE_BYTES = 1024 * 1024
/**
 * More than this is read while clients are served already: some 200,000 records a second are read,
 * and a state that was lost must not keep a gateway from starting for minutes.
 */
const AWAITED_RECORDS_MAX = 200_000

/** What was found in the log is in memory until it is written; with so much it is written first. */
const HELD_BYTES_MAX = 32 * 1024 * 1024

export interface Restored {
  readonly payloads: Payloads
  readonly count: number
  restored(record: LogRecord, from: 'documents' | 'log'): void
}

interface Part {
  readonly stream: string
  /** The documents speak of records that are gone, whose positions are given out again. */
  readonly isAhead: boolean
  readonly from: Position
  readonly end: Position
}

/** `rest` settles when the log was read, and never rejects; `goesOn`: that may take a while. */
export async function restore(
  { log, logger }: { readonly log: EventLog; readonly logger: Logger },
  documents: DocumentWriter,
  retained: Restored,
): Promise<{ readonly goesOn: boolean; readonly rest: Promise<void> }> {
  await loadDocuments(log, logger, documents, retained)
  const parts = await unreadParts(log, documents)
  const count = parts.reduce((sum, { from, end }) => sum + end - from, 0)
  const goesOn = count > AWAITED_RECORDS_MAX
  if (goesOn) {
    logger.warn({ records: count }, 'retained messages are looked for in the log, which takes time')
  }
  const rest = readParts(log, parts, documents, retained).then(
    () => {
      if (goesOn) logger.info({ retained: retained.count }, 'all retained messages are found')
    },
    (thrown: unknown) => {
      logger.error(
        { reason: messageOf(thrown) },
        'the log could not be read for retained messages: some may be missing until the next start',
      )
    },
  )
  return { goesOn, rest }
}

async function loadDocuments(
  log: EventLog,
  logger: Logger,
  documents: DocumentWriter,
  retained: Restored,
): Promise<void> {
  for await (const { key, value } of log.state.documents.load(RETAINED_KIND)) {
    const record = decodeRetained(key, value)
    if (record !== undefined) {
      retained.restored(record, 'documents')
      continue
    }
    logger.warn({ topic: key }, 'a retained message cannot be read: it is forgotten')
    documents.forget(key)
  }
}

/** What of each stream the documents do not have yet. */
async function unreadParts(log: EventLog, documents: DocumentWriter): Promise<Part[]> {
  const applied = new Map<string, number>()
  for await (const { key, value } of log.state.documents.load(APPLIED_KIND)) {
    applied.set(key, decodeApplied(value))
  }
  const parts: Part[] = []
  for (const { name } of log.streams) {
    const end = await endOf(log, name)
    if (end === undefined) continue
    const known = asPosition(applied.get(name) ?? 0)
    documents.appliedTo(name, known)
    // Records that were acknowledged unsynced may be gone: then the documents are ahead.
    const isAhead = known > end
    parts.push({ stream: name, isAhead, from: isAhead ? end : known, end })
  }
  return parts
}

/** Undefined: the stream is out of service, and what it holds is read at a later start. */
async function endOf(log: EventLog, stream: string): Promise<Position | undefined> {
  try {
    return (await log.bounds(stream)).end
  } catch (thrown) {
    if (isOutOfService(thrown)) return undefined
    throw thrown
  }
}

async function readParts(
  log: EventLog,
  parts: readonly Part[],
  documents: DocumentWriter,
  retained: Restored,
): Promise<void> {
  for (const { stream, from, end } of parts) {
    let next = from
    while (next < end) {
      const query = { stream, from: next, recordsMax: PAGE_RECORDS, bytesMax: PAGE_BYTES }
      const page = await log.read(query)
      const found = page.records.filter(({ retain, position }) => retain && position < end)
      for (const record of found) retained.restored(record, 'log')
      if (retained.payloads.heldBytes > HELD_BYTES_MAX) {
        await documents.write()
        retained.payloads.trim()
      }
      if (page.next <= next) break
      next = page.next
    }
  }
  const ends = new Map(parts.map(({ stream, end }) => [stream, end]))
  const written = documents.restored(ends).then(() => retained.payloads.trim())
  // Else nobody waits for the write: until it is done, a start would read the same once more.
  if (parts.some(({ isAhead }) => isAhead)) await written
}
