/** A real Mosquitto as the upstream of tests: a process of its own on a free loopback port. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { describe, onTestFinished } from 'vitest'

export interface Mosquitto {
  readonly port: number
  readonly url: string
  /** What it is given beside the port; its files belong here as well. */
  readonly folder: string
  /** Its log so far. */
  log(): string
  /** Ends it, by SIGTERM or at once; nothing to do when it has ended. */
  stop(signal?: 'SIGTERM' | 'SIGKILL'): Promise<void>
  /** Runs it again on the same port, with the same folder. */
  start(): Promise<void>
}

/** Its lines of configuration: without them, anonymous, and nothing persisted. */
const SETTINGS = ['allow_anonymous true', 'persistence false', 'max_queued_messages 0'] as const

const READY_MS = 10_000
const POLL_MS = 20

/** Looks in PATH and where Debian puts it, which an ordinary user's PATH lacks. */
export const mosquittoProgram = [...(process.env['PATH'] ?? '').split(path.delimiter), '/usr/sbin']
  .filter((folder) => folder !== '')
  .map((folder) => path.join(folder, 'mosquitto'))
  .find(isProgram)

/** Tests against Mosquitto; where it is missing they are skipped, and their name says why. */
export function describeWithMosquitto(name: string, tests: () => void): void {
  const missing = mosquittoProgram === undefined
  const title = missing ? `${name} (needs Mosquitto: apt install mosquitto)` : name
  describe.skipIf(missing)(title, tests)
}

/**
 * Runs it until the test ends. `settings` are lines of its configuration, instead of the default
 * ones; in them `{folder}` stands for its folder. Outside of a test (in a hook) give `dispose`
 * what removes it.
 */
export async function startMosquitto(
  settings: readonly string[] = SETTINGS,
  dispose: (remove: () => Promise<void>) => void = onTestFinished,
): Promise<Mosquitto> {
  if (mosquittoProgram === undefined)
    throw new Error('there is no Mosquitto: apt install mosquitto')
  const folder = mkdtempSync(path.join(tmpdir(), 'sluice-mosquitto-'))
  const broker = new Broker(mosquittoProgram, folder, await freePort())
  dispose(async () => {
    await broker.stop('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })
  // As root it would become a user who may not read the folder.
  const user = process.getuid?.() === 0 ? ['user root'] : []
  const lines = [`listener ${broker.port} 127.0.0.1`, ...user, 'log_dest stderr', ...settings]
  const text = lines.map((line) => line.replaceAll('{folder}', folder)).join('\n')
  writeFileSync(path.join(folder, 'mosquitto.conf'), `${text}\n`)
  await broker.start()
  return broker
}

class Broker implements Mosquitto {
  readonly folder: string
  readonly port: number
  private readonly program: string
  private child: ChildProcess | undefined
  private said = ''

  constructor(program: string, folder: string, port: number) {
    this.program = program
    this.folder = folder
    this.port = port
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`
  }

  log(): string {
    return this.said
  }

  async start(): Promise<void> {
    const config = path.join(this.folder, 'mosquitto.conf')
    const child = spawn(this.program, ['-c', config], { stdio: ['ignore', 'ignore', 'pipe'] })
    this.child = child
    child.stderr.on('data', (text) => {
      this.said += text
    })
    const until = performance.now() + READY_MS
    while (!(await accepts(this.port))) {
      if (child.exitCode !== null || performance.now() > until) {
        throw new Error(`Mosquitto does not listen on port ${this.port}:\n${this.said}`)
      }
      await wait(POLL_MS)
    }
  }

  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    const { child } = this
    this.child = undefined
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
  }
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no free loopback port')
  return address.port
}

async function accepts(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
