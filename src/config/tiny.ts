import { defaults } from './defaults.ts'
import type { Config } from './schema/root.ts'
import { defaultStream } from './schema/stream.ts'

const KIB = 1024

/**
 * A configuration for tests, with limits so small that a full window, a full backlog and a new
 * segment happen in every run. Made in code: the segment is below what a file may ask for. Ports
 * are chosen by the system.
 */
export function tinyConfig(dataDir: string): Config {
  return {
    gateway: { id: 'tiny', dataDir },
    mqtt: {
      maxPacketBytes: 4 * KIB,
      maxConnections: 16,
      maxInflight: 4,
      maxSessionQueueMs: 60_000,
      sessionExpiryMs: 60_000,
      maxPublishBacklogBytes: 16 * KIB,
      maxRetained: 16,
      maxSubscriptions: 8,
      maxTopicBytes: 256,
      maxTopicLevels: 10,
      maxClientIdBytes: 64,
      maxUnsentBytes: 16 * KIB,
      connectionsPerSecond: 1000,
      clientLimit: {},
      listeners: [{ host: defaults.listener.host, port: 0, websocket: false }],
    },
    streams: [{ ...defaultStream, partitions: 2 }],
    queues: [],
    disk: { minFree: { kind: 'bytes', bytes: 0 }, segmentBytes: 64 * KIB },
    bridges: [],
    http: { host: defaults.http.host, port: 0 },
    log: { level: 'warn', format: 'json' },
  }
}
