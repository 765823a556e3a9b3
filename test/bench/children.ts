/** Child processes and folders that do not outlive the bench, however it ends. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

const cleanups = new Set<() => void>()
process.once('exit', () => {
  for (const cleanup of cleanups) cleanup()
})

/** Starts a program; it is killed, by its own process id, when the bench ends before it does. */
export function startChild(
  program: string,
  args: readonly string[],
  options: SpawnOptions,
): ChildProcess {
  const child = spawn(program, args, options)
  const kill = (): void => void child.kill('SIGKILL')
  cleanups.add(kill)
  child.once('exit', () => cleanups.delete(kill))
  return child
}

export interface TempFolder {
  readonly path: string
  remove(): void
}

/** A new folder below the system's temporary one; it goes with the bench at the latest. */
export function tempFolder(): TempFolder {
  const folder = mkdtempSync(path.join(tmpdir(), 'sluice-bench-'))
  const remove = (): void => {
    rmSync(folder, { recursive: true, force: true })
    cleanups.delete(remove)
  }
  cleanups.add(remove)
  return { path: folder, remove }
}

/** Runs a program to its end. Rejects when it cannot be started or its exit code is not 0. */
export async function run(
  program: string,
  args: readonly string[],
  hooks: { readonly onStderr?: (text: string, child: ChildProcess) => void } = {},
): Promise<string> {
  const child = startChild(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  let stdout = ''
  let stderr = ''
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk
  })
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk
    hooks.onStderr?.(stderr, child)
  })
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  if (code !== 0) {
    throw new Error(`${path.basename(program)} ${args.join(' ')} ended with ${code}:\n${stderr}`)
  }
  return stdout
}
