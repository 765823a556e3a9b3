import { pino } from 'pino'
import type { Logger } from '../base/logger.ts'
import type { LogConfig } from '../config/config.ts'

/**
 * The gateway's log on standard error. Written from this thread: a transport would be a thread
 * of its own, some 10 MiB for a handful of lines a day. The printer for people is loaded for them.
 */
export async function createLogger(
  { level, format }: LogConfig,
  onTerminal: boolean,
): Promise<Logger> {
  const isPretty = format === 'pretty' || (format === 'auto' && onTerminal)
  const stderr = pino.destination({ dest: 2, sync: true })
  // The process id and the host's name are known to whoever collects the lines.
  const options = { level, base: null, timestamp: pino.stdTimeFunctions.isoTime }
  if (!isPretty) return asLogger(pino(options, stderr))
  const { default: pretty } = await import('pino-pretty')
  const printer = pretty({
    colorize: onTerminal,
    translateTime: 'SYS:HH:MM:ss.l',
    destination: stderr,
  })
  return asLogger(pino(options, printer))
}

/** Drops pino's own type, which a promise cannot carry: it has every member, "then" included. */
function asLogger(logger: Logger): Logger {
  return logger
}
