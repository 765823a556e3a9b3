/** Reads data directories and says everything that is wrong with them. */
import { asPosition, type LogRecord } from '../../src/log/log.ts'
import { openLogReader } from '../../src/log/reader/log-reader.ts'
import { type NumberedPublisher, sentIn } from './load.ts'

export interface AuditReport {
  readonly records: number
  readonly faults: readonly string[]
}

/**
 * Holes and repeats of positions and offsets, lost and repeated messages, and messages out of
 * order.
 */
export function audit(dataDir: string, publishers: readonly NumberedPublisher[]): AuditReport {
  return new Audit(publishers).look(dataDir)
}

export interface AuditOptions {
  /**
   * Streams may begin later than with their first record, because retention removed segments: a
   * publisher's messages may then be missing from its first on, none further back.
   */
  readonly removed?: boolean
}

/**
 * An audit in several looks: each reads only what came since the one before, and expects that all
 * it has seen was there to stay.
 */
export class Audit {
  /** Where each stream begins, as of the first look. */
  readonly firsts = new Map<string, number>()
  private readonly publishers: readonly NumberedPublisher[]
  private readonly removed: boolean
  /** By stream and kind of number: the one that comes next. */
  private readonly next = new Map<string, number>()
  private readonly seen = new Map<string, SeenMessages>()
  private records = 0

  constructor(publishers: readonly NumberedPublisher[], options: AuditOptions = {}) {
    this.publishers = publishers
    this.removed = options.removed ?? false
    for (const { name } of publishers) {
      this.seen.set(name, { first: undefined, last: 0, sequences: new Set() })
    }
  }

  /** Records of all looks, faults of this one. */
  look(dataDir: string): AuditReport {
    const faults: string[] = []
    const reader = openLogReader(dataDir)
    try {
      for (const stream of reader.streams()) {
        const from = this.next.get(`${stream} position`) ?? 0
        for (const record of recordsOf(reader, stream, from)) this.take(record, stream, faults)
      }
    } finally {
      reader.close()
    }
    for (const publisher of this.publishers) this.checkPublisher(publisher, faults)
    return { records: this.records, faults }
  }

  private take(record: LogRecord, stream: string, faults: string[]): void {
    this.records++
    if (!this.firsts.has(stream)) this.firsts.set(stream, record.position)
    this.dense('position', record.position, stream, faults)
    this.dense(`offset of partition ${record.partition}`, record.offset, stream, faults)
    const { publisher, sequence } = sentIn(record.payload)
    const seen = this.seen.get(publisher)
    if (seen === undefined) return
    if (seen.sequences.has(sequence)) {
      faults.push(`${publisher}: message ${sequence} is in the log twice`)
    } else if (sequence < seen.last) {
      faults.push(`${publisher}: message ${sequence} is out of order`)
    }
    seen.first ??= sequence
    seen.last = sequence
    seen.sequences.add(sequence)
  }

  private dense(what: string, found: number, stream: string, faults: string[]): void {
    const key = `${stream} ${what}`
    const expected = this.next.get(key) ?? (this.removed ? found : 0)
    if (found !== expected) {
      faults.push(`${stream}: ${what} is ${found} where ${expected} comes next`)
    }
    this.next.set(key, found + 1)
  }

  private checkPublisher({ name, acknowledged }: NumberedPublisher, faults: string[]): void {
    const seen = this.seen.get(name)
    const from = this.removed ? (seen?.first ?? Number.POSITIVE_INFINITY) : 0
    const lost: number[] = []
    for (const sequence of acknowledged) {
      if (sequence >= from && seen?.sequences.has(sequence) !== true) lost.push(sequence)
    }
    if (lost.length === 0) return
    const few = `${lost.slice(0, 10).join(' ')} …`
    faults.push(`${name}: acknowledged and not in the log: ${few} (${lost.length})`)
  }
}

interface SeenMessages {
  first: number | undefined
  last: number
  readonly sequences: Set<number>
}

function* recordsOf(
  reader: ReturnType<typeof openLogReader>,
  stream: string,
  first: number,
): Generator<LogRecord> {
  let from = asPosition(first)
  for (;;) {
    const page = reader.read({ stream, from, recordsMax: 5000, bytesMax: 4 * 1024 * 1024 })
    yield* page.records
    if (page.next >= page.end) return
    from = page.next
  }
}
