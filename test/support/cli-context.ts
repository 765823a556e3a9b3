import { ManualClock } from '../../src/base/clock.ts'
import type { CliContext } from '../../src/cli/context.ts'
import { runProgram } from '../../src/cli/program.ts'

export interface Run {
  readonly code: number
  /** Standard output: data and what is for people, as they came. */
  readonly out: string
  readonly err: string
}

/** Tests know what time it is. */
export const NOW_MS = Date.UTC(2026, 0, 31, 9)

/** Runs a command line in this process. */
export async function runCli(
  args: readonly string[],
  overrides: Partial<CliContext> = {},
): Promise<Run> {
  let out = ''
  let err = ''
  const context: CliContext = {
    output: {
      out: (text) => {
        out += text
      },
      err: (text) => {
        err += text
      },
    },
    data: {
      write: async (data) => {
        out += Buffer.from(data).toString()
        return true
      },
    },
    clock: new ManualClock(NOW_MS),
    host: 'test-host',
    version: '1.2.3',
    invocation: 'sluice',
    onTerminal: false,
    onReloadRequest: () => undefined,
    askSecret: async () => undefined,
    secretsAreTyped: false,
    stopRequest: () => new AbortController().signal,
    containUncaught: () => undefined,
    ...overrides,
  }
  const code = await runProgram(args, context)
  return { code, out, err }
}
