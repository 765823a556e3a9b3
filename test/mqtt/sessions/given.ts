/** A front end on a log on disk, which can be stopped and started again, with a clock to move. */
import path from 'node:path'
import { onTestFinished } from 'vitest'
import { Access } from '../../../src/access/access.ts'
import { ManualClock } from '../../../src/base/clock.ts'
import type { Logger } from '../../../src/base/logger.ts'
import { Consumers, type QueueSettings } from '../../../src/consumers/consumers.ts'
import type { StreamSettings } from '../../../src/log/log.ts'
import { type OpenedLog, openLog } from '../../../src/log/open.ts'
import { createMqttFrontEnd } from '../../../src/mqtt/front-end.ts'
import type { MqttFrontEnd, MqttSettings } from '../../../src/mqtt/mqtt.ts'
import { eventually, everything, testSettings } from '../../support/front-end.ts'
import { type ConnectOptions, RawClient } from '../../support/raw-client.ts'
import { tempDir } from '../../support/temp-dir.ts'

export const DAY_S = 86_400

const silent: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}

export interface Run {
  readonly log: OpenedLog
  readonly mqtt: MqttFrontEnd
  readonly consumers: Consumers
  readonly port: number
}

export class Site {
  readonly clock = new ManualClock(1_763_700_000_000)
  readonly dataDir = path.join(tempDir(), 'data')
  /** Everything is open until a test replaces its settings. */
  readonly access = new Access(undefined, { clock: this.clock, logger: silent })
  private readonly settings: Partial<MqttSettings>
  private readonly streams: readonly StreamSettings[]
  private readonly segmentBytes: number
  private readonly queues: readonly QueueSettings[]
  private readonly clients: RawClient[] = []
  private current: Run | undefined

  constructor(
    settings: Partial<MqttSettings> = {},
    streams: readonly StreamSettings[] = [everything],
    segmentBytes = 64 * 1024 * 1024,
    queues: readonly QueueSettings[] = [],
  ) {
    this.settings = settings
    this.streams = streams
    this.segmentBytes = segmentBytes
    this.queues = queues
    onTestFinished(() => this.stop())
  }

  get run(): Run {
    if (this.current === undefined) throw new Error('the site is not started')
    return this.current
  }

  async start(): Promise<this> {
    const { clock, dataDir, streams, segmentBytes } = this
    const log = await openLog({ dataDir, streams, clock, segmentBytes, logger: silent })
    const { queues } = this
    const consumers = await Consumers.start({ log, clock, logger: silent, queues })
    const mqtt = createMqttFrontEnd({
      consumers,
      version: '1.2.3',
      log,
      access: this.access,
      clock,
      logger: silent,
      settings: { ...testSettings, ...this.settings },
    })
    const port = (await mqtt.listen())[0]?.port ?? 0
    this.current = { log, mqtt, consumers, port }
    return this
  }

  async stop(): Promise<void> {
    const run = this.current
    this.current = undefined
    for (const client of this.clients.splice(0)) client.end()
    await run?.mqtt.close()
    await run?.consumers.close()
    await run?.log.close()
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.start()
  }

  async connect(options?: ConnectOptions): Promise<RawClient> {
    const client = await RawClient.connect(this.run.port, options)
    this.clients.push(client)
    return client
  }

  /** A client whose session outlives its connection. */
  keeper(options: ConnectOptions = {}, expiryS = DAY_S): Promise<RawClient> {
    const properties = { sessionExpiryInterval: expiryS, ...options.properties }
    return this.connect({ version: 5, clean: false, clientId: 'keeper', ...options, properties })
  }

  async leave(client: RawClient): Promise<void> {
    const lost = this.run.mqtt.stats.closed['connection-lost']
    client.end()
    const { stats } = this.run.mqtt
    await eventually(() => stats.closed['connection-lost'] > lost, 'the connection has ended')
  }

  async publish(topic: string, payloads: readonly string[], pad = 0): Promise<void> {
    const publisher = await this.connect()
    for (const [index, payload] of payloads.entries()) {
      publisher.publish(topic, payload.padEnd(pad), { qos: 1, messageId: (index % 65_535) + 1 })
    }
    await publisher.until(() => publisher.of('puback').length === payloads.length, 'all acks')
    await this.leave(publisher)
  }
}

export const present = (client: RawClient) => client.of('connack')[0]?.sessionPresent
export const numbered = (count: number, from = 0) =>
  Array.from({ length: count }, (_, index) => String(from + index))
