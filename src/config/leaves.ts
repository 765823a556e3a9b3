/**
 * The single values of the schema. Each reads `unknown`, and says in one sentence what was found
 * and what is expected: zod's own sentences speak of types, a person who edits a file thinks in
 * durations and names. zod carries the structure, the paths and the collecting of all faults.
 */
import { z } from 'zod'
import { filterFault, topicFault } from '../log/topics.ts'
import { parseAddress } from './address.ts'
import { show } from './fault.ts'
import { nameFault } from './names.ts'
import {
  formatDuration,
  formatSize,
  parseBytesPerSecond,
  parseDayWindow,
  parseDurationMs,
  parseRatePerSecond,
  parseSizeBytes,
} from './units.ts'

/** A value that `read` understands; `expected` completes the sentence "expected ...". */
export function leaf<T>(expected: string, read: (value: unknown) => T | undefined) {
  return z.unknown().transform((input, context): T => {
    const value = input === undefined ? undefined : read(input)
    if (value !== undefined) return value
    const found = input === undefined ? 'it is required' : `found ${show(input)}`
    context.issues.push({ code: 'custom', message: `${found}, expected ${expected}`, input })
    return z.NEVER
  })
}

/** A text that `parse` understands. */
export function textLeaf<T>(expected: string, parse: (text: string) => T | undefined) {
  return leaf(expected, (value) => (typeof value === 'string' ? parse(value) : undefined))
}

/** A text with no fault; `faultOf` says "has ..." or "is ..." of a text that has one. */
export function checkedText(expected: string, faultOf: (text: string) => string | undefined) {
  return z.unknown().transform((input, context): string => {
    const why = typeof input === 'string' ? faultOf(input) : undefined
    if (typeof input === 'string' && why === undefined) return input
    let found = input === undefined ? 'it is required' : `found ${show(input)}`
    if (why !== undefined) found = `${show(input)} ${why}`
    context.issues.push({ code: 'custom', message: `${found}, expected ${expected}`, input })
    return z.NEVER
  })
}

export const text = (what: string) =>
  textLeaf(what, (found) => (found === '' || found.includes('\u0000') ? undefined : found))

export const fileName = () => text('the name of a file, in quotes')

export const name = () =>
  checkedText('up to 64 letters, digits, "-", "_" and ".", not beginning with "."', (found) =>
    nameFault(found),
  )

export const flag = () =>
  leaf('true or false', (value) => (typeof value === 'boolean' ? value : undefined))

export const whole = (least: number, most: number) =>
  leaf(`a whole number from ${least} to ${most}`, (value) =>
    typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most
      ? value
      : undefined,
  )

export const oneOf = <const T extends readonly (string | number)[]>(choices: T) =>
  leaf(
    `one of ${choices.map((choice) => JSON.stringify(choice)).join(', ')}`,
    (value): T[number] | undefined => choices.find((choice) => choice === value),
  )

export const duration = (leastMs = 0, mostMs = Number.MAX_SAFE_INTEGER) =>
  textLeaf(
    `a duration such as "250ms", "5s", "10m", "6h" or "7d"${range(leastMs, mostMs, formatDuration)}`,
    (found) => within(parseDurationMs(found), leastMs, mostMs),
  )

export const size = (leastBytes = 0, mostBytes = Number.MAX_SAFE_INTEGER) =>
  textLeaf(
    `a size such as "512B", "64KiB", "256MiB" or "2GiB"${range(leastBytes, mostBytes, formatSize)}`,
    (found) => within(parseSizeBytes(found), leastBytes, mostBytes),
  )

export const rate = () =>
  textLeaf('a rate such as "500/s", at least "1/s"', (found) =>
    within(parseRatePerSecond(found), 1, Number.MAX_SAFE_INTEGER),
  )

export const byteRate = () =>
  textLeaf('a rate such as "200KiB/s", at least "1B/s"', (found) =>
    within(parseBytesPerSecond(found), 1, Number.MAX_SAFE_INTEGER),
  )

export const dayWindow = () =>
  textLeaf('hours of the day such as "22:00-06:00", from one to another', parseDayWindow)

export const address = () =>
  textLeaf('"host:port" such as "127.0.0.1:1883" or "[::1]:1883", port 0 to 65535', parseAddress)

/** Names that a client subscribes to, or that the broker alone publishes to. */
const reservedPrefixes = ['$share/', '$queue/', '$stream/', '$SYS']

/** A filter over what devices publish. */
export const topicFilter = () =>
  checkedText('an MQTT topic filter such as "devices/+/telemetry/#"', (found) => {
    const reserved = reservedPrefixes.find((prefix) => found.startsWith(prefix))
    return reserved === undefined ? filterFault(found) : `begins with the reserved ${reserved}`
  })

/**
 * A filter over what a client may name, the `$stream/...` and `$queue/...` of consumers included.
 */
export const accessFilter = () =>
  checkedText(
    'an MQTT topic filter such as "devices/{client}/#"',
    (found) => unknownPlaceholder(found, ['{client}', '{user}']) ?? filterFault(found),
  )

/** A topic filter in which `{gateway}` may stand. */
export const filterTemplate = () =>
  checkedText(
    'an MQTT topic filter, in which {gateway} may stand',
    (found) => unknownPlaceholder(found, ['{gateway}']) ?? filterFault(found),
  )

/** A topic in which some placeholders may stand; "{1}" among them stands for all such numbers. */
export const topicTemplate = (placeholders: readonly string[]) =>
  checkedText(
    `an MQTT topic, in which ${placeholders.join(', ')} may stand`,
    (found) =>
      unknownPlaceholder(found, placeholders) ?? topicFault(found.replaceAll('{#}', '{rest}')),
  )

function unknownPlaceholder(found: string, known: readonly string[]): string | undefined {
  const unknown = found.match(/\{[^{}]*\}/g)?.find((placeholder) => {
    const isNumber = /^\{[1-9]\d{0,2}\}$/.test(placeholder)
    return !known.includes(isNumber ? '{1}' : placeholder)
  })
  return unknown === undefined ? undefined : `has the unknown placeholder ${unknown}`
}

function within(value: number | undefined, least: number, most: number): number | undefined {
  return value !== undefined && value >= least && value <= most ? value : undefined
}

function range(least: number, most: number, format: (value: number) => string): string {
  if (most < Number.MAX_SAFE_INTEGER) return `, from ${format(least)} to ${format(most)}`
  return least > 0 ? `, at least ${format(least)}` : ''
}

type OptionalKeys<T> = { [K in keyof T]-?: undefined extends T[K] ? K : never }[keyof T]
export type Compact<T> = Omit<T, OptionalKeys<T>> & {
  [K in OptionalKeys<T>]?: Exclude<T[K], undefined>
}

/** The same without the keys whose value is undefined: what is not written is not there. */
export function compact<T extends object>(value: T): Compact<T> {
  const kept = Object.entries(value).filter(([, entry]) => entry !== undefined)
  return Object.fromEntries(kept) as Compact<T>
}
