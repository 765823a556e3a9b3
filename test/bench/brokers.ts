/** The two brokers under measurement, each a process of its own on free loopback ports. */
import { once } from 'node:events'
import { constants } from 'node:fs'
import { access, readFile, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { startGateway } from '../support/gateway-process.ts'
import { run, startChild, tempFolder } from './children.ts'

export const brokerNames = ['sluice', 'mosquitto'] as const
export type BrokerName = (typeof brokerNames)[number]

export interface Broker {
  readonly name: BrokerName
  readonly port: number
  readonly pid: number
  /** Ends it and leaves what it wrote; `stop` is still due. */
  end(): Promise<void>
  /** Ends it and removes what it wrote. */
  stop(): Promise<void>
}

const GATEWAY_CONFIG = '[log]\nlevel = "warn"\n'

/**
 * A gateway with its defaults: one stream for every topic, an fsync before every PUBACK. `more` is
 * configuration to add.
 */
export async function startSluice(more = ''): Promise<Broker> {
  const gateway = await startGateway({ config: `${GATEWAY_CONFIG}${more}` })
  const end = async (): Promise<void> => {
    const { code, signal } = await gateway.stop()
    if (code === 0) return
    throw new Error(`the gateway ended with ${code ?? signal}:\n${gateway.output()}`)
  }
  return {
    name: 'sluice',
    port: gateway.mqttPort,
    pid: gateway.pid,
    end,
    stop: async () => {
      try {
        await end()
      } finally {
        await gateway.dispose()
      }
    },
  }
}

export interface Mosquitto {
  readonly program: string
  readonly version: string
}

/** Looks in PATH and where Debian puts it, which an ordinary user's PATH lacks. */
export async function findMosquitto(): Promise<Mosquitto | undefined> {
  const folders = [...(process.env['PATH'] ?? '').split(path.delimiter), '/usr/sbin']
  for (const folder of folders) {
    const program = path.join(folder, 'mosquitto')
    if (folder === '' || !(await isProgram(program))) continue
    return { program, version: await mosquittoVersion(program) }
  }
  return undefined
}

/** What Mosquitto is given: nothing persisted, no limit on what it queues, no log. */
export const mosquittoSettings = [
  'allow_anonymous true',
  'persistence false',
  'max_queued_messages 0',
  'log_dest none',
] as const

/** What it is given to keep what it queues. As root it would else become a user without rights. */
const persistentSettings = [
  'allow_anonymous true',
  'persistence true',
  'user root',
  'max_queued_messages 0',
  'log_dest none',
] as const

/** Without `saves`, its settings about when to write to disk, it persists nothing. */
export async function startMosquitto(
  { program }: Mosquitto,
  saves?: readonly string[],
): Promise<Broker> {
  const folder = tempFolder()
  const port = await freePort()
  const config = path.join(folder.path, 'mosquitto.conf')
  const location = `persistence_location ${folder.path}/`
  const settings =
    saves === undefined ? mosquittoSettings : [...persistentSettings, location, ...saves]
  await writeFile(config, [`listener ${port} 127.0.0.1`, ...settings, ''].join('\n'))
  const child = startChild(program, ['-c', config], { stdio: 'ignore' })
  const exited = once(child, 'exit')
  // A program that cannot be started is found below, where it does not answer.
  exited.catch(() => undefined)
  const end = async (): Promise<void> => {
    child.kill('SIGTERM')
    if (child.exitCode === null && child.signalCode === null) await exited
  }
  const stop = async (): Promise<void> => {
    await end()
    folder.remove()
  }
  const until = performance.now() + 10_000
  while (!(await accepts(port))) {
    if (child.exitCode !== null || child.pid === undefined || performance.now() > until) {
      await stop()
      throw new Error(`${program} does not listen on port ${port} (exit code ${child.exitCode})`)
    }
    await wait(20)
  }
  return { name: 'mosquitto', port, pid: child.pid ?? -1, end, stop }
}

/** Resident memory in bytes. `peak` is the highest since the start or `resetPeak`. */
export async function residentBytes(
  { pid }: Broker,
  which: 'now' | 'peak' = 'now',
): Promise<number> {
  const key = which === 'now' ? 'VmRSS' : 'VmHWM'
  return (await procNumber(pid, 'status', key)) * 1024
}

/** Lets the peak of resident memory begin anew, from what is resident now. */
export async function resetPeak({ pid }: Broker): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, '5')
}

/**
 * Bytes the process has had written to the device, as the kernel charges them, and the children it
 * has waited for.
 */
export async function writtenBytes(pid: number | 'self'): Promise<number> {
  return await procNumber(pid, 'io', 'write_bytes')
}

/** Resident memory once it has moved by less than 1 % for a second, or after 10 s. */
export async function settledBytes(broker: Broker): Promise<number> {
  let anchor = await residentBytes(broker)
  for (let calm = 0, tries = 0; calm < 5 && tries < 50; calm++, tries++) {
    await wait(200)
    const now = await residentBytes(broker)
    if (Math.abs(now - anchor) <= anchor / 100) continue
    anchor = now
    calm = -1
  }
  return await residentBytes(broker)
}

async function procNumber(pid: number | 'self', file: string, key: string): Promise<number> {
  const text = await readFile(`/proc/${pid}/${file}`, 'utf8')
  const digits = new RegExp(`^${key}:\\s*(\\d+)`, 'm').exec(text)?.[1]
  if (digits === undefined) throw new Error(`/proc/${pid}/${file} has no ${key}`)
  return Number(digits)
}

async function isProgram(file: string): Promise<boolean> {
  return await access(file, constants.X_OK).then(
    () => true,
    () => false,
  )
}

async function mosquittoVersion(program: string): Promise<string> {
  // It prints its help and its version, and ends with an exit code that differs between versions.
  const text = await run('/bin/sh', ['-c', '"$1" -h 2>&1 || true', 'sh', program])
  return /mosquitto version (\S+)/.exec(text)?.[1] ?? 'of unknown version'
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
