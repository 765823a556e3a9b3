/**
 * `sluice bridge`: asks the running gateway over HTTP, because what a bridge does now is in its
 * memory; a gateway that does not run has no bridge, only cursors ("sluice cursors").
 */
import { readFileSync } from 'node:fs'
import { messageOf } from '../base/errors.ts'
import type { BridgeStatus, ForwardStatus } from '../bridge/bridge.ts'
import type { CliContext } from './context.ts'
import { ageText } from './cursors.ts'
import { printable } from './format.ts'
import { type Place, settingsOf } from './place.ts'
import { tableLines } from './table.ts'

export interface BridgeOptions extends Place {
  /** Where the gateway's HTTP is; the configuration says it otherwise. */
  readonly url?: string
  readonly format?: 'text' | 'json'
}

export interface BridgeSeekOptions extends BridgeOptions {
  readonly to: string
  readonly stream?: string
}

const TIMEOUT_MS = 10_000
/** The least that is shown of a forecast: what lies beyond a year is no forecast. */
const FORECAST_MS_MAX = 365 * 86_400_000

/** Prints what each bridge does, or one of them. Exit code 1 when one of them is not up. */
export async function bridgeStatus(
  name: string | undefined,
  options: BridgeOptions,
  context: CliContext,
): Promise<number> {
  const answer = await ask('GET', '/v1/bridges', undefined, options, context)
  if (answer === undefined) return 1
  const all = (answer as { bridges: readonly BridgeStatus[] }).bridges
  const shown = name === undefined ? all : all.filter((bridge) => bridge.name === name)
  if (shown.length === 0) {
    const what = name === undefined ? 'the gateway has no bridge' : `there is no bridge "${name}"`
    context.output.err(`sluice: ${printable(what)}\n`)
    return 1
  }
  const lines =
    options.format === 'json'
      ? shown.map((bridge) => printable(JSON.stringify(bridge)))
      : shown.flatMap((bridge) => textOf(bridge))
  await context.data.write(lines.map((line) => `${line}\n`).join(''))
  return shown.every(({ state }) => state === 'up') ? 0 : 1
}

export async function bridgePause(
  name: string,
  options: BridgeOptions,
  context: CliContext,
): Promise<number> {
  const answer = await ask('POST', pathOf(name, 'pause'), {}, options, context)
  if (answer === undefined) return 1
  context.output.out(`${printable(name)} is paused and keeps its place, also across restarts\n`)
  return 0
}

export async function bridgeResume(
  name: string,
  options: BridgeOptions,
  context: CliContext,
): Promise<number> {
  const answer = await ask('POST', pathOf(name, 'resume'), {}, options, context)
  if (answer === undefined) return 1
  context.output.out(`${printable(name)} goes on\n`)
  return 0
}

export async function bridgeSeek(
  name: string,
  options: BridgeSeekOptions,
  context: CliContext,
): Promise<number> {
  const { to, stream } = options
  const body = stream === undefined ? { to } : { to, stream }
  const answer = await ask('POST', pathOf(name, 'seek'), body, options, context)
  if (answer === undefined) return 1
  const { moved } = answer as { moved: readonly { cursor: string; position: number }[] }
  for (const { cursor, position } of moved) {
    context.output.out(`${printable(cursor)} reads from ${position} on\n`)
  }
  return 0
}

function pathOf(name: string, what: string): string {
  return `/v1/bridges/${encodeURIComponent(name)}/${what}`
}

/** The answer; undefined once it was said why there is none. */
async function ask(
  method: 'GET' | 'POST',
  path: string,
  body: object | undefined,
  options: BridgeOptions,
  context: CliContext,
): Promise<unknown> {
  const target = targetOf(options, context)
  if (target === undefined) return undefined
  const { url, token } = target
  const headers: Record<string, string> = { 'content-type': 'application/json' }
  if (token !== undefined) headers['authorization'] = `Bearer ${token}`
  const sent = body === undefined ? {} : { body: JSON.stringify(body) }
  let response: Response
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS)
    response = await fetch(new URL(path, url), { method, headers, signal, ...sent })
  } catch (thrown) {
    const why = thrown instanceof Error && thrown.cause !== undefined ? thrown.cause : thrown
    context.output.err(
      `sluice: the gateway does not answer at ${url}: ${messageOf(why)}\n` +
        'Start it, or name where its HTTP listens with --url.\n',
    )
    return undefined
  }
  const answer: unknown = await response.json().catch(() => undefined)
  if (response.ok) return answer
  const said = (answer as { message?: unknown } | undefined)?.message
  const message = typeof said === 'string' ? said : `HTTP status ${response.status}`
  context.output.err(`sluice: ${printable(message)}\n`)
  return undefined
}

function targetOf(
  options: BridgeOptions,
  context: CliContext,
): { readonly url: string; readonly token: string | undefined } | undefined {
  const settings = settingsOf(options, context)
  if (settings === undefined) return undefined
  const { host, port, tokenFile } = settings.config.http
  const name = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host
  const own = `http://${name.includes(':') ? `[${name}]` : name}:${port}`
  const url = options.url ?? own
  if (!URL.canParse(url)) {
    context.output.err(`sluice: "${printable(url)}" is no URL such as http://127.0.0.1:8080\n`)
    return undefined
  }
  try {
    const token = tokenFile === undefined ? undefined : readFileSync(tokenFile, 'utf8').trim()
    return { url, token }
  } catch (thrown) {
    context.output.err(`sluice: the file of http.token_file: ${messageOf(thrown)}\n`)
    return undefined
  }
}

function textOf(bridge: BridgeStatus): string[] {
  const { name, url, state, sentence, forMs, retryMs, lastError } = bridge
  const since = state === 'paused' ? '' : `, for ${ageText(forMs)}`
  const retry = retryMs === undefined ? '' : `; tries again in ${ageText(retryMs)}`
  const lines = [`${name}  ${url}`, `  ${state}: ${sentence}${since}${retry}`]
  if (lastError !== undefined && state === 'up') {
    const when = new Date(lastError.timeMs).toISOString()
    lines.push(`  last error: ${lastError.kind}, the upstream ${lastError.sentence} (${when})`)
  }
  const counts = [`reconnects ${bridge.reconnects}`]
  if (bridge.perDayBytes !== undefined) {
    counts.push(
      `today ${bytesText(bridge.spentTodayBytes ?? 0)} of ${bytesText(bridge.perDayBytes)}`,
    )
  }
  if (bridge.received + bridge.receiveExpired > 0) {
    counts.push(`received ${bridge.received}`, `stale ${bridge.receiveExpired}`)
  }
  lines.push(`  ${counts.join(', ')}`)
  const rows = bridge.forwards.map((forward) => rowOf(forward))
  if (rows.length > 0) lines.push(...tableLines(HEADINGS, rows).map((line) => `  ${line}`))
  for (const { trouble } of bridge.forwards) if (trouble !== undefined) lines.push(`  ${trouble}`)
  return lines.map((line) => printable(line))
}

const HEADINGS = [
  'FORWARD',
  'LAG',
  'BYTES',
  'AGE',
  'UNDER WAY',
  'SENT',
  'GAPS',
  'DRAINED IN',
  'FULL IN',
]

function rowOf(forward: ForwardStatus): string[] {
  const { lagRecords, historicalRecords } = forward
  const historical = historicalRecords === 0 ? '' : ` (${historicalRecords} historical)`
  return [
    forward.cursor,
    `${lagRecords}${historical}`,
    bytesText(forward.lagBytes),
    ageText(forward.lagAgeMs),
    String(forward.inflight),
    String(forward.sentRecords),
    String(forward.gapRecords),
    lagRecords === 0 ? '-' : forecastText(forward.drainMs),
    forecastText(forward.fullMs),
  ]
}

function forecastText(ms: number | undefined): string {
  return ms === undefined || ms > FORECAST_MS_MAX ? '-' : ageText(ms)
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const

function bytesText(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`
}
