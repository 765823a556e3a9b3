/**
 * `sluice bridge`: asks the running gateway over HTTP, because what a bridge does now is in its
 * memory; a gateway that does not run has no bridge, only cursors ("sluice cursors").
 */
import type { BridgeStatus, ForwardStatus } from '../bridge/bridge.ts'
import { askGateway, type GatewayOptions } from './ask-gateway.ts'
import type { CliContext } from './context.ts'
import { ageText } from './cursors.ts'
import { printable } from './format.ts'
import { tableLines } from './table.ts'

export interface BridgeOptions extends GatewayOptions {
  readonly format?: 'text' | 'json'
}

export interface BridgeSeekOptions extends BridgeOptions {
  readonly to: string
  readonly stream?: string
}

/** The least that is shown of a forecast: what lies beyond a year is no forecast. */
const FORECAST_MS_MAX = 365 * 86_400_000

/** Prints what each bridge does, or one of them. Exit code 1 when one of them is not up. */
export async function bridgeStatus(
  name: string | undefined,
  options: BridgeOptions,
  context: CliContext,
): Promise<number> {
  const answer = await askGateway('GET', '/v1/bridges', undefined, options, context)
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
  const answer = await askGateway('POST', pathOf(name, 'pause'), {}, options, context)
  if (answer === undefined) return 1
  context.output.out(`${printable(name)} is paused and keeps its place, also across restarts\n`)
  return 0
}

export async function bridgeResume(
  name: string,
  options: BridgeOptions,
  context: CliContext,
): Promise<number> {
  const answer = await askGateway('POST', pathOf(name, 'resume'), {}, options, context)
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
  const answer = await askGateway('POST', pathOf(name, 'seek'), body, options, context)
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
