/**
 * Every default of the configuration, each with its reason. Units as in `Config`: milliseconds,
 * bytes. What has no entry here has no default: it is required, or off until it is written.
 */
const KIB = 1024
const MIB = 1024 * KIB
const SECOND_MS = 1000
const MINUTE_MS = 60 * SECOND_MS
const DAY_MS = 24 * 60 * MINUTE_MS

export const defaults = {
  gateway: {
    // Beside where it is started: a first run needs no rights and leaves one folder to delete.
    dataDir: './data',
  },
  mqtt: {
    // Telemetry is far below; one packet of this size still costs little beside a commit.
    maxPacketBytes: 256 * KIB,
    // At 16 KiB an idle connection this is 160 MiB, which a 1 GiB gateway can carry.
    maxConnections: 10_000,
    // With 64 one subscriber got 106,000 messages a second on loopback, with 256 129,000 and with
    // 1,000 no more; at a round trip of 50 ms 256 are 5,000 a second. MQTT 5 clients lower it.
    maxInflight: 256,
    // A night offline loses nothing, and a device that was thrown away keeps no disk for ever.
    maxSessionQueueMs: DAY_MS,
    // A week covers a holiday with the site switched off.
    sessionExpiryMs: 7 * DAY_MS,
    // Half a second of a flash card that writes 64 MiB/s; 128 of the largest packets.
    maxPublishBacklogBytes: 32 * MIB,
    // 25 for each of 10,000 devices; their index takes some 100 MiB of memory.
    maxRetained: 250_000,
    // A device has a handful; each lengthens the walk of a new topic and costs some 300 bytes.
    maxSubscriptions: 1000,
    // Topics are kept in memory, per topic and per segment; most have below 100 bytes.
    maxTopicBytes: 4 * KIB,
    // Deeper ones are a mistake: each level is a step of every walk.
    maxTopicLevels: 100,
    // Four UUIDs with their names; the id stands in every record.
    maxClientIdBytes: 256,
    // A slow link is kept busy for seconds; 10,000 stuck subscribers take 2.5 GiB at the worst.
    maxUnsentBytes: 256 * KIB,
    // Five thousand clients behind one router come back within five seconds; a loop of connects
    // that nobody meant does not take the processor.
    connectionsPerSecond: 1000,
  },
  listener: {
    // Loopback, so that nothing is open by accident; 1883 is what every client tries first.
    host: '127.0.0.1',
    port: 1883,
    websocket: false,
    requireClientCert: false,
  },
  access: {
    // Whoever writes [access] wants to know who comes in.
    anonymous: false,
  },
  stream: {
    // The stream that stands in when none is written takes every topic: nothing is lost unseen.
    name: 'default',
    topics: ['#'],
    // Four consumers can share a stream; more lanes cost nothing to write but help few gateways.
    partitions: 4,
    // By topic, a sensor's messages keep their order, whoever publishes them.
    key: { kind: 'topic' },
    // Acknowledged means kept, also through a power cut. Less is a decision, not a default.
    ackAfter: 'fsync',
    // Most telemetry comes at QoS 0, and it is as much wanted later as the rest.
    qos0: true,
    // Commits already group what arrives during an fsync; waiting longer costs every PUBACK.
    lingerMs: 0,
    // A gateway that stops taking data because one reader is away loses more than that reader.
    onLag: 'gap',
  },
  queue: {
    // Several times what a job that is one HTTP call takes.
    ackTimeoutMs: 30 * SECOND_MS,
    // A job that failed five times fails for a reason in itself.
    maxDeliveries: 5,
  },
  disk: {
    // A file system that is fuller slows down, and its flash wears unevenly.
    minFreePercent: 5,
    // Retention deletes whole segments: small enough to delete finely, large enough to scan fast.
    segmentBytes: 64 * MIB,
  },
  bridge: {
    // MQTT 5 says why something was refused, and carries where a record comes from.
    protocol: 5,
    // One gateway, one name: two bridges to one broker must be told apart by hand.
    clientId: '{gateway}',
    // Finds a dead link within 90 s at two small packets a minute.
    keepaliveMs: 60 * SECOND_MS,
    backoff: {
      // A broker that restarts is back in about this time.
      firstMs: SECOND_MS,
      // Two minutes of delay after an outage of hours; 1,000 gateways then try 8 times a second.
      mostMs: 2 * MINUTE_MS,
      // A link that falls after less has not recovered, so the next wait must not be short.
      stableAfterMs: MINUTE_MS,
    },
  },
  forward: {
    // The same topic as here: nothing to learn for whoever reads it there.
    to: '{topic}',
    // The cursor moves with the upstream's acknowledgement, so there must be one; 2 only adds a
    // trip.
    qos: 1,
    // Fills a link of 100 ms round trip at 640 messages a second.
    window: 64,
    // The middle, so that there is room before and after.
    priority: 5,
    // Order is what is promised; giving it up is a decision.
    order: 'strict',
    // A new forward does not begin by pushing the whole history through a metered link.
    start: { kind: 'latest' },
    // With MQTT 5 the origin stands in properties, and the payload stays what it was.
    envelope: 'none',
    onLag: 'gap',
  },
  batch: {
    // At 100 B a record 20 KiB: headers and acknowledgements no longer count.
    records: 200,
    // Below what common cloud brokers take in a packet (128 KiB).
    maxBytes: 64 * KIB,
    // Fresh enough for a chart, long enough to find company.
    lingerMs: 2 * SECOND_MS,
    // Whoever batches pays by the byte.
    compress: 'deflate',
  },
  receive: {
    // The same topic as there.
    to: '{topic}',
  },
  http: {
    // Loopback for the same reason as the listener.
    host: '127.0.0.1',
    port: 8080,
  },
  log: {
    // Changes of state only; a line for every message would wear the flash.
    level: 'info',
    // People read a terminal, programs read the rest.
    format: 'auto',
  },
} as const
