/**
 * What the scenarios share: a gateway on a port that stays the same, a fleet of constrained devices
 * in this process, and the audit of every reading at the end.
 *
 * SLUICE_SIM_SECONDS makes the scenarios longer (3 s of load by default), SLUICE_SEED chooses the
 * fleet and what happens to it.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { onTestFinished } from 'vitest'
import { type AuditResult, auditFleet, type FarEnd } from '../../firmware-sim/audit/audit-fleet.ts'
import { CommandSource } from '../../firmware-sim/audit/log-source.ts'
import { reportLines } from '../../firmware-sim/audit/report.ts'
import { freePorts } from '../../firmware-sim/demo/gateway.ts'
import { Field } from '../../firmware-sim/node/field.ts'
import { parseScenario } from '../../firmware-sim/node/scenario.ts'
import { systemTime } from '../../firmware-sim/time.ts'
import {
  type GatewayOptions,
  type GatewayProcess,
  MAIN,
  startGateway,
} from '../support/gateway-process.ts'

export const SECONDS = Number(process.env['SLUICE_SIM_SECONDS'] ?? 3)
export const SEED = Number(process.env['SLUICE_SEED'] ?? 20_260)
/** What a scenario may take beside its load. */
export const TIMEOUT_MS = 60_000 + SECONDS * 3_000

/** How long devices get to send what they have; a gateway that was away sees a fleet's backoff. */
const DRAIN_MS = 20_000

const STREAMS = `
[disk]
segment = "1MiB"

[[stream]]
name = "telemetry"
topics = ["devices/+/telemetry"]
partitions = 4
key = "topic:1"

[[stream]]
name = "alarms"
topics = ["devices/+/alarm"]
key = "topic:1"
`

/** All profiles; `speed` times real time, `count` devices of each. */
export function everyProfile(speed: number, count: number, chaos = ''): string {
  const profiles = ['env-sensor', 'power-meter', 'vibration', 'gps-tracker', 'door', 'valve']
  const fleets = profiles.map((one) => `[[fleet]]\nprofile = "${one}"\ncount = ${count}\n`)
  return `speed = ${speed}\ncommands_every = "5m"\n${fleets.join('')}${chaos}`
}

export class Site {
  readonly field: Field
  readonly folder: string
  said: readonly string[] = []
  readonly port: number
  gateway: GatewayProcess
  private readonly options: GatewayOptions

  private constructor(
    field: Field,
    gateway: GatewayProcess,
    options: GatewayOptions,
    port: number,
    folder: string,
  ) {
    this.field = field
    this.gateway = gateway
    this.options = options
    this.port = port
    this.folder = folder
  }

  /** A gateway that serves, and a fleet that has not begun to live. */
  static async open(scenario: string, options: GatewayOptions = {}): Promise<Site> {
    const folder = mkdtempSync(path.join(tmpdir(), 'sluice-site-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const [port = 0] = await freePorts(1)
    const listener = `[[mqtt.listener]]\naddress = "127.0.0.1:${port}"\n`
    const all = {
      dataDir: path.join(folder, 'data'),
      ...options,
      config: `${listener}${options.config ?? STREAMS}`,
    }
    const said: string[] = []
    const broker = { host: '127.0.0.1', port, protocol: 4 } as const
    const parsed = parseScenario(scenario)
    const field = new Field({ scenario: parsed, broker, seed: SEED }, systemTime, (line) =>
      said.push(line),
    )
    const gateway = await startGateway(all)
    const site = new Site(field, gateway, all, port, folder)
    site.said = said
    onTestFinished(() => site.gateway.dispose())
    return site
  }

  get ledgerFile(): string {
    return path.join(this.folder, 'ledger.jsonl')
  }

  /** Another process on the same data and port: the one before must have ended. */
  async startAgain(): Promise<void> {
    await this.gateway.dispose()
    this.gateway = await startGateway(this.options)
  }

  /**
   * The fleet lives for the seconds of a scenario, and until what happens beside it is over.
   * `running` aborts when the seconds have passed.
   */
  async live(
    happening: (running: AbortSignal) => Promise<void> = async () => undefined,
  ): Promise<void> {
    const [running, stop] = [new AbortController(), new AbortController()]
    const living = this.field.live(stop.signal)
    const passed = wait(SECONDS * 1_000).then(() => running.abort())
    try {
      await happening(running.signal)
      await passed
    } finally {
      stop.abort()
      await living
    }
  }

  /** Lets the fleet empty its memories, stops the gateway and counts. */
  async count(farEnds: readonly FarEnd[] = []): Promise<AuditResult> {
    await this.drain()
    await this.gateway.stop()
    return await this.audit(farEnds)
  }

  async drain(): Promise<void> {
    const left = await this.field.drain(DRAIN_MS)
    if (left > 0)
      throw new Error(`${left} readings never left the devices: ${this.said.join('\n')}`)
  }

  async audit(farEnds: readonly FarEnd[] = []): Promise<AuditResult> {
    await this.field.ledger.write(this.ledgerFile, { seed: SEED })
    const { dataDir } = this.gateway
    const log = new CommandSource([process.execPath, MAIN], dataDir)
    return await auditFleet({ ledger: this.ledgerFile, log, farEnds })
  }
}

/** Figures for whoever reads the test's output. */
export function tell(name: string, result: AuditResult, more = ''): void {
  const table = reportLines(result).map((line) => `    ${line}`)
  process.stdout.write(`sim: ${name} (seed ${SEED})${more}\n${table.join('\n')}\n`)
}

/** What every scenario demands, whatever happened. */
export function lostOf({ stages }: AuditResult): Record<string, number> {
  return Object.fromEntries(stages.map(({ name, lost }) => [name, lost]))
}
