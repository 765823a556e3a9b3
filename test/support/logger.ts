import type { Logger } from '../../src/base/logger.ts'

export interface CollectingLogger extends Logger {
  /** `<level>: <sentence>` */
  readonly lines: string[]
}

/** A logger that keeps what it is told. */
export function collectingLogger(): CollectingLogger {
  const lines: string[] = []
  const at = (level: string) => (_fields: object, sentence: string) => {
    lines.push(`${level}: ${sentence}`)
  }
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}
