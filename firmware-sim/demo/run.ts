/**
 * The demo from start to summary: a gateway, a fleet, a replay and a tail, then the proof that
 * every acknowledged message is in the log.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Fleet } from '../fleet.ts'
import { RateMeter } from '../rates.ts'
import { replay } from '../replay.ts'
import { keepShowing, type Screen, showMs } from '../screen.ts'
import { publishTelemetry } from '../telemetry.ts'
import type { Time } from '../time.ts'
import { Child } from './child.ts'
import { type Gateway, startGateway } from './gateway.ts'
import { LogCheck, type LoggedRecord, parseLogged } from './logged.ts'

export interface DemoOptions {
  /** The gateway's command line, such as `node dist/main.js`. */
  readonly cli: readonly string[]
  /** The recording that is replayed beside the fleet. */
  readonly recording: string
  readonly durationMs: number
  readonly seed: number
}

const fleetSize = { devices: 50, rate: 4, prefix: 'sim' } as const
/** An hour of greenhouse in twelve seconds. */
const replaySpeed = 300
const fleetGraceMs = 5_000
const childGraceMs = 10_000

interface Traffic {
  readonly fleet: Fleet
  readonly acknowledged: ReadonlySet<string>
  /** What went wrong beside the fleet, in sentences. */
  readonly troubles: readonly string[]
}

/** Runs the demo; returns the exit code: 1 when something is missing or did not run. */
export async function runDemo(
  options: DemoOptions,
  time: Time,
  screen: Screen,
  signal: AbortSignal,
): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), 'sluice-demo-'))
  const children: Child[] = []
  const killAll = (): void => {
    for (const child of children) child.kill()
  }
  process.on('exit', killAll)
  try {
    screen.say(`starting a gateway with its data in ${dir} (seed ${options.seed})`)
    const gateway = await startGateway(options.cli, dir, time, signal)
    children.push(gateway.child)
    screen.say(`gateway: MQTT on 127.0.0.1:${gateway.mqttPort}, HTTP on :${gateway.httpPort}`)
    const traffic = await runTraffic(options, gateway, time, screen, signal, children)
    const stopped = await gateway.child.stop(childGraceMs)
    const troubles = [...traffic.troubles, ...(stopped === '' ? [] : [stopped])]
    const check = await readLog(options.cli, gateway.dataDir, traffic.acknowledged, children)
    return summary(screen, traffic.fleet, traffic.acknowledged.size, check, troubles)
  } catch (error) {
    screen.say(error instanceof Error ? error.message : String(error))
    return 1
  } finally {
    killAll()
    process.off('exit', killAll)
    await Promise.all(children.map((child) => child.ended))
    await rm(dir, { recursive: true, force: true })
  }
}

async function runTraffic(
  options: DemoOptions,
  gateway: Gateway,
  time: Time,
  screen: Screen,
  signal: AbortSignal,
  children: Child[],
): Promise<Traffic> {
  const { seed, cli } = options
  const acknowledged = new Set<string>()
  const broker = { host: '127.0.0.1', port: gateway.mqttPort, protocol: 4 } as const
  const topic = 'devices/{device}/telemetry'
  const onAcknowledged = ({ key }: { key: string }): void => void acknowledged.add(key)
  const say = (line: string): void => screen.say(line)
  const fleet = new Fleet({ broker, qos: 1, seed, topic, onAcknowledged }, time, say)

  let last: LoggedRecord | undefined
  const follow = ['tail', 'default', '--data', gateway.dataDir, '--follow', '--from', 'latest']
  const tail = new Child('tail', [...cli, ...follow, '--format', 'json'], (line) => {
    last = parseLogged(line) ?? last
  })
  children.push(tail)

  // A controller of its own: Node 20 may collect AbortSignal.any over a timeout before it fires.
  const halt = new AbortController()
  const end = (): void => halt.abort()
  const stop = halt.signal
  signal.addEventListener('abort', end)
  if (signal.aborted) end()
  void time.sleep(options.durationMs, stop).then(end)
  const shown = new AbortController()
  const meter = new RateMeter(time.nowMs(), fleet.rates.counts())
  const showing = keepShowing(
    screen,
    time,
    () => liveLine(fleet, meter, time.nowMs(), last),
    shown.signal,
  )
  const recording = { file: options.recording, speed: replaySpeed, loop: true }
  const live = publishTelemetry(fleet, { seed, ...fleetSize }, time, stop)
  try {
    await replay(fleet, recording, time, say, stop)
    await live
  } finally {
    end()
    signal.removeEventListener('abort', end)
    await live
    await fleet.stop(fleetGraceMs)
    shown.abort()
    await showing
  }
  const tailStopped = await tail.stop(childGraceMs)
  const troubles = [tailStopped, last === undefined ? 'the tail showed no record' : '']
  return { fleet, acknowledged, troubles: troubles.filter((sentence) => sentence !== '') }
}

/** Reads the whole log with the gateway stopped: what is found is on disk. */
async function readLog(
  cli: readonly string[],
  dataDir: string,
  acknowledged: ReadonlySet<string>,
  children: Child[],
): Promise<LogCheck> {
  const check = new LogCheck(acknowledged)
  const args = ['tail', 'default', '--data', dataDir, '--from', 'earliest', '--format', 'json']
  const reader = new Child('tail', [...cli, ...args], (line) => check.line(line))
  children.push(reader)
  const failure = await reader.ended
  if (failure !== '') throw new Error(failure)
  return check
}

/** Positions are dense from 0, so the last one tells how many records the log holds. */
export function liveLine(
  fleet: Fleet,
  meter: RateMeter,
  nowMs: number,
  last: LoggedRecord | undefined,
): string {
  const { latency } = fleet.rates
  const rates = meter.look(nowMs, fleet.rates.counts())
  const { device: name, temperature } = last?.values ?? {}
  const device = String(name ?? last?.topic ?? 'none yet')
  const seen = typeof temperature === 'number' ? `${device} ${temperature} °C` : device
  return [
    `${rates.published.toFixed(0)} published/s`,
    `${rates.acknowledged.toFixed(0)} acknowledged/s`,
    `${last === undefined ? 0 : last.position + 1} records in the log`,
    `PUBACK p50 ${showMs(latency.quantile(0.5))} p99 ${showMs(latency.quantile(0.99))}`,
    `tail: ${seen}`,
  ].join(' · ')
}

function summary(
  screen: Screen,
  fleet: Fleet,
  acknowledged: number,
  check: LogCheck,
  troubles: readonly string[],
): number {
  const { latency } = fleet.rates
  const missing = check.missing()
  screen.say('')
  screen.say(`sent          ${fleet.rates.counts().published}`)
  screen.say(`acknowledged  ${acknowledged}`)
  screen.say(`logged        ${check.logged}`)
  screen.say(`missing       ${missing.length} (acknowledged and not in the log)`)
  if (check.repeated > 0) screen.say(`repeated      ${check.repeated} (sent again)`)
  if (check.unreadable > 0) screen.say(`unreadable    ${check.unreadable} lines of the tail`)
  screen.say(
    `PUBACK        p50 ${showMs(latency.quantile(0.5))}, p99 ${showMs(latency.quantile(0.99))}`,
  )
  for (const key of missing.slice(0, 5)) screen.say(`missing: ${key}`)
  for (const trouble of troubles) screen.say(trouble)
  if (acknowledged === 0) screen.say('nothing was acknowledged: the demo shows nothing')
  const good =
    acknowledged > 0 && missing.length === 0 && check.unreadable === 0 && troubles.length === 0
  if (good) for (const line of nextSteps) screen.say(line)
  return good ? 0 : 1
}

const nextSteps = [
  '',
  'Try next, each in a terminal of its own:',
  '  npm start                                     a gateway on 127.0.0.1:1883',
  '  npm run sim -- --devices 50 --rate 2          a fleet for it',
  '  node dist/main.js tail default --follow       what arrives, from the log',
  '  node dist/main.js streams                     what is stored',
]
