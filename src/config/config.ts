/**
 * The door of the configuration: a TOML file becomes one readonly tree of typed values, or every
 * fault in it at once.
 *
 * It owns the schema, the defaults and the relations between settings. It opens no file that the
 * configuration names, and resolves no path: both belong to the part that uses them.
 *
 * Invariants, cited by tests:
 * C1. A `Config` is complete and consistent: who receives one checks nothing again.
 * C2. All faults are reported together: schema and relations, and none that only follows from
 *     another.
 * C3. Nothing written is silently ignored: it is in the `Config`, or a fault.
 * C4. No message repeats what a secret's key or a URL with a password holds.
 */
import { assert } from '../base/assert.ts'
import type { Fault } from './fault.ts'
import { faultsOf } from './issues.ts'
import { readToml } from './load.ts'
import { gatewayIdOf } from './names.ts'
import { relationFaults } from './relations.ts'
import { type Config, rootSchema } from './schema/root.ts'

export type { Fault } from './fault.ts'
export { formatFaults } from './fault.ts'
export type { AccessConfig, AccessRule } from './schema/access.ts'
export type { BridgeConfig } from './schema/bridge.ts'
export type { DiskConfig, MinFree } from './schema/disk.ts'
export type { ForwardConfig, ReceiveConfig } from './schema/forward.ts'
export type { GatewayConfig } from './schema/gateway.ts'
export type { HttpConfig } from './schema/http.ts'
export type { LogConfig } from './schema/log.ts'
export type { ListenerConfig, MqttConfig } from './schema/mqtt.ts'
export type { QueueConfig } from './schema/queue.ts'
export type { Config } from './schema/root.ts'
export type { RetentionConfig, StreamConfig } from './schema/stream.ts'
export { defaultStream } from './schema/stream.ts'
export { tinyConfig } from './tiny.ts'
export { parseDurationMs } from './units.ts'

/** What the configuration takes from the machine. */
export interface Host {
  readonly hostName: string
}

export type ConfigResult =
  | {
      readonly kind: 'valid'
      readonly config: Config
    }
  | { readonly kind: 'invalid'; readonly faults: readonly Fault[] }

/** Reads the parsed tree of a TOML file. */
export function parseConfig(source: unknown, host: Host): ConfigResult {
  const schema = rootSchema(gatewayIdOf(host.hostName))
  const parsed = schema.safeParse(source)
  const schemaFaults = parsed.success ? [] : faultsOf(parsed.error.issues, schema, source)
  const faults = [...schemaFaults, ...relationFaults(source)]
  if (!parsed.success || faults.length > 0) return { kind: 'invalid', faults }
  return { kind: 'valid', config: parsed.data }
}

/** Reads a TOML file. One that is missing or no TOML is a fault as well, with line and column. */
export function loadConfig(file: string, host: Host): ConfigResult {
  const read = readToml(file)
  if (read.kind === 'fault') return { kind: 'invalid', faults: [read.fault] }
  return parseConfig(read.tree, host)
}

/** The configuration without any file. */
export function defaultConfig(host: Host): Config {
  const result = parseConfig({}, host)
  assert(result.kind === 'valid', 'the defaults are a valid configuration')
  return result.config
}
