/**
 * The way down: what the upstream sends for our subscriptions goes into the log here.
 *
 * W1. The upstream's message is acknowledged only after it is kept here, or needs no keeping (an
 *     echo, a retained one that came before, one that is stale).
 * W2. A message that storage refuses ends the link: the upstream sends it again with the next one.
 * W3. The subscription outlives the link (a persistent session), so commands wait for us there.
 */

import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { Documents } from '../log/log.ts'
import { BRIDGE_KIND, jsonIn } from './documents.ts'
import { BridgeMemory } from './echo.ts'
import { type Arrival, createReceiver, expirySecondsLeft, type Receiver } from './receive.ts'
import type { ReceiveSettings } from './settings.ts'
import type { CloseReason, Connected, InboundMessage, UplinkConnection } from './uplink.ts'

/** A message for the log here, as if a client had published it. */
export interface LocalMessage {
  readonly client: string
  readonly topic: string
  readonly payload: Uint8Array
  /** An MQTT 5 property block without its length. */
  readonly properties: Uint8Array
  /** What of them a stream may be keyed by. */
  readonly userProperties: readonly (readonly [string, string])[]
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
}

/** Resolves true once the message is kept; false: storage does not take it. */
export type PublishLocal = (message: LocalMessage) => Promise<boolean>

export interface DownParts {
  readonly name: string
  readonly gateway: string
  readonly receives: readonly ReceiveSettings[]
  /** The client of what comes down. */
  readonly ownClient: string
  readonly documents: Documents
  readonly publishLocal: PublishLocal
  readonly clock: Clock
  readonly logger: Logger
  readonly fail: (reason: CloseReason) => void
}

export interface Expired {
  readonly topic: string
  readonly timeMs: number
}

/** Of stale commands so many are remembered for `sluice bridge status`; all are counted. */
const EXPIRED_SHOWN = 20

export class Down {
  received = 0
  skipped = 0
  expired = 0
  /** The last of them, newest last. */
  readonly lastExpired: Expired[] = []
  readonly memory: BridgeMemory
  private readonly parts: DownParts
  private readonly receiver: Receiver
  private known: readonly string[] = []

  constructor(parts: DownParts) {
    this.parts = parts
    const { receives, gateway } = parts
    const filters = receives.map(({ from }) => from.replaceAll('{gateway}', gateway))
    this.memory = new BridgeMemory(filters, () => this.nowMs())
    this.receiver = createReceiver(receives, gateway, this.memory)
  }

  get isUsed(): boolean {
    return this.receiver.filters.length > 0
  }

  async open(): Promise<void> {
    const keys = [this.subscribedKey, this.seenKey]
    const [subscribed, seen] = await this.parts.documents.get(BRIDGE_KIND, keys)
    this.known = (jsonIn(subscribed) as string[] | undefined) ?? []
    this.memory.load((jsonIn(seen) as [string, string][] | undefined) ?? [])
  }

  /** Asks for what is received, as far as the upstream does not know it still. */
  async up(connection: UplinkConnection, { sessionPresent }: Connected): Promise<void> {
    const { filters } = this.receiver
    const known = sessionPresent ? this.known : []
    try {
      await connection.unsubscribe(known.filter((filter) => !filters.includes(filter)))
      await connection.subscribe(filters.filter((filter) => !known.includes(filter)))
    } catch (thrown) {
      const sentence = `does not grant what the bridge is to receive: ${messageOf(thrown)}`
      this.parts.fail({ kind: 'not-authorized', sentence })
      return
    }
    this.known = filters
    this.put(this.subscribedKey, filters)
  }

  message(message: InboundMessage, taken: () => void): void {
    const arrival: Arrival = {
      topic: message.topic,
      payload: message.payload,
      retain: message.retain,
      userProperties: message.userProperties,
      expirySeconds: message.expiryS,
      arrivedMs: this.nowMs(),
    }
    const verdict = this.receiver.judge(arrival, arrival.arrivedMs)
    if (verdict.kind === 'skip') {
      this.skipped++
      taken()
      return
    }
    if (verdict.kind === 'expired') {
      this.noteExpired(verdict.topic)
      taken()
      return
    }
    const expiryS = expirySecondsLeft(verdict.staleMs, this.nowMs())
    const local: LocalMessage = {
      client: this.parts.ownClient,
      topic: verdict.topic,
      payload: message.payload,
      properties: propertyBlock(message.userProperties, expiryS),
      userProperties: message.userProperties,
      qos: message.qos,
      retain: message.retain,
    }
    void this.keep(local, arrival, taken)
  }

  private async keep(local: LocalMessage, arrival: Arrival, taken: () => void): Promise<void> {
    if (!(await this.parts.publishLocal(local))) {
      const sentence = 'sent what cannot be kept here now: it is asked for again'
      this.parts.fail({ kind: 'lost', sentence })
      return
    }
    this.received++
    this.memory.took(arrival)
    if (arrival.retain) this.put(this.seenKey, [...this.memory.seen()])
    taken()
  }

  private noteExpired(topic: string): void {
    this.expired++
    this.lastExpired.push({ topic, timeMs: this.parts.clock.now() })
    if (this.lastExpired.length > EXPIRED_SHOWN) this.lastExpired.shift()
    const fields = { bridge: this.parts.name, topic }
    this.parts.logger.warn(fields, 'a command from the upstream is stale: it is not delivered')
  }

  private put(key: string, value: unknown): void {
    const bytes = Buffer.from(JSON.stringify(value))
    this.parts.documents.put([{ kind: BRIDGE_KIND, key, value: bytes }])
  }

  private get subscribedKey(): string {
    return `${this.parts.name}/subscribed`
  }

  private get seenKey(): string {
    return `${this.parts.name}/seen`
  }

  private nowMs(): number {
    return this.parts.clock.monotonicUs() / 1000
  }
}

/** What of a message's properties is kept: user properties in their order, and its lifetime. */
function propertyBlock(
  userProperties: readonly (readonly [string, string])[],
  expiryS: number | undefined,
): Uint8Array {
  const parts: Buffer[] = []
  if (expiryS !== undefined) {
    const expiry = Buffer.alloc(5)
    expiry[0] = 2
    expiry.writeUInt32BE(Math.min(expiryS, 0xffff_ffff), 1)
    parts.push(expiry)
  }
  for (const [name, value] of userProperties) {
    parts.push(Buffer.from([38]), mqttString(name), mqttString(value))
  }
  return Buffer.concat(parts)
}

function mqttString(text: string): Buffer {
  const bytes = Buffer.from(text)
  const length = Buffer.alloc(2)
  length.writeUInt16BE(bytes.length)
  return Buffer.concat([length, bytes])
}
