import { SluiceError } from '../base/errors.ts'
import type { Cursor, CursorLag, CursorPlace } from '../log/log.ts'
import { openLogReader } from '../log/reader/log-reader.ts'
import { type StateView, viewState } from '../log/state/offline.ts'
import type { CliContext } from './context.ts'
import { isoTime, printable } from './format.ts'
import { dataDirOf, type Place } from './place.ts'
import { tableLines } from './table.ts'

export interface CursorsOptions extends Place {
  readonly format: 'text' | 'json'
}

interface Listed {
  readonly cursor: Cursor
  /** Undefined when its stream is not there. */
  readonly lag: CursorLag | undefined
}

/** Prints each cursor: where it stands, and what it has not read. */
export async function cursors(options: CursorsOptions, context: CliContext): Promise<number> {
  const dataDir = dataDirOf(options, context)
  if (dataDir === undefined) return 1
  const reader = openLogReader(dataDir)
  try {
    const listed = await listCursors(viewState(dataDir, reader, context.clock))
    const lines = options.format === 'json' ? listed.map(cursorLine) : cursorTable(listed)
    await context.data.write(lines.map((line) => `${line}\n`).join(''))
    return 0
  } finally {
    reader.close()
  }
}

async function listCursors({ cursors: all }: StateView): Promise<Listed[]> {
  const listed: Listed[] = []
  for (const cursor of [...all.list()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    listed.push({ cursor, lag: await lagOf(all, cursor.name) })
  }
  return listed
}

async function lagOf(all: StateView['cursors'], name: string): Promise<CursorLag | undefined> {
  try {
    return await all.lag(name)
  } catch (thrown) {
    if (thrown instanceof SluiceError && thrown.code === 'stream-unknown') return undefined
    throw thrown
  }
}

function cursorLine({ cursor, lag }: Listed): string {
  const { name, stream, place, updatedMs } = cursor
  return printable(
    JSON.stringify({
      cursor: name,
      stream,
      ...(place.kind === 'stream'
        ? { position: place.next }
        : { offsets: Object.fromEntries(place.next) }),
      lag_records: lag?.records ?? null,
      lag_bytes_estimate: lag?.sizeBytes ?? null,
      lag_age_ms: lag === undefined ? null : Math.round(lag.ageMs),
      updated: isoTime(updatedMs),
    }),
  )
}

const HEADINGS = ['CURSOR', 'STREAM', 'PLACE', 'LAG', 'AGE']

function cursorTable(listed: readonly Listed[]): string[] {
  return tableLines(
    HEADINGS,
    listed.map(({ cursor: { name, stream, place }, lag }) => [
      printable(name),
      printable(stream),
      placeText(place),
      lag === undefined ? '-' : String(lag.records),
      lag === undefined ? '-' : ageText(lag.ageMs),
    ]),
  )
}

/** The next record: a position, or `<partition>:<offset>` for each partition. */
export function placeText(place: CursorPlace): string {
  if (place.kind === 'stream') return String(place.next)
  return [...place.next].map(([partition, offset]) => `${partition}:${offset}`).join(' ')
}

const AGE_UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
] as const

/** An age for people: its two largest units. */
export function ageText(ageMs: number): string {
  const at = AGE_UNITS.findIndex(([, unitMs]) => ageMs >= unitMs)
  const [large, small] = at < 0 ? [AGE_UNITS[3], undefined] : [AGE_UNITS[at], AGE_UNITS[at + 1]]
  if (large === undefined) return ''
  const count = Math.floor(ageMs / large[1])
  const rest = small === undefined ? 0 : Math.floor((ageMs - count * large[1]) / small[1])
  return `${count}${large[0]}${small === undefined || rest === 0 ? '' : ` ${rest}${small[0]}`}`
}
