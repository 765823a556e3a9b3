/** Reads a whole data directory and says everything that is wrong with it. */
import { asPosition, type LogRecord } from '../../src/log/log.ts'
import { openLogReader } from '../../src/log/reader/log-reader.ts'
import type { NumberedPublisher, Sent } from './load.ts'

export interface AuditReport {
  readonly records: number
  readonly faults: readonly string[]
}

/**
 * Holes and repeats of positions and offsets, lost and repeated messages, and messages out of
 * order.
 */
export function audit(dataDir: string, publishers: readonly NumberedPublisher[]): AuditReport {
  const faults: string[] = []
  const reader = openLogReader(dataDir)
  const seen = new Map<string, number[]>(publishers.map(({ name }) => [name, []]))
  let records = 0
  try {
    for (const stream of reader.streams()) {
      const next = new Map<string, number>([['position', 0]])
      for (const record of recordsOf(reader, stream)) {
        records++
        dense(next, 'position', record.position, stream, faults)
        dense(next, `offset of partition ${record.partition}`, record.offset, stream, faults)
        const { publisher, sequence } = JSON.parse(Buffer.from(record.payload).toString()) as Sent
        seen.get(publisher)?.push(sequence)
      }
    }
  } finally {
    reader.close()
  }
  for (const publisher of publishers)
    checkPublisher(publisher, seen.get(publisher.name) ?? [], faults)
  return { records, faults }
}

function* recordsOf(
  reader: ReturnType<typeof openLogReader>,
  stream: string,
): Generator<LogRecord> {
  let from = asPosition(0)
  for (;;) {
    const page = reader.read({ stream, from, recordsMax: 5000, bytesMax: 4 * 1024 * 1024 })
    yield* page.records
    if (page.next >= page.end) return
    from = page.next
  }
}

function dense(
  next: Map<string, number>,
  what: string,
  found: number,
  stream: string,
  faults: string[],
): void {
  const expected = next.get(what) ?? 0
  if (found !== expected) faults.push(`${stream}: ${what} is ${found} where ${expected} comes next`)
  next.set(what, found + 1)
}

function checkPublisher(publisher: NumberedPublisher, logged: number[], faults: string[]): void {
  const { name } = publisher
  const distinct = new Set(logged)
  if (distinct.size < logged.length) {
    faults.push(`${name}: ${logged.length - distinct.size} messages are in the log twice`)
  }
  const lost = [...publisher.acknowledged].filter((sequence) => !distinct.has(sequence))
  if (lost.length > 0) {
    faults.push(`${name}: acknowledged and not in the log: ${lost.slice(0, 10).join(' ')} …`)
  }
  const disorder = logged.findIndex((sequence, i) => i > 0 && sequence < (logged[i - 1] ?? 0))
  if (disorder >= 0) faults.push(`${name}: message ${logged[disorder]} is out of order`)
}
