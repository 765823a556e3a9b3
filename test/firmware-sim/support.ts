/** What the simulator's tests share: hand-moved time, collected output, a real Mosquitto. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts } from '../../firmware-sim/demo/gateway.ts'
import type { Output } from '../../firmware-sim/screen.ts'
import type { Time } from '../../firmware-sim/time.ts'

/** Time that passes only by sleeping, and then at once. */
export class ManualTime implements Time {
  private at: number

  constructor(startMs: number) {
    this.at = startMs
  }

  nowMs(): number {
    return this.at
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (!signal?.aborted) this.at += ms
  }
}

/** An output that keeps what was written. */
export function collected(
  isTerminal = false,
  columns = 80,
): Output & { readonly text: () => string } {
  const parts: string[] = []
  return { write: (text) => parts.push(text), isTerminal, columns, text: () => parts.join('') }
}

/** Mosquitto's executable, which Debian keeps where an ordinary user's PATH may not look. */
export const mosquitto = ['mosquitto', '/usr/sbin/mosquitto'].find(
  (file) => spawnSync(file, ['-h']).error === undefined,
)

export interface Broker {
  readonly port: number
  stop(): Promise<void>
}

/** Starts Mosquitto on a free loopback port and waits until it accepts. */
export async function startMosquitto(executable: string, atPort?: number): Promise<Broker> {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-sim-'))
  const [free = 0] = await freePorts(1)
  const port = atPort ?? free
  const config = join(dir, 'mosquitto.conf')
  await writeFile(config, `listener ${port} 127.0.0.1\nallow_anonymous true\npersistence false\n`)
  const child = spawn(executable, ['-c', config], { stdio: 'ignore' })
  const ended = new Promise((resolve) => child.once('close', resolve))
  await eventually(() => accepts(port, child))
  return {
    port,
    stop: async () => {
      child.kill('SIGKILL')
      await ended
      await rm(dir, { recursive: true, force: true })
    },
  }
}

function accepts(port: number, child: ChildProcess): Promise<boolean> {
  if (child.exitCode !== null) throw new Error(`Mosquitto ended with code ${child.exitCode}`)
  return new Promise((resolve) => {
    const socket = createConnection({ host: '127.0.0.1', port })
    socket.once('connect', () => resolve(true))
    socket.once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

/** Polls until `condition` holds; throws after ten seconds. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`never came true: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
