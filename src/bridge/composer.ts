/** What a record becomes on its way up: topic, payload, properties. */
import type { Clock } from '../base/clock.ts'
import type { LogRecord } from '../log/log.ts'
import { envelope } from './envelope.ts'
import { expiryAt, OriginProperties } from './origin.ts'
import type { ForwardSettings } from './settings.ts'
import { UpstreamTopics } from './topics.ts'
import type { OutboundMessage } from './uplink.ts'

export interface ComposerParts {
  readonly settings: ForwardSettings
  readonly gateway: string
  readonly epoch: number
  /** Of the stream: what a template refers to where the forward has no topics of its own. */
  readonly streamTopics: readonly string[]
  readonly clock: Clock
}

export const NO_BYTES = new Uint8Array(0)

export class Composer {
  private readonly parts: ComposerParts
  private readonly origin: OriginProperties
  private readonly topics: UpstreamTopics

  constructor(parts: ComposerParts) {
    this.parts = parts
    const { settings, gateway, epoch, streamTopics } = parts
    const { stream, to, topics = streamTopics } = settings
    this.origin = new OriginProperties(gateway, epoch, stream)
    this.topics = new UpstreamTopics(to, gateway, stream, topics)
  }

  single(
    message: OutboundMessage,
    record: LogRecord,
    isHistorical: boolean,
    hasProperties: boolean,
  ): void {
    message.topic = this.topics.of(record)
    message.qos = this.parts.settings.qos
    message.retain = record.retain
    message.payload = this.payloadOf(record)
    message.properties = this.propertiesOf(record)
    message.extraEnd = 0
    if (hasProperties) this.origin.single(message, record, isHistorical)
  }

  batch(message: OutboundMessage, payload: Uint8Array, isHistorical: boolean): void {
    message.topic = this.topics.ofBatch()
    message.qos = this.parts.settings.qos
    message.retain = false
    message.payload = payload
    message.properties = NO_BYTES
    this.origin.batch(message, isHistorical)
  }

  /** Its message expiry ended while it waited. */
  isExpired(record: LogRecord): boolean {
    if (record.payloadAt === record.propertiesAt) return false
    const at = expiryAt(record.properties)
    return at >= 0 && this.remainingS(record, at) <= 0
  }

  private payloadOf(record: LogRecord): Uint8Array {
    const { settings, gateway, epoch } = this.parts
    const { envelope: kind } = settings
    return kind === 'none' ? record.payload : envelope(kind, record, gateway, epoch)
  }

  /** The publisher's properties, with what is left of the message's lifetime [MQTT-3.3.2-6]. */
  private propertiesOf(record: LogRecord): Uint8Array {
    if (record.payloadAt === record.propertiesAt) return NO_BYTES
    const { properties } = record
    const at = expiryAt(properties)
    if (at < 0) return properties
    const copy = Buffer.from(properties)
    copy.writeUInt32BE(Math.ceil(this.remainingS(record, at)), at)
    return copy
  }

  private remainingS(record: LogRecord, at: number): number {
    const { properties } = record
    const view = new DataView(properties.buffer, properties.byteOffset, properties.byteLength)
    const waitedMs = Math.max(0, this.parts.clock.now() - record.timeMs)
    return view.getUint32(at) - waitedMs / 1000
  }
}
