/**
 * The uplink over MQTT. The client library makes the connection (TCP, TLS, WebSocket), the
 * handshake, the keep-alive and the subscriptions; PUBLISH and its acks pass it by in both
 * directions: its own way up is a queue with copies, which the log makes useless, and its own way
 * down acknowledges before a message is kept.
 *
 * Nothing of a connection outlives it: a new client for each, without reconnecting, resending or
 * queueing of its own. The name is looked up anew each time, and files are read anew, so that a new
 * password or certificate needs no restart.
 */
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import mqtt, { type IClientOptions, type IPublishPacket, type MqttClient, type Packet } from 'mqtt'
import { messageOf } from '../base/errors.ts'
import { connackReason, disconnectReason, errorReason } from './close-reasons.ts'
import { MqttOutput } from './mqtt-output.ts'
import type {
  CloseReason,
  OutboundMessage,
  PublishWaiter,
  Uplink,
  UplinkConnection,
  UplinkEvents,
} from './uplink.ts'

export interface MqttUplinkSettings {
  readonly url: string
  readonly protocol: 4 | 5
  readonly clientId: string
  readonly username?: string
  readonly passwordFile?: string
  readonly tls?: {
    readonly caFile?: string
    readonly certFile?: string
    readonly keyFile?: string
    readonly alpn?: readonly string[]
  }
  readonly keepaliveMs: number
  /** Messages of QoS 1 and 2 under way at most; the upstream's receive maximum lowers it. */
  readonly inflightMax: number
  /** The upstream is to keep our subscriptions, and what comes for them, while we are away. */
  readonly keepsSession: boolean
  /** Some of what is published has QoS 2. */
  readonly usesQos2: boolean
}

/** Time for TCP, TLS and CONNACK together: a modem that wakes takes ten seconds. */
const CONNECT_TIMEOUT_MS = 30_000
/** The upstream may forget a session that nobody came back to for this long: a week. */
const SESSION_EXPIRY_S = 7 * 86_400
/** Messages that come down and are not kept yet: commands are few, and memory is bounded. */
export const RECEIVE_MAXIMUM = 128
/** Identifiers above are the library's, for SUBSCRIBE; below are ours. */
export const PUBLISH_IDS_MAX = 65_000

const defaultPorts: Readonly<Record<string, number>> = {
  'mqtt:': 1883,
  'mqtts:': 8883,
  'ws:': 80,
  'wss:': 443,
}

export class MqttUplink implements Uplink {
  private readonly settings: MqttUplinkSettings

  constructor(settings: MqttUplinkSettings) {
    this.settings = settings
  }

  connect(events: UplinkEvents): UplinkConnection {
    return new MqttConnection(this.settings, events)
  }
}

class MqttConnection implements UplinkConnection {
  readonly hasProperties: boolean
  packetBytesMax = 268_435_460
  private readonly settings: MqttUplinkSettings
  private readonly events: UplinkEvents
  private readonly output: MqttOutput
  private client: MqttClient | undefined
  private reason: CloseReason | undefined
  private closed = false
  /** PUBCOMPs that a resumed session owes before identifiers are used again. */
  private releasing = 0
  private sessionPresent = false
  private takesRetained = true
  private qosMax: 0 | 1 | 2 = 2
  /** Came down and not taken yet. */
  private receiving = 0
  private heldBack: (() => void)[] = []

  constructor(settings: MqttUplinkSettings, events: UplinkEvents) {
    this.settings = settings
    this.events = events
    this.hasProperties = settings.protocol === 5
    const idsMax = Math.min(settings.inflightMax, PUBLISH_IDS_MAX)
    this.output = new MqttOutput(settings.protocol, idsMax, () => {
      if (!this.closed) this.events.roomy()
    })
    try {
      this.client = mqtt.connect(optionsOf(settings))
    } catch (thrown) {
      const sentence = `cannot be tried: ${messageOf(thrown)}`
      this.reason = { kind: 'unusable', sentence }
      setImmediate(() => this.finish())
      return
    }
    this.listen(this.client)
  }

  get hasRoom(): boolean {
    return !this.closed && this.output.hasRoom
  }

  get inflight(): number {
    return this.output.inflight
  }

  get inflightMax(): number {
    return this.output.inflightMax
  }

  sizeOf(message: OutboundMessage): number {
    return this.output.sizeOf(message)
  }

  /** What the upstream does not have it is not sent: it would end the link [MQTT5 3.2.2.3.4]. */
  publish(message: OutboundMessage, waiter: PublishWaiter): void {
    if (!this.takesRetained) message.retain = false
    if (message.qos > this.qosMax) message.qos = this.qosMax
    this.output.publish(message, waiter)
  }

  flush(): void {
    this.output.flush()
  }

  async subscribe(filters: readonly string[]): Promise<void> {
    if (filters.length === 0) return
    // Retained messages only for a subscription that is new [MQTT5 3.8.3.1], and nothing of what
    // this client itself published. QoS 1 at most: of QoS 2 the handshake would have to outlive us.
    const options = this.hasProperties ? { qos: 1, nl: true, rap: true, rh: 1 } : { qos: 1 }
    await this.client?.subscribeAsync([...filters], options as { qos: 1 })
  }

  async unsubscribe(filters: readonly string[]): Promise<void> {
    if (filters.length > 0) await this.client?.unsubscribeAsync([...filters])
  }

  close(reason: CloseReason): void {
    this.reason ??= reason
    if (this.closed) return
    const polite = reason.kind === 'local' && this.client?.connected === true
    this.output.flush()
    if (polite) this.client?.end(false)
    else this.client?.end(true)
    // A peer that is gone never closes its side: nobody waits for it.
    if (polite) setTimeout(() => this.client?.stream.destroy(), 500).unref()
    else setImmediate(() => this.finish())
  }

  private listen(client: MqttClient): void {
    const { protocol } = this.settings
    client.handleMessage = (packet, done) => this.received(packet, done)
    // The library keeps errors without a code to itself.
    client.stream.on('error', (thrown: Error) => {
      this.reason ??= errorReason(thrown)
    })
    client.on('packetreceive', (packet) => this.packet(packet))
    client.on('connect', (connack) => {
      if (this.closed) return
      const { properties } = connack
      this.takesRetained = properties?.retainAvailable !== false
      this.qosMax = qosMaxOf(properties?.maximumQoS)
      this.packetBytesMax = properties?.maximumPacketSize ?? this.packetBytesMax
      this.sessionPresent = connack.sessionPresent
      this.output.open(client.stream, properties?.receiveMaximum ?? 65_535)
      if (this.sessionPresent && this.settings.usesQos2) this.releasing = this.output.releaseAll()
      if (this.releasing === 0) this.events.connected({ sessionPresent: this.sessionPresent })
    })
    client.on('error', (thrown: Error & { code?: unknown }) => {
      if (typeof thrown.code === 'number' && !client.connected) {
        this.reason ??= connackReason(thrown.code, protocol)
      } else {
        this.reason ??= errorReason(thrown)
      }
      client.end(true)
      setImmediate(() => this.finish())
    })
    client.on('close', () => this.finish())
  }

  private packet(packet: Packet): void {
    if (this.closed) return
    const id = packet.messageId ?? 0
    switch (packet.cmd) {
      case 'puback':
        this.output.settled(id, packet.reasonCode ?? 0)
        break
      case 'pubrec':
        this.output.received(id, packet.reasonCode ?? 0)
        break
      case 'pubcomp':
        if (this.releasing > 0) this.released()
        else this.output.settled(id, 0)
        break
      case 'disconnect':
        this.reason ??= disconnectReason(packet.reasonCode ?? 0, packet.properties?.reasonString)
        break
      default:
    }
  }

  /** A message with QoS 2 of the session's past would swallow a new one with its identifier. */
  private released(): void {
    this.releasing--
    if (this.releasing === 0) this.events.connected({ sessionPresent: this.sessionPresent })
  }

  /**
   * In place of the library's own: it hands the message on and lets the library believe that this
   * failed, so that it goes on reading and sends no ack. The ack is ours, once the message is kept.
   */
  private received(packet: IPublishPacket, done: (error?: Error) => void): void {
    const goOn = () => done(new Error('acknowledged later'))
    this.receiving++
    let taken = false
    this.events.message(inboundOf(packet), () => {
      if (taken) return
      taken = true
      this.receiving--
      const { qos, messageId = 0 } = packet
      if (!this.closed && qos !== 0) this.output.ack(qos, messageId)
      this.heldBack.shift()?.()
    })
    // MQTT 3.1.1 has no receive maximum: there the socket is not read while too much waits.
    if (this.receiving <= RECEIVE_MAXIMUM) goOn()
    else this.heldBack.push(goOn)
  }

  private finish(): void {
    if (this.closed) return
    this.closed = true
    this.output.end()
    this.events.closed(this.reason ?? { kind: 'lost', sentence: 'ended the connection' })
  }
}

function inboundOf(packet: IPublishPacket): {
  topic: string
  payload: Uint8Array
  qos: 0 | 1 | 2
  retain: boolean
  userProperties: readonly (readonly [string, string])[]
  expiryS: number | undefined
} {
  const { topic, payload, qos, retain, properties } = packet
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload
  const pairs = Object.entries(properties?.userProperties ?? {})
  const userProperties = pairs.flatMap(([key, value]) =>
    (Array.isArray(value) ? value : [value]).map((one: string) => [key, one] as const),
  )
  const expiryS = properties?.messageExpiryInterval
  return { topic, payload: bytes, qos, retain, userProperties, expiryS }
}

/** Without the property an MQTT 5 broker takes all of them [MQTT5 3.2.2.3.4]. */
function qosMaxOf(said: number | undefined): 0 | 1 | 2 {
  return said === 0 || said === 1 ? said : 2
}

/** Ids of SUBSCRIBE and UNSUBSCRIBE, apart from those of our own PUBLISHes. */
function subscribeIds() {
  let last = PUBLISH_IDS_MAX
  return {
    allocate: () => {
      last = last >= 65_535 ? PUBLISH_IDS_MAX + 1 : last + 1
      return last
    },
    getLastAllocated: () => last,
    register: () => true,
    deallocate: () => undefined,
    clear: () => undefined,
  }
}

/** Throws for a file that cannot be read. */
function optionsOf(settings: MqttUplinkSettings): IClientOptions {
  const url = new URL(settings.url)
  const { tls, keepsSession } = settings
  const isWebSocket = url.protocol.startsWith('ws')
  const hostname = url.hostname.replace(/^\[|\]$/g, '')
  const options: IClientOptions & Record<string, unknown> = {
    protocol: url.protocol.slice(0, -1) as 'mqtt' | 'mqtts' | 'ws' | 'wss',
    hostname: isWebSocket ? url.hostname : hostname,
    host: hostname,
    port: url.port === '' ? (defaultPorts[url.protocol] ?? 1883) : Number(url.port),
    protocolVersion: settings.protocol,
    clientId: settings.clientId,
    clean: !keepsSession,
    keepalive: Math.ceil(settings.keepaliveMs / 1000),
    reschedulePings: false,
    reconnectPeriod: 0,
    connectTimeout: CONNECT_TIMEOUT_MS,
    queueQoSZero: false,
    resubscribe: false,
    timerVariant: 'native',
    messageIdProvider: subscribeIds(),
    log: () => undefined,
  }
  if (isWebSocket) options.path = url.pathname === '/' ? '/mqtt' : `${url.pathname}${url.search}`
  if (settings.username !== undefined) options.username = settings.username
  if (settings.passwordFile !== undefined) options.password = secretIn(settings.passwordFile)
  if (tls?.caFile !== undefined) options.ca = readFileSync(tls.caFile)
  if (tls?.certFile !== undefined) options.cert = readFileSync(tls.certFile)
  if (tls?.keyFile !== undefined) options.key = readFileSync(tls.keyFile)
  if (tls?.alpn !== undefined) options.ALPNProtocols = [...tls.alpn]
  if (url.protocol === 'mqtts:' && isIP(hostname) === 0) options.servername = hostname
  if (settings.protocol === 5) {
    options.properties = { receiveMaximum: RECEIVE_MAXIMUM }
    if (keepsSession) options.properties.sessionExpiryInterval = SESSION_EXPIRY_S
  }
  return options
}

/** The first line of a file: editors end it with a line break. */
function secretIn(file: string): string {
  return readFileSync(file, 'utf8').split(/\r?\n/, 1)[0] ?? ''
}
