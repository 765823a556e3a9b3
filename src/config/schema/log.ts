import { z } from 'zod'
import { defaults } from '../defaults.ts'
import { oneOf } from '../leaves.ts'

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error'] as const
export type LogLevel = (typeof logLevels)[number]

/** auto: pretty on a terminal, JSON lines elsewhere. */
export const logFormats = ['auto', 'pretty', 'json'] as const
export type LogFormat = (typeof logFormats)[number]

/** What the gateway says about itself, on stderr. */
export interface LogConfig {
  readonly level: LogLevel
  readonly format: LogFormat
}

export const logSchema = z
  .strictObject({
    level: oneOf(logLevels).default(defaults.log.level),
    format: oneOf(logFormats).default(defaults.log.format),
  })
  .transform(({ level, format }): LogConfig => ({ level, format }))
