/**
 * What parts need of a logger: fields first, then a sentence, as pino has it. Parts log changes of
 * state, never single messages; secrets and payloads never.
 */
export interface Logger {
  debug(fields: object, sentence: string): void
  info(fields: object, sentence: string): void
  warn(fields: object, sentence: string): void
  error(fields: object, sentence: string): void
}
