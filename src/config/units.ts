/**
 * The notations of the configuration: a whole number and its unit, nothing between them. Each
 * parser gives undefined for anything else, and for what does not fit a safe integer, so that the
 * caller can say which form it wants. Whole numbers only: "1.5h" is "90m", and there is one way to
 * write it.
 */
const durationUnits: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
}

const sizeUnits: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
}

/** "250ms", "5s", "10m", "6h", "7d" in milliseconds. */
export function parseDurationMs(text: string): number | undefined {
  return parseScaled(text, durationUnits)
}

/** "512B", "64KiB", "256MiB", "2GiB" in bytes. Powers of 1024 only: "KB" has two meanings. */
export function parseSizeBytes(text: string): number | undefined {
  return parseScaled(text, sizeUnits)
}

/** "500/s" as a number per second. */
export function parseRatePerSecond(text: string): number | undefined {
  const digits = /^(\d+)\/s$/.exec(text)?.[1]
  return digits === undefined ? undefined : safe(Number(digits))
}

/** "200KiB/s" in bytes per second. */
export function parseBytesPerSecond(text: string): number | undefined {
  return text.endsWith('/s') ? parseSizeBytes(text.slice(0, -2)) : undefined
}

/** "22:00-06:00" as minutes of the day, half-open; it may pass midnight, and is not empty. */
export function parseDayWindow(
  text: string,
): { readonly fromMinute: number; readonly endMinute: number } | undefined {
  const time = '([01]\\d|2[0-3]):([0-5]\\d)'
  const digits = new RegExp(`^${time}-${time}$`).exec(text)
  if (digits === null) return undefined
  const fromMinute = Number(digits[1]) * 60 + Number(digits[2])
  const endMinute = Number(digits[3]) * 60 + Number(digits[4])
  return fromMinute === endMinute ? undefined : { fromMinute, endMinute }
}

/** "5%" or "0.5%", from 0 to 100. */
export function parsePercent(text: string): number | undefined {
  const digits = /^(\d{1,3}(?:\.\d{1,3})?)%$/.exec(text)?.[1]
  const percent = Number(digits)
  return percent <= 100 ? percent : undefined
}

/** Bytes in the largest unit that leaves a whole number: 65536 is "64KiB". */
export function formatSize(bytes: number): string {
  return formatScaled(bytes, sizeUnits, 'B')
}

/** Milliseconds in the largest unit that leaves a whole number: 90000 is "90s". */
export function formatDuration(ms: number): string {
  return formatScaled(ms, durationUnits, 'ms')
}

function parseScaled(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^(\d+)([A-Za-z]+)$/.exec(text)
  const unit = match?.[2]
  if (unit === undefined || !Object.hasOwn(units, unit)) return undefined
  const factor = units[unit]
  return factor === undefined ? undefined : safe(Number(match?.[1]) * factor)
}

function formatScaled(
  value: number,
  units: Readonly<Record<string, number>>,
  smallest: string,
): string {
  let text = `${value}${smallest}`
  for (const [unit, factor] of Object.entries(units)) {
    if (value >= factor && value % factor === 0) text = `${value / factor}${unit}`
  }
  return text
}

function safe(value: number): number | undefined {
  return Number.isSafeInteger(value) ? value : undefined
}
