/** Opens a disk image as a gateway would, and says everything that is wrong with what it finds. */
import { systemClock } from '../../../src/base/clock.ts'
import { messageOf } from '../../../src/base/errors.ts'
import { asPosition, type EventLog, type LogRecord } from '../../../src/log/log.ts'
import { openLog } from '../../../src/log/open.ts'
import { openLogReader } from '../../../src/log/reader/log-reader.ts'
import { BOUNDS, idOf, type Load, propertiesOf, STREAMS } from './load.ts'

export interface Promised {
  /** Per stream: the record's number by its position. */
  readonly acked: ReadonlyMap<string, ReadonlyMap<number, number>>
  /** The highest boot number that was given out. */
  readonly boot: number
}

export interface Checked {
  readonly records: number
  readonly ackedRecords: number
  /** Acknowledged and not there. */
  readonly lostRecords: number
  readonly faults: readonly string[]
}

/** Numbers of records that only the check appends. */
const OWN_IDS_FROM = 1_000_000_000

/** What was promised by marks: lines `acked <stream> <position> <number>` and `boot <number>`. */
export function promisedBy(lines: readonly string[], streams: readonly string[]): Promised {
  const acked = new Map<string, Map<number, number>>(streams.map((name) => [name, new Map()]))
  let boot = 0
  for (const line of lines) {
    const [word, first = '', position, id] = line.split(' ')
    if (word === 'boot') boot = Math.max(boot, Number(first))
    if (word === 'acked') acked.get(first)?.set(Number(position), Number(id))
  }
  return { acked, boot }
}

/** Never rejects: what does not open is a fault too. */
export async function checkImage(
  dataDir: string,
  promised: Promised,
  load: Load,
): Promise<Checked> {
  const faults: string[] = []
  let found = new Map<string, number[]>()
  let lostRecords = 0
  try {
    const log = await openLog({ dataDir, streams: STREAMS, clock: systemClock, ...BOUNDS })
    try {
      if (log.boot <= promised.boot) faults.push(`boot ${log.boot} was given out before`)
      found = readAll(dataDir, load, faults)
      lostRecords = lost(found, promised, faults)
      await appendToEach(log, load, found, faults)
    } finally {
      await log.close()
    }
    const again = readAll(dataDir, load, faults)
    for (const [name, ids] of found) {
      if (String(again.get(name)) !== String(ids)) faults.push(`${name} is another after a close`)
    }
  } catch (thrown) {
    faults.push(`it failed: ${messageOf(thrown)}`)
  }
  const sum = (counts: Iterable<number>) => [...counts].reduce((total, count) => total + count, 0)
  return {
    records: sum([...found.values()].map((ids) => ids.length)),
    ackedRecords: sum([...promised.acked.values()].map((ids) => ids.size)),
    lostRecords,
    faults,
  }
}

/** The numbers of each stream's records in position order; every place and byte is looked at. */
function readAll(dataDir: string, load: Load, faults: string[]): Map<string, number[]> {
  const found = new Map<string, number[]>()
  const seen = new Set<number>()
  const reader = openLogReader(dataDir)
  try {
    for (const { name } of STREAMS) {
      const ids: number[] = []
      found.set(name, ids)
      const nextOffsets = new Map<number, number>()
      for (let from = 0; ; ) {
        const query = { stream: name, from: asPosition(from), recordsMax: 500, bytesMax: 4e6 }
        const page = reader.read(query)
        for (const record of page.records) {
          const offset = nextOffsets.get(record.partition) ?? 0
          nextOffsets.set(record.partition, offset + 1)
          const id = idOf(record.properties)
          const fault = faultOf(record, ids.length, offset, load.payload(id))
          if (fault !== undefined) faults.push(`${name}: ${fault}`)
          if (seen.has(id)) faults.push(`${name}: the message ${id} is in the log twice`)
          seen.add(id)
          ids.push(id)
        }
        from = page.next
        if (page.next >= page.end) break
      }
    }
  } catch (thrown) {
    faults.push(`reading failed: ${messageOf(thrown)}`)
  } finally {
    reader.close()
  }
  return found
}

function faultOf(
  record: LogRecord,
  position: number,
  offset: number,
  payload: Buffer,
): string | undefined {
  const { position: p, offset: o, partition } = record
  if (p !== position) return `position ${p} where ${position} comes next`
  if (o !== offset) return `offset ${o} where ${offset} comes next in partition ${partition}`
  if (!payload.equals(record.payload)) return `the payload at position ${p} is another`
  return undefined
}

function lost(found: Map<string, number[]>, promised: Promised, faults: string[]): number {
  let count = 0
  for (const [name, acked] of promised.acked) {
    const ids = found.get(name) ?? []
    const missing = [...acked].filter(([position, id]) => ids[position] !== id)
    count += missing.length
    const [first] = missing
    if (first === undefined) continue
    faults.push(
      `${name}: ${missing.length} of ${acked.size} acknowledged records are not there, ` +
        `the first at position ${first[0]}; the log ends at ${ids.length}`,
    )
  }
  return count
}

/** The log must go on where it ended; adds what it appends to `found`. */
async function appendToEach(
  log: EventLog,
  load: Load,
  found: Map<string, number[]>,
  faults: string[],
): Promise<void> {
  for (const [index, { name }] of STREAMS.entries()) {
    const id = OWN_IDS_FROM + index
    const ids = found.get(name) ?? []
    const properties = propertiesOf(id)
    const bytes = Buffer.concat([properties, load.payload(id)])
    const [outcome, position] = await new Promise<[string, number]>((resolve) => {
      log.append({
        route: log.route(`${name}/1`),
        client: log.client('after'),
        qos: 1,
        retain: false,
        key: undefined,
        bytes,
        propertiesAt: 0,
        propertiesEnd: properties.length,
        payloadAt: properties.length,
        payloadEnd: bytes.length,
        waiter: { settled: (done, record) => resolve([done, record.position]) },
      })
    })
    if (outcome !== 'kept') faults.push(`${name}: a new record is ${outcome}`)
    if (position !== ids.length) faults.push(`${name} goes on at ${position}, not ${ids.length}`)
    ids.push(id)
  }
}
