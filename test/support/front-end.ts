/** The front end on the in-memory log, on a free port: real sockets, no disk. */
import { onTestFinished } from 'vitest'
import { Access, type AccessSettings } from '../../src/access/access.ts'
import { ManualClock } from '../../src/base/clock.ts'
import type { Logger } from '../../src/base/logger.ts'
import { Consumers, type QueueSettings } from '../../src/consumers/consumers.ts'
import type { LogRecord, StreamSettings } from '../../src/log/log.ts'
import { MemoryLog } from '../../src/log/memory.ts'
import { createMqttFrontEnd } from '../../src/mqtt/front-end.ts'
import type { MqttFrontEnd, MqttSettings } from '../../src/mqtt/mqtt.ts'
import { type ConnectOptions, RawClient } from './raw-client.ts'

/** A log whose disk can be held: nothing is kept, and so nothing acknowledged, until `release`. */
export class HoldableLog extends MemoryLog {
  private held = false

  hold(): void {
    this.held = true
  }

  release(): void {
    this.held = false
    super.flush()
  }

  override flush(): void {
    if (!this.held) super.flush()
  }
}

export const everything: StreamSettings = {
  name: 'default',
  topics: ['#'],
  partitions: 2,
  key: { kind: 'topic' },
  ackAfter: 'fsync',
  qos0: true,
  lingerMs: 0,
}

/** Small bounds, everything allowed. */
export const testSettings: MqttSettings = {
  listeners: [{ host: '127.0.0.1', port: 0 }],
  maxPacketBytes: 256 * 1024,
  maxConnections: 1000,
  maxInflight: 64,
  maxPublishBacklogBytes: 32 * 1024 * 1024,
  maxRetained: 10_000,
  sessionExpiryMs: 7 * 86_400_000,
  maxSessionQueueMs: 86_400_000,
  limits: {
    subscriptionsMax: 1000,
    topicBytesMax: 4096,
    topicLevelsMax: 100,
    clientIdBytesMax: 256,
    unsentBytesMax: 256 * 1024,
    keepAliveMaxS: 0,
  },
  clientRate: {},
  connectionsPerSecond: 1000,
}

export interface Fixture {
  readonly port: number
  readonly log: HoldableLog
  readonly mqtt: MqttFrontEnd
  readonly consumers: Consumers
  readonly access: Access
  readonly clock: ManualClock
  /** What the front end logged as an error or a warning. */
  readonly complaints: string[]
  /** All records that the log keeps, in order. */
  readonly records: LogRecord[]
  connect(options?: ConnectOptions): Promise<RawClient>
  open(options?: ConnectOptions): Promise<RawClient>
}

/** Starts a front end that ends with the test. */
export async function frontEnd(
  settings: Partial<MqttSettings> = {},
  streams: readonly StreamSettings[] = [everything],
  accessSettings?: AccessSettings,
  queues: readonly QueueSettings[] = [],
): Promise<Fixture> {
  const clock = new ManualClock(1_763_700_000_000)
  const log = new HoldableLog(streams, clock)
  const complaints: string[] = []
  const complain = (fields: object, sentence: string) =>
    complaints.push(`${sentence} ${Object.values(fields).map(String).join(' ')}`)
  const logger: Logger = {
    debug: () => undefined,
    info: () => undefined,
    warn: complain,
    error: complain,
  }
  const records: LogRecord[] = []
  log.follow((kept) => records.push(...kept))
  const access = new Access(accessSettings, { clock, logger })
  const consumers = await Consumers.start({ log, clock, logger, queues })
  const mqtt = createMqttFrontEnd({
    consumers,
    version: '1.2.3',
    log,
    access,
    clock,
    logger,
    settings: { ...testSettings, ...settings },
  })
  const port = (await mqtt.listen())[0]?.port ?? 0
  const clients: RawClient[] = []
  const keep = (client: RawClient) => {
    clients.push(client)
    return client
  }
  onTestFinished(async () => {
    for (const client of clients) client.end()
    log.release()
    await mqtt.close()
    await consumers.close()
    await log.close()
  })
  return {
    port,
    log,
    mqtt,
    consumers,
    access,
    clock,
    complaints,
    records,
    connect: async (options) => keep(await RawClient.connect(port, options)),
    open: async (options) => keep(await RawClient.open(port, options)),
  }
}

/** Resolves when `holds` does, looking again every few milliseconds. */
export async function eventually(
  holds: () => boolean | Promise<boolean>,
  what: string,
): Promise<void> {
  const give = performance.now() + 25_000
  while (!(await holds())) {
    if (performance.now() > give) throw new Error(`it never came to this: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
