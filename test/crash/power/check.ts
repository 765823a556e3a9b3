/** Opens a disk image as a gateway would, and says everything that is wrong with what it finds. */
import { systemClock } from '../../../src/base/clock.ts'
import { messageOf } from '../../../src/base/errors.ts'
import {
  asPosition,
  type EventLog,
  type Gap,
  type LogRecord,
  type LogState,
} from '../../../src/log/log.ts'
import { openLog } from '../../../src/log/open.ts'
import { openLogReader } from '../../../src/log/reader/log-reader.ts'
import { BOUNDS, idOf, type Load, propertiesOf, STREAMS } from './load.ts'
import { LAGGING, PROMPT, STREAM } from './upkeep.ts'

export interface Promised {
  /** Per stream: the record's number by its position. */
  readonly acked: ReadonlyMap<string, ReadonlyMap<number, number>>
  /** The highest boot number that was given out. */
  readonly boot: number
  /** Records before it may have been removed on purpose, by stream. */
  readonly removedEnd: ReadonlyMap<string, number>
  /** Where the cursor that commits at once stands: [least, most]; undefined before it was there. */
  readonly cursor: { readonly least: number; readonly most: number } | undefined
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

/**
 * What was promised by marks: lines `acked <stream> <position> <number>`, `boot <number>`, and
 * those of upkeep.ts.
 */
export function promisedBy(lines: readonly string[], streams: readonly string[]): Promised {
  const acked = new Map<string, Map<number, number>>(streams.map((name) => [name, new Map()]))
  const removedEnd = new Map<string, number>()
  let boot = 0
  let cursor: { least: number; most: number } | undefined
  for (const line of lines) {
    const [word, first = '', position, id] = line.split(' ')
    if (word === 'boot') boot = Math.max(boot, Number(first))
    if (word === 'acked') acked.get(first)?.set(Number(position), Number(id))
    if (word === 'removing') {
      removedEnd.set(first, Math.max(removedEnd.get(first) ?? 0, Number(position)))
    }
    if (word === 'cursors') cursor ??= { least: 0, most: 0 }
    if (word === 'moving' && cursor) cursor.most = Math.max(cursor.most, Number(first))
    if (word === 'moved' && cursor) cursor.least = Math.max(cursor.least, Number(first))
  }
  return { acked, boot, removedEnd, cursor }
}

/** Never rejects: what does not open is a fault too. */
export async function checkImage(
  dataDir: string,
  promised: Promised,
  load: Load,
): Promise<Checked> {
  const faults: string[] = []
  let found = new Map<string, Found>()
  let lostRecords = 0
  try {
    const log = await openLog({ dataDir, streams: STREAMS, clock: systemClock, ...BOUNDS })
    try {
      if (log.boot <= promised.boot) faults.push(`boot ${log.boot} was given out before`)
      const { gaps } = log.state
      const removedEnd = (stream: string) => promised.removedEnd.get(stream) ?? 0
      found = readAll(dataDir, load, (stream) => gaps.list({ stream }), removedEnd, faults)
      lostRecords = lost(found, promised, faults)
      const [first] = found.get(STREAM)?.keys() ?? []
      checkState(log.state, promised, first ?? 0, faults)
      await appendToEach(log, load, found, faults)
      const noted = new Map(STREAMS.map(({ name }) => [name, gaps.list({ stream: name })]))
      await log.close()
      const again = readAll(dataDir, load, (name) => noted.get(name) ?? [], removedEnd, faults)
      for (const [name, ids] of found) {
        const same = String([...(again.get(name) ?? [])]) === String([...ids])
        if (!same) faults.push(`${name} is another after a close`)
      }
    } finally {
      await log.close()
    }
  } catch (thrown) {
    faults.push(`it failed: ${messageOf(thrown)}`)
  }
  const sum = (counts: Iterable<number>) => [...counts].reduce((total, count) => total + count, 0)
  return {
    records: sum([...found.values()].map((ids) => ids.size)),
    ackedRecords: sum([...promised.acked.values()].map((ids) => ids.size)),
    lostRecords,
    faults,
  }
}

/** A stream's records: the number of each by its position, in order. */
type Found = Map<number, number>

/**
 * Reads every stream; every place and byte is looked at. A hole must be one that the ledger tells.
 */
function readAll(
  dataDir: string,
  load: Load,
  gapsOf: (stream: string) => readonly Gap[],
  removedEnd: (stream: string) => number,
  faults: string[],
): Map<string, Found> {
  const found = new Map<string, Found>()
  const seen = new Set<number>()
  const reader = openLogReader(dataDir)
  try {
    for (const { name } of STREAMS) {
      const ids: Found = new Map()
      found.set(name, ids)
      const places = new Places(gapsOf(name), removedEnd(name))
      for (let from = 0; ; ) {
        const query = { stream: name, from: asPosition(from), recordsMax: 500, bytesMax: 4e6 }
        const page = reader.read(query)
        for (const record of page.records) {
          const id = idOf(record.properties)
          const fault = places.faultOf(record) ?? payloadFault(record, load.payload(id))
          if (fault !== undefined) faults.push(`${name}: ${fault}`)
          if (seen.has(id)) faults.push(`${name}: the message ${id} is in the log twice`)
          seen.add(id)
          ids.set(record.position, id)
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

/**
 * Positions and offsets are dense but for gaps, and what was removed at the beginning; offsets may
 * jump where positions do.
 */
class Places {
  private readonly gaps: readonly Gap[]
  private readonly removedEnd: number
  private readonly nextOffsets = new Map<number, number>()
  private next: number | undefined
  private jumped = false

  constructor(gaps: readonly Gap[], removedEnd: number) {
    this.gaps = gaps.filter(({ cursor }) => cursor === undefined)
    this.removedEnd = removedEnd
  }

  faultOf({ position, offset, partition }: LogRecord): string | undefined {
    this.jumped ||= this.next === undefined && position > 0
    const expected = this.next ?? Math.min(position, this.removedEnd)
    this.next = position + 1
    if (position < expected) return `position ${position} where ${expected} comes next`
    for (let missing = expected; missing < position; missing++) {
      if (!this.isNoted(missing)) return `position ${missing} is missing, and no gap tells it`
    }
    this.jumped ||= position > expected
    const next = this.nextOffsets.get(partition) ?? 0
    this.nextOffsets.set(partition, offset + 1)
    const dense = this.jumped ? offset >= next : offset === next
    return dense ? undefined : `offset ${offset} where ${next} comes next in partition ${partition}`
  }

  private isNoted(position: number): boolean {
    return this.gaps.some(({ first, end }) => first <= position && position < end)
  }
}

function payloadFault(record: LogRecord, payload: Buffer): string | undefined {
  const same = payload.equals(record.payload)
  return same ? undefined : `the payload at position ${record.position} is another`
}

function lost(found: Map<string, Found>, promised: Promised, faults: string[]): number {
  let count = 0
  for (const [name, acked] of promised.acked) {
    const ids: Found = found.get(name) ?? new Map()
    const begin = Math.min(...ids.keys(), promised.removedEnd.get(name) ?? 0)
    const missing = [...acked].filter(([at, id]) => at >= begin && ids.get(at) !== id)
    count += missing.length
    const [first] = missing
    if (first === undefined) continue
    faults.push(
      `${name}: ${missing.length} of ${acked.size} acknowledged records are not there, ` +
        `the first at position ${first[0]}; it has ${ids.size}`,
    )
  }
  return count
}

/** S1, S2: nothing that a cursor had not read goes without its gap, and no commit goes back. */
function checkState(state: LogState, promised: Promised, first: number, faults: string[]): void {
  if (promised.cursor === undefined) return
  const { least, most } = promised.cursor
  const place = (name: string) => {
    const found = state.cursors.get(name)?.place
    return found?.kind === 'stream' ? Number(found.next) : -1
  }
  const prompt = place(PROMPT)
  if (prompt < least) faults.push(`the cursor was committed at ${least} and stands at ${prompt}`)
  if (prompt > Math.max(most, promised.removedEnd.get(STREAM) ?? 0)) {
    faults.push(`the cursor stands at ${prompt}, and nobody put it beyond ${most}`)
  }
  let told = 0
  for (const gap of state.gaps.list({ stream: STREAM, cursor: LAGGING })) {
    if (gap.first > told) faults.push(`no gap tells of [${told}, ${gap.first}) to the cursor`)
    told = Math.max(told, gap.end)
  }
  if (told < first) faults.push(`the stream begins at ${first}, and gaps tell only up to ${told}`)
  const lagging = place(LAGGING)
  if (lagging < 0 || lagging > told)
    faults.push(`the cursor stands at ${lagging}, told up to ${told}`)
}

/** The log must go on where it ended; adds what it appends to `found`. */
async function appendToEach(
  log: EventLog,
  load: Load,
  found: Map<string, Found>,
  faults: string[],
): Promise<void> {
  for (const [index, { name }] of STREAMS.entries()) {
    const id = OWN_IDS_FROM + index
    const ids: Found = found.get(name) ?? new Map()
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
    const last = [...ids.keys()].at(-1) ?? -1
    if (position <= last) faults.push(`${name} goes on at ${position}, behind ${last}`)
    ids.set(position, id)
  }
}
