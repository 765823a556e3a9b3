/** The Mosquittos of the case `bridge`: the upstream, and one whose own bridge feeds it. */
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect as connectTcp, createServer } from 'node:net'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { connectAsync, type MqttClient } from 'mqtt'
import type { Mosquitto } from './brokers.ts'
import { startChild, tempFolder } from './children.ts'
import type { DrainReading } from './drain-table.ts'
import type { LoadGenerator } from './load.ts'

export interface DrainRig {
  readonly generator: LoadGenerator
  readonly mosquitto: Mosquitto
  readonly records: number
  readonly progress: (line: string) => void
}

export interface Upstream {
  readonly port: number
  readonly pid: number
  stop(signal?: NodeJS.Signals): Promise<void>
}

export const PAYLOAD_BYTES = 256
/** Messages in flight, of both bridges. */
export const WINDOW = 1000
const COUNT_TOPIC = '$SYS/broker/publish/messages/received'
/** Counts come once a second; so many that do not change are the end. */
const QUIET_LOOKS = 4

const common = [
  'allow_anonymous true',
  'persistence false',
  'max_queued_messages 0',
  `max_inflight_messages ${WINDOW}`,
  'log_dest none',
]

/** Nobody subscribes there but to its count. */
export async function startUpstream(mosquitto: Mosquitto, port: number): Promise<Upstream> {
  return await start(mosquitto, port, [...common, 'sys_interval 1'])
}

/** Keeps everything for the upstream in memory until that is there. */
async function startBridging(
  mosquitto: Mosquitto,
  port: number,
  upstreamPort: number,
): Promise<Upstream> {
  const bridge = [
    'connection cloud',
    `address 127.0.0.1:${upstreamPort}`,
    'topic # out 1 "" sites/gw-1/',
    'cleansession false',
    'bridge_protocol_version mqttv311',
    'notifications false',
    'try_private false',
    'restart_timeout 1',
  ]
  return await start(mosquitto, port, [...common, ...bridge])
}

/** What the upstream counts, with the times of its counts. */
export class Arrivals {
  readonly looks: { readonly ms: number; readonly count: number }[] = []
  private readonly client: MqttClient

  private constructor(client: MqttClient) {
    this.client = client
    client.on('message', (_topic, payload) => {
      this.looks.push({ ms: performance.now(), count: Number(payload.toString()) })
    })
  }

  static async at({ port }: Upstream): Promise<Arrivals> {
    const client = await connectAsync(`mqtt://127.0.0.1:${port}`, { reconnectPeriod: 0 })
    const arrivals = new Arrivals(client)
    await client.subscribeAsync(COUNT_TOPIC)
    return arrivals
  }

  get count(): number {
    return this.looks.at(-1)?.count ?? 0
  }

  /** What it is once nothing more comes. Mosquitto tells a count only when it has changed. */
  async settled(): Promise<number> {
    for (let before = -1, quiet = 0; quiet < QUIET_LOOKS; ) {
      await wait(1000)
      quiet = this.count === before ? quiet + 1 : 0
      before = this.count
    }
    return this.count
  }

  /** Between the first count above 0 and the last: a part of a second at both ends is left out. */
  perSecond(): number {
    const rising = this.looks.filter(
      ({ count }, i) => count > 0 && count !== this.looks[i - 1]?.count,
    )
    const [first, last] = [rising[0], rising.at(-2)]
    if (first === undefined || last === undefined || first.ms >= last.ms) return Number.NaN
    return ((last.count - first.count) * 1000) / (last.ms - first.ms)
  }

  end(): void {
    this.client.end(true)
  }
}

/** The same backlog out of Mosquitto's own bridge; with `isKilled` it is killed in the middle. */
export async function mosquittoBridge(
  rig: DrainRig,
  isKilled: boolean,
): Promise<{ readonly reading: DrainReading; readonly arrived: number }> {
  const { mosquitto, generator, records } = rig
  rig.progress(`bridge: Mosquitto's own${isKilled ? ', killed in the middle' : ''}`)
  const upstreamPort = await freePort()
  const ownPort = await freePort()
  let broker = await startBridging(mosquitto, ownPort, upstreamPort)
  let upstream: Upstream | undefined
  try {
    const load = { publishers: 20, window: 100, size: PAYLOAD_BYTES, messages: records }
    await generator.run({ ...load, port: ownPort })
    upstream = await startUpstream(mosquitto, upstreamPort)
    const arrivals = await Arrivals.at(upstream)
    if (isKilled) {
      while (arrivals.count < records / 3) await wait(20)
      await broker.stop('SIGKILL')
      broker = await startBridging(mosquitto, ownPort, upstreamPort)
    }
    const arrived = await arrivals.settled()
    arrivals.end()
    const none = Number.NaN
    const unmeasured = { beforeMiB: none, peakMiB: none, liveBefore: none, liveDuring: none }
    const reading = {
      name: "Mosquitto's own bridge, 3.1.1, from memory",
      records,
      perSecond: arrivals.perSecond(),
      ...unmeasured,
      ackP99Ms: none,
    }
    return { reading, arrived }
  } finally {
    await broker.stop()
    await upstream?.stop()
  }
}

async function start(
  { program }: Mosquitto,
  port: number,
  settings: readonly string[],
): Promise<Upstream> {
  const folder = tempFolder()
  const config = path.join(folder.path, 'mosquitto.conf')
  await writeFile(config, [`listener ${port} 127.0.0.1`, ...settings, ''].join('\n'))
  const child = startChild(program, ['-c', config], { stdio: 'ignore' })
  const exited = once(child, 'exit')
  const until = performance.now() + 10_000
  while (!(await accepts(port))) {
    if (child.exitCode !== null || performance.now() > until) {
      throw new Error(`${program} does not listen on port ${port} (exit code ${child.exitCode})`)
    }
    await wait(20)
  }
  return {
    port,
    pid: child.pid ?? -1,
    stop: async (signal = 'SIGTERM') => {
      child.kill(signal)
      if (child.exitCode === null && child.signalCode === null) await exited
      folder.remove()
    },
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no free loopback port')
  return address.port
}

async function accepts(port: number): Promise<boolean> {
  const socket = connectTcp(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
