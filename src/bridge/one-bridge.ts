/** One bridge: its link, its forwards, its limits, and the loop that joins them. */
import type { Clock } from '../base/clock.ts'
import { messageOf, SluiceError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { Random } from '../base/random.ts'
import { type EventLog, isOutOfService, type Start } from '../log/log.ts'
import type { SeekResult } from './bridge.ts'
import { DailyBudget, type DailySpending } from './daily-budget.ts'
import { DayWindow } from './day-window.ts'
import { forwardStatus, linkStatus } from './describe.ts'
import { BRIDGE_KIND, jsonIn } from './documents.ts'
import { Down, type PublishLocal } from './down.ts'
import { Forward } from './forward.ts'
import { Limits } from './limits.ts'
import { Link, type LinkHost } from './link.ts'
import { Pace } from './pace.ts'
import { Pump } from './pump.ts'
import { TokenBucket } from './rate-limit.ts'
import type { BridgeSettings } from './settings.ts'
import type { BridgeStatus, ForwardStatus } from './status.ts'
import type { After } from './timer.ts'
import type {
  CloseKind,
  CloseReason,
  Connected,
  InboundMessage,
  Uplink,
  UplinkConnection,
} from './uplink.ts'

export interface OneBridgeParts {
  readonly settings: BridgeSettings
  readonly gateway: string
  readonly log: EventLog
  readonly uplink: Uplink
  readonly publishLocal: PublishLocal
  readonly roomBytes: (stream: string) => number | undefined
  readonly clock: Clock
  readonly random: Random
  readonly after: After
  readonly logger: Logger
}

/** Cursors move this often: each move is a row, and what is not moved is only sent again. */
const COMMIT_MS = 200
/** Ages, paces and orphans are looked at this often. */
const LOOK_MS = 5000
/** Without a keep-alive to go by, acks that stand still for this long mean a stuck link. */
const STUCK_MS = 60_000
/** Identifiers beyond the windows, so that a seek finds some while old ones are under way. */
const SPARE_IDS = 64
const IDS_MAX = 65_000

/** Reasons that lie in the message: sending it again changes nothing [MQTT5 3.4.2.1]. */
const REFUSED_FOR_GOOD: ReadonlySet<number> = new Set([0x90, 0x95, 0x99])
const refusals: ReadonlyMap<number, { readonly kind: CloseKind; readonly sentence: string }> =
  new Map([
    [0x87, { kind: 'not-authorized', sentence: 'does not let this client publish a topic' }],
    [0x97, { kind: 'quota', sentence: 'takes no message: a quota is used up' }],
  ])

export class OneBridge implements LinkHost {
  forwards: readonly Forward[]
  private readonly parts: OneBridgeParts
  private readonly link: Link
  private readonly down_: Down
  private readonly paces = new Map<Forward, Pace>()
  private readonly appended = new Map<string, { bytes: number; readonly pace: Pace }>()
  private pump: Pump | undefined
  private limits: Limits | undefined
  private connection: UplinkConnection | undefined
  private isPaused = false
  private turnDue = false
  private cancelWait: (() => void) | undefined
  private cancelCommit: (() => void) | undefined
  private cancelLook: (() => void) | undefined
  /** What the last look began: a stop waits for it. */
  private looking: Promise<unknown> = Promise.resolve()
  private stopped = false

  constructor(parts: OneBridgeParts) {
    this.parts = parts
    const { settings, uplink, clock, random, after, logger } = parts
    const { name } = settings
    const stuckAfterMs = settings.keepaliveMs > 0 ? settings.keepaliveMs : STUCK_MS
    const own = { name, uplink, settings, stuckAfterMs, clock, random, after, logger }
    this.link = new Link({ ...own, host: this })
    this.forwards = this.makeForwards()
    this.down_ = this.makeDown()
    for (const forward of this.forwards) this.paces.set(forward, new Pace())
  }

  /** Messages that may be under way over one link. */
  static inflightMax({ forwards }: BridgeSettings): number {
    const windows = forwards.reduce((sum, { window }) => sum + window, 0)
    return Math.min(IDS_MAX, windows + SPARE_IDS)
  }

  get cursors(): readonly string[] {
    return this.forwards.map(({ cursor }) => cursor)
  }

  async open(): Promise<void> {
    const { log } = this.parts
    const keys = [this.pausedKey, this.dayKey]
    const [paused, day] = await log.state.documents.get(BRIDGE_KIND, keys)
    this.isPaused = paused !== undefined
    this.limits = this.makeLimits(spendingIn(day))
    await this.openForwards()
    await this.down_.open()
    const { sending } = this
    this.pump = new Pump(this.forwards, this.limits, { sending: (forward) => sending(forward) })
    log.onCommit(({ stream, sizeBytes }) => {
      const count = this.appended.get(stream)
      if (count !== undefined) count.bytes += sizeBytes
    })
    for (const { settings } of this.forwards) {
      this.appended.set(settings.stream, { bytes: 0, pace: new Pace() })
    }
  }

  /** One whose stream is out of service is left out until the next start; the others go on. */
  private async openForwards(): Promise<void> {
    const open: Forward[] = []
    for (const forward of this.forwards) {
      try {
        await forward.open()
        open.push(forward)
      } catch (thrown) {
        if (!isOutOfService(thrown)) throw thrown
        const { name } = this.parts.settings
        const fields = { bridge: name, stream: forward.settings.stream, reason: messageOf(thrown) }
        this.parts.logger.error(fields, 'a forward is not served until the next start')
      }
    }
    this.forwards = open
  }

  start(): void {
    this.look()
    if (!this.isPaused) this.link.start()
  }

  async stop(): Promise<void> {
    this.stopped = true
    this.cancelWait?.()
    this.cancelLook?.()
    await this.link.stop('the gateway stops')
    await this.looking
    this.cancelCommit?.()
    for (const forward of this.forwards) forward.close()
    this.limits?.day?.save()
  }

  async pause(): Promise<void> {
    this.isPaused = true
    await this.link.stop('the bridge is paused')
    const value = Buffer.from('paused')
    await this.parts.log.state.documents.putNow([{ kind: BRIDGE_KIND, key: this.pausedKey, value }])
  }

  async resume(): Promise<void> {
    this.isPaused = false
    const value = undefined
    await this.parts.log.state.documents.putNow([{ kind: BRIDGE_KIND, key: this.pausedKey, value }])
    this.link.start()
  }

  async seek(to: Start, stream: string | undefined): Promise<readonly SeekResult[]> {
    const moved: SeekResult[] = []
    for (const forward of this.forwards) {
      if (stream !== undefined && forward.settings.stream !== stream) continue
      moved.push({ cursor: forward.cursor, position: await forward.seek(to) })
    }
    if (moved.length > 0) return moved
    const what = stream === undefined ? 'forwards nothing' : `forwards no stream "${stream}"`
    throw new SluiceError('bridge-unknown', `the bridge "${this.parts.settings.name}" ${what}`)
  }

  up(connection: UplinkConnection, facts: Connected): void {
    this.connection = connection
    for (const forward of this.forwards) forward.attach()
    if (this.down_.isUsed) void this.down_.up(connection, facts)
    this.wake()
  }

  down(_reason: CloseReason): void {
    this.connection = undefined
    this.cancelWait?.()
    for (const forward of this.forwards) forward.detach()
    this.commitSoon()
  }

  message(message: InboundMessage, taken: () => void): void {
    this.down_.message(message, taken)
  }

  roomy(): void {
    this.wake()
  }

  async status(): Promise<BridgeStatus> {
    const { settings } = this.parts
    const forwards: ForwardStatus[] = []
    for (const forward of this.forwards) forwards.push(await this.forwardStatus(forward))
    const { lastError, connects, attempts } = this.link
    const down = this.down_
    return {
      name: settings.name,
      url: settings.url,
      ...linkStatus(this.link.state, this.limits, this.nowMs()),
      reconnects: Math.max(0, connects - 1),
      attempts,
      lastError: lastError && { ...lastError.reason, timeMs: lastError.timeMs },
      spentTodayBytes: this.limits?.day?.spentBytes,
      perDayBytes: settings.limit.bytesPerDay,
      forwards,
      received: down.received,
      receiveSkipped: down.skipped,
      receiveExpired: down.expired,
      lastExpired: down.lastExpired,
    }
  }

  private forwardStatus(forward: Forward): Promise<ForwardStatus> {
    const { log, roomBytes } = this.parts
    const nowMs = this.nowMs()
    const appended = this.appended.get(forward.settings.stream)
    return forwardStatus(forward, {
      log,
      roomBytes,
      sentPerSecond: this.paces.get(forward)?.perSecond(nowMs, forward.sentRecords) ?? 0,
      bytesPerSecond: appended?.pace.perSecond(nowMs, appended.bytes) ?? 0,
    })
  }

  /** Sends at the end of the loop turn: what comes in one turn costs one run of the pump. */
  private readonly wake = (): void => {
    if (this.turnDue || this.stopped) return
    this.turnDue = true
    setImmediate(() => {
      this.turnDue = false
      this.turn()
    })
  }

  private turn(): void {
    const { connection, pump } = this
    if (connection === undefined || pump === undefined || this.link.state.kind !== 'up') return
    if (connection.inflight === 0) this.link.progressed()
    const limitMs = pump.run(connection)
    this.cancelWait?.()
    const waits = [limitMs, this.lingerMs()].filter((ms) => ms !== undefined)
    if (waits.length > 0) {
      this.cancelWait = this.parts.after(Math.max(1, Math.min(...waits)), () => this.wake())
    }
    this.commitSoon()
  }

  /** Until a batch that is not full must leave. */
  private lingerMs(): number | undefined {
    const dues = this.forwards.flatMap(({ dueMs }) => dueMs ?? [])
    return dues.length === 0 ? undefined : Math.min(...dues) - this.nowMs()
  }

  private commitSoon(): void {
    if (this.stopped) return
    this.cancelCommit ??= this.parts.after(COMMIT_MS, () => {
      this.cancelCommit = undefined
      for (const forward of this.forwards) forward.commit()
    })
  }

  private look(): void {
    const nowMs = this.nowMs()
    for (const [forward, pace] of this.paces) pace.look(nowMs, forward.sentRecords)
    for (const { bytes, pace } of this.appended.values()) pace.look(nowMs, bytes)
    this.looking = Promise.all(this.forwards.map((forward) => this.keepMaxLag(forward)))
    // A log that could not be read is asked again.
    this.wake()
    this.cancelLook = this.parts.after(LOOK_MS, () => this.look())
  }

  private async keepMaxLag(forward: Forward): Promise<void> {
    try {
      forward.notes.retry()
      await forward.maxLag.look()
    } catch (thrown) {
      // Storage, tried again with the next look; an assertion that fails ends the process.
      if (!(thrown instanceof SluiceError)) throw thrown
      const fields = { cursor: forward.cursor, reason: thrown.message }
      this.parts.logger.error(fields, 'max_lag of a forward cannot be kept now')
    }
  }

  private readonly sending = ({ message }: Forward): void => {
    if (!this.down_.isUsed || this.connection?.hasProperties === true) return
    const topic = Buffer.from(message.topic).toString()
    this.down_.memory.sent(topic, message.payload, message.retain)
  }

  private refused(cursor: string, reason: number): 'skip' | 'again' {
    const { logger, settings } = this.parts
    const code = `0x${reason.toString(16)}`
    if (REFUSED_FOR_GOOD.has(reason)) {
      const fields = { bridge: settings.name, cursor, reason: code }
      logger.warn(fields, 'the upstream refuses a message for good: it is left out')
      return 'skip'
    }
    const known = refusals.get(reason)
    const sentence = known?.sentence ?? 'refuses a message'
    this.link.fail({
      kind: known?.kind ?? 'server-disconnected',
      sentence: `${sentence} (${code})`,
    })
    return 'again'
  }

  private makeForwards(): readonly Forward[] {
    const { log, settings, gateway, clock, logger } = this.parts
    const seen = new Map<string, number>()
    return settings.forwards.map((forward) => {
      const count = (seen.get(forward.stream) ?? 0) + 1
      seen.set(forward.stream, count)
      const plain = `bridge/${settings.name}/${forward.stream}`
      return new Forward({
        log,
        clock,
        logger,
        gateway,
        settings: forward,
        cursor: count === 1 ? plain : `${plain}/${count}`,
        ownClient: this.ownClient,
        wake: this.wake,
        progressed: () => this.progressed(),
        refused: (cursor, reason) => this.refused(cursor, reason),
      })
    })
  }

  private progressed(): void {
    this.link.progressed()
    this.wake()
  }

  private makeDown(): Down {
    const { log, settings, gateway, publishLocal, clock, logger } = this.parts
    return new Down({
      name: settings.name,
      gateway,
      receives: settings.receives,
      ownClient: this.ownClient,
      documents: log.state.documents,
      publishLocal,
      clock,
      logger,
      fail: (reason) => this.link.fail(reason),
    })
  }

  private makeLimits(spending: DailySpending | undefined): Limits {
    const { log, settings, clock } = this.parts
    const { recordsPerSecond, bytesPerSecond, bytesPerDay, window: hours } = settings.limit
    const nowMs = () => this.nowMs()
    const bucket = (rate: number | undefined) =>
      rate === undefined ? undefined : new TokenBucket(rate, nowMs)
    const save = (spent: DailySpending) => {
      const value = Buffer.from(JSON.stringify(spent))
      log.state.documents.put([{ kind: BRIDGE_KIND, key: this.dayKey, value }])
    }
    const day =
      bytesPerDay === undefined
        ? undefined
        : new DailyBudget({ bytesPerDay, nowMs: () => clock.now(), load: () => spending, save })
    const window = hours && new DayWindow({ ...hours, nowMs: () => clock.now() })
    const records = bucket(recordsPerSecond)
    return new Limits({ records, bytes: bucket(bytesPerSecond), day, window })
  }

  /** No client of a listener can have this name: a user sees where a command came from. */
  private get ownClient(): string {
    return `$bridge/${this.parts.settings.name}`
  }

  private get pausedKey(): string {
    return `${this.parts.settings.name}/paused`
  }

  private get dayKey(): string {
    return `${this.parts.settings.name}/day`
  }

  private nowMs(): number {
    return this.parts.clock.monotonicUs() / 1000
  }
}

function spendingIn(document: Uint8Array | undefined): DailySpending | undefined {
  return jsonIn(document) as DailySpending | undefined
}
