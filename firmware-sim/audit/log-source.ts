/** The log as the audit reads it: with the `sluice` command, or from a running gateway by HTTP. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { type Line, lineOf, parseLine } from './lines.ts'

export interface StreamOfLog {
  readonly name: string
  /** Records before the first one that is there: removed by retention. */
  readonly removed: number
}

/** A gap as the gateway tells it. */
export interface Gap {
  readonly stream: string
  /** Null: for all who read. */
  readonly cursor: string | null
  readonly first: number
  readonly records: number
}

export interface LogSource {
  streams(): Promise<readonly StreamOfLog[]>
  records(stream: string): AsyncIterable<Line>
  gaps(): Promise<readonly Gap[]>
}

/** Reads the files of a gateway that runs or does not. `cli` is such as `node dist/main.js`. */
export class CommandSource implements LogSource {
  private readonly cli: readonly string[]
  private readonly dataDir: string

  constructor(cli: readonly string[], dataDir: string) {
    this.cli = cli
    this.dataDir = dataDir
  }

  async streams(): Promise<StreamOfLog[]> {
    const streams: StreamOfLog[] = []
    for await (const line of this.run(['streams', '--format', 'json'])) {
      const { stream, first } = objectOf(line)
      if (typeof stream === 'string') streams.push({ name: stream, removed: Number(first) })
    }
    return streams
  }

  async *records(stream: string): AsyncGenerator<Line> {
    const args = ['tail', stream, '--from', 'earliest', '--format', 'json']
    for await (const line of this.run(args)) yield parseLine(line)
  }

  async gaps(): Promise<Gap[]> {
    const gaps: Gap[] = []
    for await (const line of this.run(['gaps', '--format', 'json']))
      gaps.push(gapOf(objectOf(line)))
    return gaps
  }

  /** The lines it prints. Throws what it said when it fails. */
  private async *run(args: readonly string[]): AsyncGenerator<string> {
    const [file = '', ...rest] = this.cli
    const all = [...rest, ...args, '--data', this.dataDir]
    const child = spawn(file, all, { stdio: ['ignore', 'pipe', 'pipe'] })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-4_096)
    })
    const ended = new Promise<number | null>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', resolve)
    })
    yield* createInterface({ input: child.stdout })
    if ((await ended) !== 0) throw new Error(`sluice ${args[0]} failed: ${said.trim()}`)
  }
}

const pageRecords = 1_000

/** Asks a running gateway. */
export class HttpSource implements LogSource {
  private readonly base: string
  private readonly headers: Readonly<Record<string, string>>

  constructor(base: string, token: string | undefined) {
    this.base = base.replace(/\/$/, '')
    this.headers = token === undefined ? {} : { authorization: `Bearer ${token}` }
  }

  async streams(): Promise<StreamOfLog[]> {
    const list = listIn(await this.get('/v1/streams'), 'streams')
    return list.map((one) => ({ name: String(one['name']), removed: Number(one['first'] ?? 0) }))
  }

  async *records(stream: string): AsyncGenerator<Line> {
    let from = 'earliest'
    for (;;) {
      const query = new URLSearchParams({ from, limit: String(pageRecords) })
      const name = encodeURIComponent(stream)
      const page = await this.get(`/v1/streams/${name}/records?${query}`)
      for (const record of listIn(page, 'records')) yield lineOf(record)
      const { next, more } = page
      if (more !== true || typeof next !== 'string') return
      from = next
    }
  }

  async gaps(): Promise<Gap[]> {
    const gaps: Gap[] = []
    for (let after = 0; ; ) {
      const page = listIn(await this.get(`/v1/gaps?after=${after}&limit=${pageRecords}`), 'gaps')
      gaps.push(...page.map(gapOf))
      if (page.length < pageRecords) return gaps
      after = Number(page.at(-1)?.['id'])
    }
  }

  private async get(path: string): Promise<Record<string, unknown>> {
    const response = await fetch(this.base + path, { headers: this.headers })
    const text = await response.text()
    if (!response.ok) throw new Error(`GET ${path} answers ${response.status}: ${text}`)
    return objectOf(text)
  }
}

function objectOf(text: string): Record<string, unknown> {
  const value: unknown = JSON.parse(text)
  if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  throw new Error(`not an object: ${text.slice(0, 80)}`)
}

function listIn(value: Record<string, unknown>, name: string): Record<string, unknown>[] {
  const list = value[name]
  if (Array.isArray(list)) return list as Record<string, unknown>[]
  throw new Error(`the gateway's answer has no "${name}"`)
}

function gapOf(gap: Record<string, unknown>): Gap {
  const { stream, cursor, first, records } = gap
  return {
    stream: String(stream),
    cursor: typeof cursor === 'string' ? cursor : null,
    first: Number(first),
    records: Number(records),
  }
}
