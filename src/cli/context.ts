import type { Clock } from '../base/clock.ts'
import type { DataSink } from './data-sink.ts'
import type { CliOutput } from './output.ts'

/** What a command gets of the process it runs in; tests give their own. */
export interface CliContext {
  /** For people: help, the banner, sentences about what went wrong. */
  readonly output: CliOutput
  /** Standard output as a pipe for data: nothing else is written there by `tail` and `streams`. */
  readonly data: DataSink
  readonly clock: Clock
  /** The host's name. */
  readonly host: string
  readonly version: string
  /** How this program was started, as the next command would be typed. */
  readonly invocation: string
  /** Standard error is a terminal. */
  readonly onTerminal: boolean
  /**
   * Takes over SIGINT and SIGTERM: the first aborts the signal, the second ends the process at
   * once. A command that never asks is ended by the first, as programs are.
   */
  stopRequest(): AbortSignal
  /** Calls `reload` at every SIGHUP; without it SIGHUP ends the process, as it does programs. */
  onReloadRequest(reload: () => void): void
  /**
   * Asks for a secret on the terminal, without echo, or takes a line of standard input where that
   * is none; undefined when nothing was given.
   */
  readonly askSecret: (question: string) => Promise<string | undefined>
  /** Secrets come from a terminal, where people mistype. */
  readonly secretsAreTyped: boolean
  /** From now on `containing` is asked about what nobody caught, before it ends the process. */
  containUncaught(containing: (thrown: unknown) => boolean): void
}
