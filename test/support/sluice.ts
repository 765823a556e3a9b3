import { spawn } from 'node:child_process'
import { MAIN } from './gateway-process.ts'

export interface Ran {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** Runs the built command line to its end, as a shell would. */
export function runSluice(
  args: readonly string[],
  options: { readonly cwd?: string } = {},
): Promise<Ran> {
  return run(process.execPath, [MAIN, ...args], options)
}

/** Runs a line of bash in which $SLUICE is the built command line. */
export function runShell(line: string, options: { readonly cwd?: string } = {}): Promise<Ran> {
  const sluice = `'${process.execPath}' '${MAIN}'`
  return run('bash', ['-o', 'pipefail', '-c', line.replaceAll('$SLUICE', sluice)], options)
}

function run(
  command: string,
  args: readonly string[],
  options: { readonly cwd?: string },
): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      stdout += chunk
    })
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      stderr += chunk
    })
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }))
  })
}
