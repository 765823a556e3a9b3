import { existsSync } from 'node:fs'
import { type Config, defaultConfig, formatFaults, loadConfig } from '../config/config.ts'
import type { CliContext } from './context.ts'

/** Which configuration and which data a command works on. */
export interface Place {
  readonly config?: string
  readonly data?: string
}

export interface Settings {
  readonly config: Config
  /** Undefined: the defaults hold. */
  readonly file: string | undefined
}

/** Read when no file is named. */
export const CONFIG_FILE = './sluice.toml'

/** The settings to work with; undefined once every fault in them was said. */
export function settingsOf(place: Place, context: CliContext): Settings | undefined {
  const host = { hostName: context.host }
  const file = place.config ?? (existsSync(CONFIG_FILE) ? CONFIG_FILE : undefined)
  if (file === undefined) {
    return { config: withData(defaultConfig(host), place.data), file }
  }
  const result = loadConfig(file, host)
  if (result.kind === 'invalid') {
    context.output.err(`sluice: ${file} is not valid:\n${formatFaults(result.faults)}\n`)
    return undefined
  }
  return { config: withData(result.config, place.data), file }
}

/** The data directory to read; undefined once it was said why there is none. */
export function dataDirOf(place: Place, context: CliContext): string | undefined {
  return place.data ?? settingsOf(place, context)?.config.gateway.dataDir
}

function withData(config: Config, dataDir: string | undefined): Config {
  return dataDir === undefined ? config : { ...config, gateway: { ...config.gateway, dataDir } }
}
