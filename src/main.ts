#!/usr/bin/env node
/** The process around the command line: arguments, signals, standard streams and the exit code. */
import './base/young-generation.ts'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import path from 'node:path'
import type { Writable } from 'node:stream'
import { systemClock } from './base/clock.ts'
import { sinkTo } from './cli/data-sink.ts'
import { runProgram } from './cli/program.ts'
import { readSecret } from './cli/secret.ts'

let contain: (thrown: unknown) => boolean = () => false

// What one client's packet did to the protocol library closes that client. Anything else that
// nobody caught is a bug, rejected promises included, and ends the process: the log is durable, and
// a restart is safer than a state that nobody thought of.
process.on('uncaughtException', onUncaught)
process.on('unhandledRejection', onUncaught)

const data = sinkTo(process.stdout)
// What cannot be said on standard error can be said nowhere, and must not end a running gateway.
process.stderr.on('error', () => undefined)

const exitCode = await runProgram(process.argv.slice(2), {
  output: {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
  },
  data,
  clock: systemClock,
  host: hostname(),
  version: versionOfPackage(),
  invocation: invocationOf(process.argv[1] ?? 'sluice'),
  onTerminal: process.stderr.isTTY === true,
  stopRequest,
  onReloadRequest: (reload) => void process.on('SIGHUP', reload),
  askSecret: (question) =>
    readSecret(process.stdin, question, (text) => void process.stderr.write(text)),
  secretsAreTyped: process.stdin.isTTY === true,
  containUncaught: (containing) => {
    contain = containing
  },
})
await Promise.all([flushed(process.stdout), flushed(process.stderr)])
process.exit(exitCode)

function onUncaught(thrown: unknown): void {
  if (contain(thrown)) return
  process.stderr.write(`${thrown instanceof Error ? thrown.stack : String(thrown)}\n`)
  process.exit(1)
}

function stopRequest(): AbortSignal {
  const controller = new AbortController()
  const onSignal = (): void => {
    if (controller.signal.aborted) process.exit(1)
    controller.abort()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  return controller.signal
}

/** package.json lies beside dist/ and src/ alike. */
function versionOfPackage(): string {
  const file = new URL('../package.json', import.meta.url)
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string }
  return version
}

/** The command that starts this program once more from where the user is. */
function invocationOf(script: string): string {
  if (script.includes(`node_modules${path.sep}.bin${path.sep}`)) return 'npx sluice'
  if (path.basename(script) === 'sluice') return 'sluice'
  const relative = path.relative(process.cwd(), script)
  return `node ${relative.startsWith('..') ? script : relative}`
}

/** Resolves once everything written has left, or cannot leave any more. */
function flushed(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed || stream.errored !== null) resolve()
    else stream.write('', () => resolve())
  })
}
