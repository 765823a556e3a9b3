/**
 * The case `flash`: what a day of telemetry costs the device the data lies on.
 *
 *   F1. A reading is what the broker's process wrote from just before the load to its end, less
 *       what it writes when it is ended at once. So the last checkpoint and save, which come with
 *       the end, are in it, and whatever the broker writes by the clock while the load runs. What
 *       it writes when it starts, once, is not.
 *   F2. Both brokers keep a QoS 1 session that is away and subscribed to every topic. Without one
 *       Mosquitto has nothing to persist.
 *   F3. Mosquitto's time between two saves is not waited for: what comes in meanwhile is sent at
 *       full speed, and the save is the one at its end. Between saves it writes nothing, whatever
 *       the pace. As a day of it, this is a session that comes back and empties its queue between
 *       any two saves: the least it can be, since each save writes all that is queued.
 */
import { tmpdir } from 'node:os'
import { connectAsync } from 'mqtt'
import { type Broker, writtenBytes } from './brokers.ts'
import { diskBytes } from './disk.ts'
import type { FlashReading } from './flash-table.ts'
import type { LoadGenerator } from './load.ts'
import { median } from './table.ts'

export interface FlashVariant {
  readonly name: string
  /** Seconds between two saves of a broker that keeps everything in memory until then. */
  readonly saveSeconds?: number
  start(): Promise<Broker>
}

export interface FlashRig {
  readonly generator: LoadGenerator
  readonly variants: readonly FlashVariant[]
  readonly rates: readonly number[]
  readonly quick: boolean
  readonly progress: (line: string) => void
  readonly remark: (sentence: string) => void
}

export const flashRates = [1, 10, 100, 1000] as const

const PAYLOAD_BYTES = 256
const LOAD = { publishers: 20, window: 100, size: PAYLOAD_BYTES } as const
const QUICK_SECONDS = 5
/** What is sent at full speed in place of longer: a save grows with it in a straight line. */
const AT_ONCE_MAX = 180_000

/** One reading for each variant and rate: byte counters are not noisy as times are. */
export async function runFlash(rig: FlashRig): Promise<FlashReading[]> {
  const readings: FlashReading[] = []
  for (const variant of rig.variants) {
    const idle: number[] = []
    for (let i = 0; i < (rig.quick ? 1 : 3); i++) {
      rig.progress(`flash: ${variant.name}, a stop without messages`)
      idle.push((await toItsEnd(variant, async () => 0)).written)
    }
    for (const rate of rig.rates) {
      rig.progress(`flash: ${variant.name}, ${rate}/s`)
      readings.push(await read(rig, variant, rate, median(idle)))
    }
  }
  return readings
}

async function read(
  rig: FlashRig,
  variant: FlashVariant,
  rate: number,
  idleBytes: number,
): Promise<FlashReading> {
  const { saveSeconds } = variant
  const seconds = saveSeconds ?? secondsAt(rate, rig.quick)
  const messages = Math.min(rate * seconds, saveSeconds === undefined ? Infinity : AT_ONCE_MAX)
  const pace = saveSeconds === undefined ? { rate } : {}
  const { result, written, disk } = await toItsEnd(variant, async ({ port }) => {
    const began = performance.now()
    const load = await rig.generator.run({ ...LOAD, ...pace, messages, port })
    const took = (performance.now() - began) / 1000
    const where = `flash, ${variant.name}, ${rate}/s`
    if (load.acknowledged < messages) {
      rig.remark(`${where}: ${messages - load.acknowledged} messages were not acknowledged`)
    }
    // A linger of 1 s and the start of the generator are no lateness.
    if (took > seconds + 3) rig.remark(`${where}: ${seconds} s of load took ${took.toFixed(0)} s`)
    return load.acknowledged
  })
  return {
    variant: variant.name,
    rate,
    messages: result,
    payloadBytes: result * PAYLOAD_BYTES,
    writtenBytes: written - idleBytes,
    stopBytes: idleBytes,
    diskBytes: disk,
  }
}

/** 30 s, so that a reading at 1/s has some messages; at 1,000/s a third of it has plenty. */
function secondsAt(rate: number, quick: boolean): number {
  if (quick) return QUICK_SECONDS
  return rate < 1000 ? 30 : 10
}

interface Written {
  readonly result: number
  /** By the broker's process, from before the work to its end. */
  readonly written: number
  /** By everybody to the disk in that time; null where none is known. */
  readonly disk: number | null
}

async function toItsEnd(
  variant: FlashVariant,
  work: (broker: Broker) => Promise<number>,
): Promise<Written> {
  const broker = await variant.start()
  try {
    await leaveSession(broker.port)
    const diskBefore = await diskBytes(tmpdir())
    const beforeWork = await writtenBytes(broker.pid)
    const result = await work(broker)
    // The kernel adds a child's counters to its parent's when the child is waited for. That shows
    // what the broker writes in its last moment, when its own entry in /proc is gone.
    const beforeEnd = await writtenBytes('self')
    await broker.end()
    const written = (await writtenBytes('self')) - beforeEnd - beforeWork
    const diskAfter = await diskBytes(tmpdir())
    const disk = diskBefore === undefined || diskAfter === undefined ? null : diskAfter - diskBefore
    return { result, written, disk }
  } finally {
    await broker.stop()
  }
}

/** A session that outlives its connection and wants everything. */
async function leaveSession(port: number): Promise<void> {
  const url = `mqtt://127.0.0.1:${port}`
  const client = await connectAsync(url, { clientId: 'away', clean: false, reconnectPeriod: 0 })
  await client.subscribeAsync('load/#', { qos: 1 })
  await client.endAsync()
}
