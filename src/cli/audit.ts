/**
 * The proof at the far end: subscribes on an upstream and says, for each partition, whether what
 * arrives is contiguous, what came twice, what is missing, and what of that is explained by gaps.
 */
import { readFileSync } from 'node:fs'
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt'
import { messageOf } from '../base/errors.ts'
import { parseDurationMs } from '../config/config.ts'
import { type LogReader, openLogReader } from '../log/reader/log-reader.ts'
import { viewState } from '../log/state/offline.ts'
import { Explainer } from './audit-explain.ts'
import { Lanes } from './audit-lanes.ts'
import { Notices, noticeOf } from './audit-notices.ts'
import { originsOf } from './audit-origins.ts'
import { type AuditReport, auditJson, auditLines, reportOf } from './audit-report.ts'
import type { CliContext } from './context.ts'
import { printable } from './format.ts'
import { filterOf, UsageError } from './tail-query.ts'

export interface AuditOptions {
  readonly upstream: string
  readonly topic: string
  readonly protocol: '4' | '5'
  readonly username?: string
  readonly passwordFile?: string
  readonly caFile?: string
  readonly certFile?: string
  readonly keyFile?: string
  readonly clientId?: string
  readonly duration?: string
  readonly untilIdle?: string
  /** The data directory of the gateway, whose gaps explain holes. */
  readonly data?: string
  readonly bridge?: string
  readonly only?: readonly string[]
  /** The ends of the log count as well. */
  readonly whole?: boolean
  readonly format: 'text' | 'json'
}

/** How often the end is looked for; a duration is as exact as this. */
const LOOK_MS = 50
const CONNECT_MS = 10_000
/** A named client's session outlasts an outage of its own. */
const SESSION_SECONDS = 86_400

/** Resolves with 0 when every hole is explained, otherwise with 1. */
export async function audit(options: AuditOptions, context: CliContext): Promise<number> {
  const topic = filterOf(options.topic)
  const only = options.only?.map(filterOf)
  const durationMs = durationOf('--duration', options.duration)
  const idleMs = durationOf('--until-idle', options.untilIdle)
  const stop = context.stopRequest()
  // Opened first: a folder that is none is said before anything is waited for.
  const reader = options.data === undefined ? undefined : openLogReader(options.data)
  try {
    const lanes = new Lanes()
    const notices = new Notices()
    const listening = new Listening(lanes, notices, connect(options))
    try {
      await listening.subscribe(topic)
    } catch (error) {
      const where = new URL(options.upstream).host
      context.output.err(`sluice: no subscription at ${where}: ${messageOf(error)}\n`)
      return 1
    }
    context.output.err(`sluice: listening to ${printable(topic)}\n`)
    try {
      await listening.end(durationMs, idleMs, stop)
    } finally {
      await listening.close()
    }
    const explainer = reader && explainerOf(reader, options, only, context)
    const isComplete = options.whole ?? false
    const report = reportOf(lanes, listening.outages, explainer, isComplete, notices)
    await print(report, options.format, context)
    return report.isSound ? 0 : 1
  } finally {
    reader?.close()
  }
}

function explainerOf(
  reader: LogReader,
  { data = '', bridge }: AuditOptions,
  only: readonly string[] | undefined,
  context: CliContext,
): Explainer {
  const { gaps } = viewState(data, reader, context.clock)
  const cursors = bridge === undefined ? 'bridge/' : `bridge/${bridge}/`
  const own = gaps.list().filter(({ cursor }) => cursor?.startsWith(cursors) ?? true)
  return new Explainer(reader, own, only)
}

async function print(
  report: AuditReport,
  format: 'text' | 'json',
  context: CliContext,
): Promise<void> {
  const lines = format === 'json' ? [auditJson(report)] : auditLines(report)
  await context.data.write(lines.map((line) => `${line}\n`).join(''))
}

/** A subscription, and what came by it. */
class Listening {
  /** How often the connection was lost: holes may then be the audit's own. */
  outages = 0
  private readonly lanes: Lanes
  private readonly notices: Notices
  private readonly client: MqttClient
  private readonly startedMs = performance.now()
  private lastMs = performance.now()

  constructor(lanes: Lanes, notices: Notices, client: MqttClient) {
    this.lanes = lanes
    this.notices = notices
    this.client = client
    // One message at a time, acknowledged when it is counted: memory holds one.
    client.handleMessage = (packet, done) => {
      this.take(packet).then(
        () => done(),
        (error: unknown) => done(error instanceof Error ? error : new Error(String(error))),
      )
    }
    // It says what is wrong while nothing is connected, and connects again by itself.
    client.on('error', () => undefined)
  }

  /** Rejects when there is no connection, or the broker refuses. */
  async subscribe(topic: string): Promise<void> {
    await connected(this.client)
    const [granted] = await this.client.subscribeAsync(topic, { qos: 1 })
    if (granted === undefined || granted.qos > 2) throw new Error('the broker refuses the topic')
    this.client.on('close', () => {
      this.outages++
    })
    this.lastMs = performance.now()
  }

  async end(
    durationMs: number | undefined,
    idleMs: number | undefined,
    stop: AbortSignal,
  ): Promise<void> {
    const isOver = () => {
      const nowMs = performance.now()
      const isLong = durationMs !== undefined && nowMs - this.startedMs >= durationMs
      const isIdle = idleMs !== undefined && nowMs - this.lastMs >= idleMs
      return isLong || isIdle || stop.aborted
    }
    while (!isOver()) await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }

  async close(): Promise<void> {
    this.client.removeAllListeners('close')
    await this.client.endAsync(true)
  }

  private async take({ payload, properties }: IPublishPacket): Promise<void> {
    this.lastMs = performance.now()
    const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload
    const notice = noticeOf(bytes)
    if (notice !== undefined) {
      this.notices.see(notice)
      return
    }
    const origins = await originsOf(bytes, properties?.userProperties)
    for (const origin of origins) this.lanes.see(origin)
    if (origins.length === 0) this.lanes.unmarked++
  }
}

function connect(options: AuditOptions): MqttClient {
  const url = URL.canParse(options.upstream) ? new URL(options.upstream) : undefined
  const isBroker = ['mqtt:', 'mqtts:', 'ws:', 'wss:'].includes(url?.protocol ?? '')
  if (!isBroker || url?.username !== '' || url.password !== '') {
    throw new UsageError(
      '--upstream takes a URL such as mqtts://broker.example.com:8883 (mqtt, mqtts, ws, wss), without user or password: --username, --password-file',
    )
  }
  const { clientId, username, passwordFile, caFile, certFile, keyFile } = options
  const isNamed = clientId !== undefined
  const isVersion5 = options.protocol === '5'
  const settings: IClientOptions = {
    protocolVersion: isVersion5 ? 5 : 4,
    clean: !isNamed,
    connectTimeout: CONNECT_MS,
    reconnectPeriod: 1000,
    ...(isNamed && { clientId }),
    ...(isNamed && isVersion5 && { properties: { sessionExpiryInterval: SESSION_SECONDS } }),
    ...(username !== undefined && { username }),
    ...(passwordFile !== undefined && { password: contentOf(passwordFile).toString().trim() }),
    ...(caFile !== undefined && { ca: contentOf(caFile) }),
    ...(certFile !== undefined && { cert: contentOf(certFile) }),
    ...(keyFile !== undefined && { key: contentOf(keyFile) }),
  }
  return mqtt.connect(options.upstream, settings)
}

function contentOf(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${messageOf(error)}`)
  }
}

/** Rejects with the first reason why there is no connection, and gives the client up then. */
async function connected(client: MqttClient): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const fail = (error: Error) => {
      client.end(true)
      reject(error)
    }
    client.once('connect', () => {
      client.off('error', fail)
      client.off('close', fall)
      resolve()
    })
    const fall = () => fail(new Error('the connection was closed before it was accepted'))
    client.once('error', fail)
    client.once('close', fall)
  })
}

function durationOf(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const ms = parseDurationMs(text)
  if (ms === undefined) {
    throw new UsageError(`${option} takes a duration such as 30s or 10m, not "${printable(text)}"`)
  }
  return ms
}
