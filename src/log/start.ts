/** Where a reader begins, as people and configuration write it. */
import type { Clock } from '../base/clock.ts'
import { SluiceError } from '../base/errors.ts'
import { asOffset, asPartition, type Start } from './log.ts'

const unitsMs: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

const PARTITION_END = 65_536

/**
 * `earliest`, `latest`, a time back from now (`-10m`; ms, s, m, h, d), an ISO date or time, a Unix
 * time in milliseconds, or `<partition>:<offset>`. A time without a zone is UTC: the reader and the
 * gateway may stand in two zones. Throws `start-invalid` for anything else.
 */
export function parseStart(text: string, clock: Clock): Start {
  if (text === 'earliest' || text === 'latest') return { kind: text }
  const start = parseOffset(text) ?? parseTime(text, clock)
  if (start !== undefined) return start
  throw new SluiceError('start-invalid', `"${text}" does not say where to begin`)
}

function parseOffset(text: string): Start | undefined {
  const [, partition, offset] = /^(\d+):(\d+)$/.exec(text) ?? []
  if (partition === undefined || offset === undefined) return undefined
  if (Number(partition) >= PARTITION_END || !Number.isSafeInteger(Number(offset))) return undefined
  return {
    kind: 'offset',
    partition: asPartition(Number(partition)),
    offset: asOffset(Number(offset)),
  }
}

function parseTime(text: string, clock: Clock): Start | undefined {
  const timeMs = parseBack(text, clock) ?? parseUnix(text) ?? parseIso(text)
  return timeMs === undefined ? undefined : { kind: 'time', timeMs }
}

function parseBack(text: string, clock: Clock): number | undefined {
  const [, count, unit] = /^-(\d+)(ms|s|m|h|d)$/.exec(text) ?? []
  const unitMs = unitsMs[unit ?? '']
  if (count === undefined || unitMs === undefined) return undefined
  const backMs = Number(count) * unitMs
  return Number.isSafeInteger(backMs) ? Math.max(0, clock.now() - backMs) : undefined
}

function parseUnix(text: string): number | undefined {
  return /^\d+$/.test(text) && Number.isSafeInteger(Number(text)) ? Number(text) : undefined
}

const ISO = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(Z|[+-]\d\d:\d\d)?)?$/

function parseIso(text: string): number | undefined {
  const [, date, time = '00:00', zone = 'Z'] = ISO.exec(text) ?? []
  if (date === undefined) return undefined
  // Date.parse takes February 31 for March 2: the day must come back as it was written.
  const dayMs = Date.parse(`${date}T00:00Z`)
  if (Number.isNaN(dayMs) || !new Date(dayMs).toISOString().startsWith(date)) return undefined
  const timeMs = Date.parse(`${date}T${time}${zone}`)
  return Number.isNaN(timeMs) ? undefined : timeMs
}
