/**
 * The gateway of the demo: its configuration on free ports, its start, and the wait until it
 * serves.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { Time } from '../time.ts'
import { Child } from './child.ts'

/** A gateway starts in a fraction of a second; a busy small machine may take some. */
const readyMs = 20_000
const readyPollMs = 50

export interface Gateway {
  readonly child: Child
  readonly dataDir: string
  readonly mqttPort: number
  readonly httpPort: number
}

/** A gateway on loopback alone, with everything else at its default. */
export function configText(dataDir: string, mqttPort: number, httpPort: number): string {
  // A JSON string is a TOML basic string too, whatever stands in the path.
  return `[gateway]
data_dir = ${JSON.stringify(dataDir)}

[[mqtt.listener]]
address = "127.0.0.1:${mqttPort}"

[http]
address = "127.0.0.1:${httpPort}"
`
}

/**
 * Starts `cli serve` with its data under `dir` and waits until it accepts connections. Throws with
 * what the gateway said when it does not get that far.
 */
export async function startGateway(
  cli: readonly string[],
  dir: string,
  time: Time,
  signal: AbortSignal,
): Promise<Gateway> {
  const dataDir = join(dir, 'data')
  const configFile = join(dir, 'demo.toml')
  const [mqttPort = 0, httpPort = 0] = await freePorts(2)
  await mkdir(dataDir, { recursive: true })
  await writeFile(configFile, configText(dataDir, mqttPort, httpPort))
  const child = new Child('gateway', [...cli, 'serve', '--config', configFile], () => undefined)
  const deadlineMs = time.nowMs() + readyMs
  while (!(await isReady(httpPort))) {
    if (!child.running) throw new Error(await child.ended)
    if (signal.aborted || time.nowMs() > deadlineMs) {
      await child.stop(1_000)
      throw new Error(
        signal.aborted
          ? 'stopped before the gateway was ready'
          : `the gateway was not ready after ${readyMs / 1000} s`,
      )
    }
    await time.sleep(readyPollMs, signal)
  }
  return { child, dataDir, mqttPort, httpPort }
}

async function isReady(httpPort: number): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${httpPort}/readyz`)
    await response.body?.cancel()
    return response.status === 200
  } catch (error) {
    // fetch throws a TypeError for a connection that failed, which is what a starting gateway
    // gives.
    if (error instanceof TypeError) return false
    throw error
  }
}

/** Ports nobody listens on, all held at once so that they differ. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<ReturnType<typeof createServer>>((resolve, reject) => {
          const server = createServer()
          server.once('error', reject)
          server.listen(0, '127.0.0.1', () => resolve(server))
        }),
    ),
  )
  const ports = servers.map((server) => {
    const address = server.address()
    return typeof address === 'object' && address !== null ? address.port : 0
  })
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
