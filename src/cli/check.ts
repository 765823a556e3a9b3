import { hostname } from 'node:os'
import { formatFaults, loadConfig } from '../config/config.ts'
import type { CliOutput } from './output.ts'

/**
 * `sluice check`: whether the gateway understands a configuration file. Returns the exit code: 1
 * when it has a fault, 0 otherwise.
 */
export function check(file: string, output: CliOutput): number {
  const result = loadConfig(file, { hostName: hostname() })
  if (result.kind === 'invalid') {
    output.err(`${formatFaults(result.faults)}\n`)
    return 1
  }
  output.out(`${file} is valid\n`)
  return 0
}
