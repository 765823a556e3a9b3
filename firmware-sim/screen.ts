/**
 * What a person sees: lines that stay, and one live line that is rewritten in place on a terminal.
 */
import type { Time } from './time.ts'

export interface Output {
  write(text: string): void
  readonly isTerminal: boolean
  /** Width of the terminal in characters. */
  readonly columns: number
}

/**
 * A terminal is refreshed each second; a file or a pipe gets a line each five, which stays
 * readable.
 */
const terminalPeriodMs = 1_000
const linePeriodMs = 5_000

export class Screen {
  readonly output: Output
  private liveShown = false

  constructor(output: Output) {
    this.output = output
  }

  get periodMs(): number {
    return this.output.isTerminal ? terminalPeriodMs : linePeriodMs
  }

  /** A line that stays. */
  say(line: string): void {
    this.wipe()
    this.output.write(`${line}\n`)
  }

  /** The live line, cut to the terminal's width: a line that wraps could not be rewritten. */
  live(line: string): void {
    if (!this.output.isTerminal) {
      this.output.write(`${line}\n`)
      return
    }
    this.wipe()
    this.output.write(line.slice(0, Math.max(1, this.output.columns - 1)))
    this.liveShown = true
  }

  /** Clears the live line away. */
  wipe(): void {
    if (this.liveShown) this.output.write('\r\u001b[2K')
    this.liveShown = false
  }
}

/** Shows `line()` each period until `signal` aborts. */
export async function keepShowing(
  screen: Screen,
  time: Time,
  line: () => string,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await time.sleep(screen.periodMs, signal)
    if (!signal.aborted) screen.live(line())
  }
  screen.wipe()
}

/** The process's stdout as an `Output`. */
export function standardOutput(stdout: NodeJS.WriteStream): Output {
  return {
    write: (text) => {
      stdout.write(text)
    },
    get isTerminal() {
      return stdout.isTTY === true
    },
    get columns() {
      // Some pseudo-terminals give a width of 0.
      return stdout.columns || 80
    },
  }
}

/** A latency as people write it: `0.42 ms`, `17 ms`, or a dash without any. */
export function showMs(ms: number | undefined): string {
  if (ms === undefined) return '–'
  return ms < 10 ? `${ms.toFixed(2)} ms` : `${Math.round(ms)} ms`
}

/** `1 line`, `2 lines`. */
export function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
