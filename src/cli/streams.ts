import type { StreamBounds } from '../log/log.ts'
import { openLogReader } from '../log/reader/log-reader.ts'
import type { CliContext } from './context.ts'
import { isoTime } from './format.ts'
import { dataDirOf, type Place } from './place.ts'
import { tableLines } from './table.ts'

export interface StreamsOptions extends Place {
  readonly format: 'text' | 'json'
}

/** Prints what each stream of a data directory holds. */
export async function streams(options: StreamsOptions, context: CliContext): Promise<number> {
  const dataDir = dataDirOf(options, context)
  if (dataDir === undefined) return 1
  const reader = openLogReader(dataDir)
  try {
    const all = reader.streams().map((name) => reader.bounds(name))
    if (reader.timesTrouble) context.output.err(`sluice: ${reader.timesTrouble}\n`)
    const lines = options.format === 'json' ? all.map(streamLine) : streamTable(all)
    await context.data.write(lines.map((line) => `${line}\n`).join(''))
    return 0
  } finally {
    reader.close()
  }
}

/** One stream as a JSON object; ranges are half-open, sizes exact. */
export function streamLine(bounds: StreamBounds): string {
  const time = (ms: number | undefined) => (ms === undefined ? null : isoTime(ms))
  return JSON.stringify({
    stream: bounds.stream,
    first: bounds.first,
    end: bounds.end,
    records: bounds.end - bounds.first,
    segments: bounds.segments,
    size_bytes: bounds.sizeBytes,
    first_time: time(bounds.firstTimeMs),
    last_time: time(bounds.lastTimeMs),
    partitions: bounds.partitions,
  })
}

const HEADINGS = ['STREAM', 'RECORDS', 'SEGMENTS', 'SIZE', 'FIRST', 'LAST', 'PARTITIONS']

/** The streams as lines of aligned columns, partitions as `<partition>[first, end)`. */
export function streamTable(all: readonly StreamBounds[]): string[] {
  const rows = all.map((bounds) => [
    bounds.stream,
    String(bounds.end - bounds.first),
    String(bounds.segments),
    sizeText(bounds.sizeBytes),
    bounds.firstTimeMs === undefined ? '-' : isoTime(bounds.firstTimeMs),
    bounds.lastTimeMs === undefined ? '-' : isoTime(bounds.lastTimeMs),
    bounds.partitions
      .map(({ partition, first, end }) => `${partition}[${first}, ${end})`)
      .join(' '),
  ])
  return tableLines(HEADINGS, rows)
}

const SIZE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB']

/** A size for people: at most four digits and a binary unit. */
export function sizeText(sizeBytes: number): string {
  let size = sizeBytes
  let unit = 0
  while (size >= 1024 && unit < SIZE_UNITS.length - 1) {
    size /= 1024
    unit += 1
  }
  return `${unit === 0 || size >= 100 ? Math.round(size) : size.toFixed(1)} ${SIZE_UNITS[unit]}`
}
