import { type Gap, gapReasons } from '../log/log.ts'
import { openLogReader } from '../log/reader/log-reader.ts'
import { type StateView, viewState } from '../log/state/offline.ts'
import type { CliContext } from './context.ts'
import { isoTime, printable } from './format.ts'
import { dataDirOf, type Place } from './place.ts'
import { sizeText } from './streams.ts'
import { tableLines } from './table.ts'

export interface GapsOptions extends Place {
  readonly stream?: string
  readonly cursor?: string
  readonly format: 'text' | 'json'
}

/** Prints what was lost before somebody had read it, oldest first. */
export async function gaps(options: GapsOptions, context: CliContext): Promise<number> {
  const dataDir = dataDirOf(options, context)
  if (dataDir === undefined) return 1
  const { stream, cursor, format } = options
  const reader = openLogReader(dataDir)
  try {
    const state = viewState(dataDir, reader, context.clock)
    const found = state.gaps.list({ ...(stream && { stream }), ...(cursor && { cursor }) })
    const isWhole = stream === undefined && cursor === undefined
    const lines =
      format === 'json'
        ? found.map(gapLine)
        : [...gapTable(found), ...(isWhole ? totalLines(state.gaps.totals()) : [])]
    await context.data.write(lines.map((line) => `${line}\n`).join(''))
    const { forgotten } = state.gaps
    if (forgotten > 0) {
      context.output.err(`sluice: ${forgotten} older gaps are left in the totals alone\n`)
    }
    return 0
  } finally {
    reader.close()
  }
}

/** One gap as a JSON object; the range is half-open. */
export function gapLine(gap: Gap): string {
  return printable(
    JSON.stringify({
      id: gap.id,
      stream: gap.stream,
      cursor: gap.cursor ?? null,
      first: gap.first,
      end: gap.end,
      records: gap.records,
      size_bytes: gap.sizeBytes,
      reason: gap.reason,
      time: isoTime(gap.timeMs),
    }),
  )
}

const HEADINGS = ['TIME', 'STREAM', 'CURSOR', 'RANGE', 'RECORDS', 'SIZE', 'REASON']

/** The gaps as lines of aligned columns; `-` for a cursor: gone for every reader. */
export function gapTable(found: readonly Gap[]): string[] {
  return tableLines(
    HEADINGS,
    found.map((gap) => [
      isoTime(gap.timeMs),
      printable(gap.stream),
      gap.cursor === undefined ? '-' : printable(gap.cursor),
      `[${gap.first}, ${gap.end})`,
      String(gap.records),
      sizeText(gap.sizeBytes),
      gap.reason,
    ]),
  )
}

function totalLines(totals: ReturnType<StateView['gaps']['totals']>): string[] {
  const rows = gapReasons.flatMap((reason) => {
    const { records, sizeBytes } = totals[reason]
    return records === 0 ? [] : [[reason, String(records), sizeText(sizeBytes)]]
  })
  return rows.length === 0 ? [] : ['', ...tableLines(['IN ALL', 'RECORDS', 'SIZE'], rows)]
}
