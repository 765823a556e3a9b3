/**
 * What is measured: one case per question, each with the figures it answers with. A case gets a
 * broker that was started for it and has carried one reading's load (but for `fresh` ones), and
 * returns one reading a figure. Counts are for a run of a few seconds on a small x86 machine.
 */
import { type Broker, resetPeak, residentBytes, settledBytes, writtenBytes } from './brokers.ts'
import type { FsyncTimes } from './fsync-probe.ts'
import type { LoadOptions, LoadResult } from './load.ts'
import { replayRate } from './replay-client.ts'
import type { Unit } from './table.ts'

/** By the name of the figure. */
export type Readings = Readonly<Record<string, number>>

export interface Bench {
  readonly broker: Broker
  /** Runs the load generator against the broker, and remarks on what did not go as it should. */
  load(options: Omit<LoadOptions, 'port'>): Promise<LoadResult>
  /** Holds that many idle connections while `measure` runs. */
  hold<T>(idle: number, measure: () => Promise<T>): Promise<[LoadResult, T]>
  probeFsync(): FsyncTimes
  /** The count a full run uses, or a tenth of it in a quick one. */
  scaled(count: number): number
}

export interface Case {
  readonly name: string
  readonly title: string
  /** The load before the first reading; a `fresh` broker is started anew for every reading. */
  readonly warmUp: Omit<LoadOptions, 'port'> | 'fresh'
  /** Asks something only the gateway can answer: Mosquitto writes nothing here. */
  readonly onlySluice?: boolean
  readonly figures: readonly {
    readonly name: string
    readonly title: string
    readonly unit: Unit
  }[]
  measure(bench: Bench): Promise<Readings>
}

const KIB = 1024
const MIB = 1024 * KIB
const SMALL_BYTES = 256
const LARGE_BYTES = 4 * KIB
const CONNECTIONS = 5000

const full = { publishers: 20, window: 100, size: SMALL_BYTES } as const
const rate = (title: string) => ({ name: 'rate', title, unit: 'messages/s' }) as const

/** A case of one load and one rate. */
function throughput(
  name: string,
  title: string,
  messages: number,
  options: Omit<LoadOptions, 'port' | 'messages'>,
): Case {
  const delivers = (options.subscribers ?? 0) > 0
  return {
    name,
    title,
    warmUp: { ...options, messages },
    figures: [rate(delivers ? 'delivered, end to end' : 'acknowledged')],
    measure: async (bench) => {
      const result = await bench.load({ ...options, messages: bench.scaled(messages) })
      return { rate: delivers ? result.receivedPerSecond : result.ackedPerSecond }
    },
  }
}

const latency: Case = {
  name: 'latency',
  title: 'PUBACK at 1,000 messages/s, 20 publishers, 256 B, beside the device itself',
  warmUp: { ...full, messages: 50_000 },
  figures: [
    { name: 'ackP50', title: 'PUBACK p50', unit: 'ms' },
    { name: 'ackP99', title: 'PUBACK p99', unit: 'ms' },
    { name: 'fsyncP50', title: 'append 300 B + fdatasync p50 (the machine)', unit: 'ms' },
    { name: 'fsyncP99', title: 'append 300 B + fdatasync p99 (the machine)', unit: 'ms' },
    { name: 'overFsync', title: 'PUBACK p99 minus 3 x fdatasync p99', unit: 'ms' },
  ],
  measure: async (bench) => {
    const fsync = bench.broker.name === 'sluice' ? bench.probeFsync() : undefined
    const { ackMs } = await bench.load({ ...full, rate: 1000, messages: bench.scaled(5000) })
    const acks = { ackP50: ackMs?.p50 ?? Number.NaN, ackP99: ackMs?.p99 ?? Number.NaN }
    if (fsync === undefined) return acks
    const overFsync = acks.ackP99 - 3 * fsync.p99Ms
    return { ...acks, fsyncP50: fsync.p50Ms, fsyncP99: fsync.p99Ms, overFsync }
  },
}

const connections: Case = {
  name: 'connections',
  title: `${CONNECTIONS.toLocaleString('en-US')} connects in waves of 64, and resident memory`,
  warmUp: 'fresh',
  figures: [
    { name: 'connect', title: 'first connect() to last CONNACK', unit: 's' },
    { name: 'idle', title: 'resident, nothing connected', unit: 'MiB' },
    { name: 'connected', title: 'resident, all connected and idle', unit: 'MiB' },
    { name: 'each', title: 'for each connection', unit: 'KiB' },
  ],
  measure: async (bench) => {
    const count = bench.scaled(CONNECTIONS)
    const idle = await settledBytes(bench.broker)
    const [{ connectSeconds }, connected] = await bench.hold(count, () =>
      settledBytes(bench.broker),
    )
    return {
      connect: connectSeconds,
      idle: idle / MIB,
      connected: connected / MIB,
      each: (connected - idle) / count / KIB,
    }
  },
}

const wear: Case = {
  name: 'wear',
  title: 'Bytes written to the device per payload byte, QoS 1, 20 publishers, 256 B',
  warmUp: { ...full, messages: 300_000 },
  onlySluice: true,
  figures: [
    { name: 'full', title: 'at full rate', unit: 'bytes/byte' },
    { name: 'at1000', title: 'at 1,000 messages/s', unit: 'bytes/byte' },
    { name: 'at100', title: 'at 100 messages/s', unit: 'bytes/byte' },
  ],
  measure: async (bench) => {
    const factor = async (messages: number, atRate?: number): Promise<number> => {
      const before = await writtenBytes(bench.broker.pid)
      const paced = atRate === undefined ? {} : { rate: atRate }
      const result = await bench.load({ ...full, ...paced, messages: bench.scaled(messages) })
      const written = (await writtenBytes(bench.broker.pid)) - before
      return written / (result.acknowledged * SMALL_BYTES)
    }
    return {
      full: await factor(300_000),
      at1000: await factor(10_000, 1000),
      at100: await factor(2000, 100),
    }
  },
}

const slow: Case = {
  name: 'slow',
  title: 'One subscriber that stops reading, beside a healthy one; 20 x 100, 256 B',
  warmUp: { ...full, subscribers: 1, messages: 400_000 },
  figures: [
    { name: 'acked', title: 'acknowledged without it', unit: 'messages/s' },
    { name: 'ackedSlow', title: 'acknowledged with it', unit: 'messages/s' },
    { name: 'ackedShare', title: 'publishers keep', unit: 'share' },
    { name: 'healthyShare', title: 'the healthy subscriber keeps', unit: 'share' },
    { name: 'again', title: 'without it, second over first (the noise)', unit: 'share' },
    { name: 'peak', title: 'highest resident memory without it', unit: 'MiB' },
    { name: 'peakSlow', title: 'highest resident memory with it', unit: 'MiB' },
  ],
  measure: async (bench) => {
    const stage = async (stall: number) => {
      await resetPeak(bench.broker)
      const messages = bench.scaled(200_000)
      const result = await bench.load({ ...full, subscribers: 1, stall, messages })
      return { ...result, peak: (await residentBytes(bench.broker, 'peak')) / MIB }
    }
    // Between two readings without it: the gateway's CPU time per message falls by a third over its
    // first million messages, and a second reading after one first would show that as its doing.
    const before = await stage(0)
    const beside = await stage(1)
    const after = await stage(0)
    const acked = (before.ackedPerSecond + after.ackedPerSecond) / 2
    const healthy = (before.receivedPerSecond + after.receivedPerSecond) / 2
    return {
      acked,
      ackedSlow: beside.ackedPerSecond,
      ackedShare: beside.ackedPerSecond / acked,
      healthyShare: beside.receivedPerSecond / healthy,
      again: after.ackedPerSecond / before.ackedPerSecond,
      peak: Math.max(before.peak, after.peak),
      peakSlow: beside.peak,
    }
  },
}

const HISTORY = 1_000_000
let groups = 0

const replay: Case = {
  name: 'replay',
  title: 'A million records of 256 B are read again, MQTT 5 with properties',
  warmUp: { ...full, messages: HISTORY },
  onlySluice: true,
  figures: [
    { name: 'qos0', title: 'replay to one client, QoS 0', unit: 'messages/s' },
    { name: 'qos1', title: 'replay to one client, QoS 1', unit: 'messages/s' },
    { name: 'group', title: 'a group of four members catches up, together', unit: 'messages/s' },
  ],
  measure: async ({ broker: { port }, scaled }) => {
    const messages = scaled(HISTORY)
    const filter = '$stream@earliest/default'
    const qos0 = await replayRate({ port, filter, qos: 0, messages })
    const qos1 = await replayRate({ port, filter, qos: 1, messages })
    const name = `$share/bench-${++groups}/$stream/default`
    const group = await replayRate({ port, filter: name, qos: 1, messages, clients: 4 })
    return { qos0, qos1, group }
  },
}

const many = { publishers: 200, window: 1, size: SMALL_BYTES } as const
const large = { publishers: 20, window: 100, size: LARGE_BYTES } as const
const live = { ...full, subscribers: 1 } as const
const fanOut = { publishers: 5, window: 100, size: SMALL_BYTES, subscribers: 10 } as const

export const cases: readonly Case[] = [
  throughput('ingest', 'QoS 1 ingest, 20 publishers x window 100, 256 B', 300_000, full),
  throughput('many', 'QoS 1 ingest, 200 publishers x window 1, 256 B', 100_000, many),
  throughput('large', 'QoS 1 ingest, 20 x 100, 4 KiB', 40_000, large),
  throughput('large-live', '4 KiB, 20 x 100, one live QoS 1 subscriber', 40_000, {
    ...large,
    subscribers: 1,
  }),
  latency,
  throughput('live', '256 B, 20 x 100, one live QoS 1 subscriber', 200_000, live),
  throughput('fan-out', '256 B, 5 x 100, ten live QoS 1 subscribers', 40_000, fanOut),
  throughput('live-qos0', '256 B, QoS 1 in, 20 x 100, one live QoS 0 subscriber', 200_000, {
    ...live,
    subQos: 0,
  }),
  connections,
  wear,
  slow,
  replay,
]
