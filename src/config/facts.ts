/**
 * What the relations need to know, read from the raw tree with the parsers of the leaves. A value
 * that is no such thing has no fact: its own fault is reported by the schema, and relations speak
 * of the rest. So one look at a file shows both kinds of fault, and none that only follows from
 * another.
 */
import { type Address, parseAddress } from './address.ts'
import { defaults } from './defaults.ts'
import { parseDurationMs, parseSizeBytes } from './units.ts'

/** A value and where it stands. */
export interface Fact<T> {
  readonly path: string
  readonly value: T
}

/** The keys that relations look at. */
type FactKey =
  | ('mqtt' | 'http' | 'access' | 'stream' | 'queue' | 'bridge' | 'listener' | 'forward')
  | ('name' | 'address' | 'url' | 'dead_letter' | 'token_file' | 'anonymous')
  | ('max_packet' | 'max_publish_backlog' | 'backoff' | 'first' | 'most')
  | ('tls' | 'cert_file' | 'key_file' | 'client_ca_file' | 'require_client_cert')
  | ('user_from' | 'max_unsent' | 'rule' | 'password_file' | 'user')

/** A table whose values nobody has looked at. */
export type Table = { readonly [K in FactKey]?: unknown }

/** The table itself; an empty one for anything else. */
export function tableOf(value: unknown): Table {
  const isTable = typeof value === 'object' && value !== null && !Array.isArray(value)
  return isTable ? (value as Table) : {}
}

/** The tables of a list with their paths; entries that are none are left out. */
export function tablesOf(value: unknown, path: string): readonly Fact<Table>[] {
  if (!Array.isArray(value)) return []
  return value.map((entry: unknown, index) => ({
    path: `${path}[${index}]`,
    value: tableOf(entry),
  }))
}

/** The text under a key, with its path. */
export function textFact({ path, value }: Fact<Table>, key: FactKey): readonly Fact<string>[] {
  const text = value[key]
  return typeof text === 'string' ? [{ path: `${path}.${key}`, value: text }] : []
}

/** The address of a table, its default when it is not written. */
export function addressFact(
  { path, value }: Fact<Table>,
  fallback: Address,
): readonly Fact<Address>[] {
  const written = value.address
  if (written === undefined) return [{ path: `${path}.address`, value: fallback }]
  const address = typeof written === 'string' ? parseAddress(written) : undefined
  return address === undefined ? [] : [{ path: `${path}.address`, value: address }]
}

/** A size, its default when it is not written, undefined when it is none. */
export function sizeOf(value: unknown, fallbackBytes: number): number | undefined {
  if (value === undefined) return fallbackBytes
  return typeof value === 'string' ? parseSizeBytes(value) : undefined
}

/** A duration, its default when it is not written, undefined when it is none. */
export function durationOf(value: unknown, fallbackMs: number): number | undefined {
  if (value === undefined) return fallbackMs
  return typeof value === 'string' ? parseDurationMs(value) : undefined
}

export interface Facts {
  readonly mqtt: Table
  readonly http: Table
  readonly listeners: readonly Fact<Table>[]
  readonly queues: readonly Fact<Table>[]
  readonly bridges: readonly Fact<Table>[]
  readonly streamNames: readonly Fact<string>[]
  readonly queueNames: readonly Fact<string>[]
  /** Undefined when there is no [access]. */
  readonly access: unknown
}

export function factsOf(source: unknown): Facts {
  const root = tableOf(source)
  const mqtt = tableOf(root.mqtt)
  const listeners = tablesOf(mqtt.listener, 'mqtt.listener')
  const streams = tablesOf(root.stream, 'stream')
  const queues = tablesOf(root.queue, 'queue')
  const written = streams.flatMap((table) => textFact(table, 'name'))
  const builtIn = { path: 'the built-in stream', value: defaults.stream.name }
  const isBuiltIn = !written.some(({ value }) => value === builtIn.value)
  return {
    mqtt,
    http: tableOf(root.http),
    listeners: listeners.length === 0 ? [{ path: 'mqtt.listener', value: {} }] : listeners,
    queues,
    bridges: tablesOf(root.bridge, 'bridge'),
    streamNames: isBuiltIn ? [...written, builtIn] : written,
    queueNames: queues.flatMap((table) => textFact(table, 'name')),
    access: root.access,
  }
}
