/**
 * A gateway as a process of its own, built code and all, for tests that need a real one:
 *
 *   const gateway = await startGateway({ config: '[mqtt]\nmax_connections = 3' })
 *   onTestFinished(() => gateway.dispose())
 *
 * It listens on free loopback ports unless the configuration says where. Its data directory stays
 * after `stop` and `kill`, so that another gateway can be started on it, and goes with `dispose`.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

export const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url))

export interface GatewayOptions {
  /** TOML; listeners and HTTP are added on free ports where it has none. */
  readonly config?: string
  /** Default: a new temporary one. */
  readonly dataDir?: string
  readonly env?: Readonly<Record<string, string>>
  /** For Node itself, before the script. */
  readonly nodeArgs?: readonly string[]
  /** What must say yes before it counts as started; default /readyz. */
  readonly probe?: '/readyz' | '/healthz'
  /** How long it may take until it is ready. */
  readonly timeoutMs?: number
}

export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface GatewayProcess {
  /** Of the first listener. */
  readonly mqttPort: number
  readonly httpPort: number
  readonly dataDir: string
  readonly pid: number
  /** Settles when the process ends, however it does. */
  readonly exited: Promise<Exit>
  /** Everything it wrote so far, standard output and error as they came. */
  output(): string
  /** Asks it to end and waits until it has. */
  stop(signal?: NodeJS.Signals): Promise<Exit>
  /** SIGKILL: as if the power went, but for what the kernel still writes. */
  kill(): Promise<Exit>
  /** Kills what still runs, and removes the temporary files. */
  dispose(): Promise<void>
}

const STOP_TIMEOUT_MS = 20_000
const cleanups = new Set<() => void>()
process.once('exit', () => {
  for (const cleanup of cleanups) cleanup()
})

/** Resolves once /readyz says ready; rejects with its output when it ends or takes too long. */
export async function startGateway(options: GatewayOptions = {}): Promise<GatewayProcess> {
  const folder = mkdtempSync(path.join(tmpdir(), 'sluice-gateway-'))
  const dataDir = options.dataDir ?? path.join(folder, 'data')
  const configFile = path.join(folder, 'sluice.toml')
  writeFileSync(configFile, withListeners(options.config ?? ''))
  const args = [...(options.nodeArgs ?? []), MAIN, 'serve', '--config', configFile]
  const child = spawn(process.execPath, [...args, '--data', dataDir], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
  })
  const exited: Promise<Exit> = new Promise((resolve) => {
    child.once('exit', (code, signal) => resolve({ code, signal }))
  })
  const output = collect(child)
  const cleanup = (): void => {
    child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
    cleanups.delete(cleanup)
  }
  cleanups.add(cleanup)
  const end = async (signal: NodeJS.Signals): Promise<Exit> => {
    child.kill(signal)
    return await within(exited, STOP_TIMEOUT_MS, () => `no end after ${signal}:\n${output()}`)
  }
  try {
    const ports = await ready(child, output, options)
    return {
      ...ports,
      dataDir,
      pid: child.pid ?? -1,
      exited,
      output,
      stop: (signal = 'SIGTERM') => end(signal),
      kill: () => end('SIGKILL'),
      dispose: async () => {
        if (child.exitCode === null && child.signalCode === null) await end('SIGKILL')
        cleanup()
      },
    }
  } catch (error) {
    cleanup()
    throw error
  }
}

function withListeners(config: string): string {
  const mqtt = '[[mqtt.listener]]\naddress = "127.0.0.1:0"\n'
  const http = '[http]\naddress = "127.0.0.1:0"\n'
  return [
    config,
    /^\s*\[\[mqtt\.listener\]\]/m.test(config) ? '' : mqtt,
    /^\s*\[http\]/m.test(config) ? '' : http,
  ].join('\n')
}

function collect(child: ChildProcess): () => string {
  let text = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8')
    stream?.on('data', (chunk: string) => {
      text += chunk
    })
  }
  return () => text
}

async function ready(
  child: ChildProcess,
  output: () => string,
  { timeoutMs = 20_000, probe = '/readyz' }: GatewayOptions,
): Promise<{ mqttPort: number; httpPort: number }> {
  const until = performance.now() + timeoutMs
  while (performance.now() < until) {
    if (child.exitCode !== null || child.signalCode !== null) {
      await once(child, 'close', { signal: AbortSignal.timeout(1000) }).catch(() => undefined)
      throw new Error(`the gateway ended with code ${child.exitCode}:\n${output()}`)
    }
    const mqttPort = portIn(output(), /^ {2}MQTT\s+\S+?:(\d+)(?:,|$)/m)
    const httpPort = portIn(output(), /^ {2}HTTP\s+http:\/\/\S+?:(\d+) /m)
    if (mqttPort !== undefined && httpPort !== undefined && (await says(httpPort, probe))) {
      return { mqttPort, httpPort }
    }
    await wait(20)
  }
  throw new Error(`the gateway was not ready after ${timeoutMs} ms:\n${output()}`)
}

function portIn(text: string, pattern: RegExp): number | undefined {
  const digits = pattern.exec(text)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

async function says(httpPort: number, probe: string): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${httpPort}${probe}`)
    await response.arrayBuffer()
    return response.ok
  } catch {
    return false
  }
}

async function within<T>(promise: Promise<T>, ms: number, describe: () => string): Promise<T> {
  const timer = new AbortController()
  const timeout = wait(ms, undefined, { signal: timer.signal }).then(() => {
    throw new Error(describe())
  })
  timeout.catch(() => undefined)
  try {
    return await Promise.race([promise, timeout])
  } finally {
    timer.abort()
  }
}
