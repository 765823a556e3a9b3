/** Has images of a journal checked by processes of their own, and adds up what they say. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Checked } from './check.ts'

const EXAMINE = fileURLToPath(new URL('./examine.ts', import.meta.url))
/** An image takes a third of a second; one that hangs is a fault like any other. */
const SILENCE_MAX_MS = 60_000

export interface ExaminationOptions {
  readonly journal: string
  readonly loadSeed: number
  readonly imageSeed: number
  /** Half-open range of image numbers. */
  readonly from: number
  readonly to: number
  /** Streams whose acknowledgements must hold. */
  readonly streams: readonly string[]
}

export interface Tally {
  readonly images: number
  readonly records: number
  readonly ackedRecords: number
  readonly lostRecords: number
  /** Of the examining processes, added up. */
  readonly durationMs: number
  /** Each begins with the number of its image. */
  readonly faults: readonly string[]
}

type Line = Checked & { readonly image: number; readonly durationMs: number }

export const EMPTY_TALLY: Tally = {
  images: 0,
  records: 0,
  ackedRecords: 0,
  lostRecords: 0,
  durationMs: 0,
  faults: [],
}

export function addTallies(a: Tally, b: Tally): Tally {
  return {
    images: a.images + b.images,
    records: a.records + b.records,
    ackedRecords: a.ackedRecords + b.ackedRecords,
    lostRecords: a.lostRecords + b.lostRecords,
    durationMs: a.durationMs + b.durationMs,
    faults: [...a.faults, ...b.faults],
  }
}

/** Two processes share the range: the machine has two cores at least. */
export async function examine(options: ExaminationOptions): Promise<Tally> {
  const middle = Math.ceil((options.from + options.to) / 2)
  const [first, second] = await Promise.all([
    examineRange({ ...options, to: middle }),
    examineRange({ ...options, from: middle }),
  ])
  return addTallies(first, second)
}

/** An image that ends the process is a fault, and the next process begins behind it. */
async function examineRange(options: ExaminationOptions): Promise<Tally> {
  let tally = EMPTY_TALLY
  let from = options.from
  while (from < options.to) {
    const { lines, ending } = await examineOnce({ ...options, from })
    for (const line of lines) tally = addTallies(tally, tallyOf(line))
    from += lines.length
    if (ending === undefined) continue
    const faults = [`image ${from}: the process ended: ${ending}`]
    tally = addTallies(tally, { ...EMPTY_TALLY, images: 1, faults })
    from++
  }
  return tally
}

function tallyOf(line: Line): Tally {
  return {
    ...line,
    images: 1,
    faults: line.faults.map((fault) => `image ${line.image}: ${fault}`),
  }
}

/** The lines of one process; `ending` says how it ended if that was not at the end of its range. */
function examineOnce(
  options: ExaminationOptions,
): Promise<{ lines: Line[]; ending: string | undefined }> {
  const { journal, loadSeed, imageSeed, from, to, streams } = options
  const args = [journal, loadSeed, imageSeed, from, to, streams.join(',')].map(String)
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', EXAMINE, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const lines: Line[] = []
    let stderr = ''
    const silence = setTimeout(() => child.kill('SIGKILL'), SILENCE_MAX_MS)
    createInterface({ input: child.stdout }).on('line', (line) => {
      silence.refresh()
      lines.push(JSON.parse(line) as Line)
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text
    })
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(silence)
      const whole = code === 0 && lines.length === to - from
      resolve({ lines, ending: whole ? undefined : `${signal ?? code} ${stderr.trim()}` })
    })
  })
}
