/**
 * The door of the bridges: what takes records of the log to upstream brokers, and commands from
 * there into the log. Each bridge has a link of its own and each of its forwards a cursor, so one
 * upstream that is away, slow or lying holds up nobody else.
 *
 * It owns links, lanes, limits and what is in flight. The log owns cursors, gaps and documents.
 */
import type { Clock } from '../base/clock.ts'
import { SluiceError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { type Random, systemRandom } from '../base/random.ts'
import type { EventLog, Start } from '../log/log.ts'
import type { PublishLocal } from './down.ts'
import { publishTo } from './local-publish.ts'
import { MqttUplink } from './mqtt-uplink.ts'
import { OneBridge } from './one-bridge.ts'
import type { BridgeSettings } from './settings.ts'
import type { BridgeStatus } from './status.ts'
import { type After, systemAfter } from './timer.ts'
import type { Uplink } from './uplink.ts'

export type { LocalMessage, PublishLocal } from './down.ts'
export type { BridgeSettings } from './settings.ts'
export type { BridgeState, BridgeStatus, ForwardStatus } from './status.ts'

export interface BridgesParts {
  readonly bridges: readonly BridgeSettings[]
  readonly gateway: string
  readonly log: EventLog
  /** For tests; without it what comes down goes into the log. */
  readonly publishLocal?: PublishLocal
  /**
   * Bytes that a stream can still take before what a cursor has not read is deleted; undefined: no
   * such limit is near.
   */
  readonly roomBytes: (stream: string) => number | undefined
  readonly clock: Clock
  readonly logger: Logger
  /** For tests; the system's without them. */
  readonly random?: Random
  readonly after?: After
  readonly uplink?: (settings: BridgeSettings, inflightMax: number) => Uplink
}

export interface Bridges {
  readonly names: readonly string[]
  /** Begins to connect, where a bridge is not paused. */
  start(): void
  /** Ends the links and brings the cursors to where they are. */
  stop(): Promise<void>
  status(): Promise<readonly BridgeStatus[]>
  /** Ends the link and keeps the place, also across restarts. Throws `bridge-unknown`. */
  pause(name: string): Promise<void>
  /** Throws `bridge-unknown`. */
  resume(name: string): Promise<void>
  /**
   * Moves the forwards of a bridge, or those of one stream; gives where they read on. Throws
   * `bridge-unknown`, `start-invalid`.
   */
  seek(name: string, to: Start, stream: string | undefined): Promise<readonly SeekResult[]>
}

export interface SeekResult {
  readonly cursor: string
  readonly position: number
}

/** Finds the place of each forward; nothing connects before `start`. */
export async function openBridges(parts: BridgesParts): Promise<Bridges> {
  const { log, random = systemRandom, after = systemAfter } = parts
  const publishLocal = parts.publishLocal ?? publishTo(log)
  const bridges = new Map<string, OneBridge>()
  for (const settings of parts.bridges) {
    const inflightMax = OneBridge.inflightMax(settings)
    const uplink = parts.uplink?.(settings, inflightMax) ?? mqttUplink(parts, settings, inflightMax)
    const bridge = new OneBridge({ ...parts, settings, uplink, publishLocal, random, after })
    await bridge.open()
    bridges.set(settings.name, bridge)
  }
  warnOfOrphans(parts, [...bridges.values()])
  const known = (name: string): OneBridge => {
    const bridge = bridges.get(name)
    if (bridge !== undefined) return bridge
    throw new SluiceError('bridge-unknown', `there is no bridge "${name}"`)
  }
  return {
    names: [...bridges.keys()],
    start: () => {
      for (const bridge of bridges.values()) bridge.start()
    },
    stop: async () => {
      await Promise.all([...bridges.values()].map((bridge) => bridge.stop()))
    },
    status: () => Promise.all([...bridges.values()].map((bridge) => bridge.status())),
    pause: async (name) => known(name).pause(),
    resume: async (name) => known(name).resume(),
    seek: async (name, to, stream) => known(name).seek(to, stream),
  }
}

function mqttUplink(
  { gateway }: BridgesParts,
  settings: BridgeSettings,
  inflightMax: number,
): Uplink {
  const { forwards, receives, clientId, ...rest } = settings
  return new MqttUplink({
    ...rest,
    clientId: clientId.replaceAll('{gateway}', gateway),
    inflightMax,
    keepsSession: receives.length > 0,
    usesQos2: forwards.some(({ qos }) => qos === 2),
  })
}

/** A forward that is gone from the configuration leaves its cursor, in case it comes back. */
function warnOfOrphans({ log, logger }: BridgesParts, bridges: readonly OneBridge[]): void {
  const used = new Set(bridges.flatMap(({ cursors }) => cursors))
  for (const { name } of log.state.cursors.list()) {
    if (!name.startsWith('bridge/') || used.has(name)) continue
    logger.warn({ cursor: name }, 'a cursor of a bridge has no forward in the configuration now')
  }
}
