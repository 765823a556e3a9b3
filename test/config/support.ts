import { parse } from 'smol-toml'
import { assert } from '../../src/base/assert.ts'
import type { Config } from '../../src/config/config.ts'
import { formatFaults, parseConfig } from '../../src/config/config.ts'

export const host = { hostName: 'gw-test' }

/** The faults of a TOML text, as lines "path: message". */
export function faultsOf(toml: string): readonly string[] {
  const result = parseConfig(parse(toml), host)
  if (result.kind === 'valid') return []
  return formatFaults(result.faults).split('\n')
}

/** The one fault of a TOML text. */
export function faultOf(toml: string): string {
  const faults = faultsOf(toml)
  assert(faults.length === 1, `one fault, not ${faults.length}: ${faults.join(' / ')}`)
  return faults[0] ?? ''
}

export function valid(source: unknown): {
  config: Config
} {
  const result = parseConfig(source, host)
  assert(
    result.kind === 'valid',
    result.kind === 'invalid' ? formatFaults(result.faults) : 'a valid configuration',
  )
  return result
}

/** The configuration of a TOML text that has no fault. */
export function configOf(toml: string): Config {
  return valid(parse(toml)).config
}
