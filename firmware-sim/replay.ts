/**
 * Publishes a recording as if its sensors were live.
 *
 * P1. A line is published at start + (its time - the first line's time) / speed. A line whose time
 *     lies before its neighbour's is due at once: the order is the file's.
 * P2. Nothing of a recording is dropped: when a device's outbox is full, the replay waits, and
 *     catches up afterwards.
 * P3. The file is read as it is published; memory does not grow with it.
 */
import { createReadStream } from 'node:fs'
import { basename } from 'node:path'
import { createInterface } from 'node:readline'
import { parseLine, type RecordedReading } from './csv.ts'
import type { Fleet, Member } from './fleet.ts'
import type { Time } from './time.ts'

export interface ReplayOptions {
  readonly file: string
  /** Recorded seconds per real second. */
  readonly speed: number
  /** Begins again at the end of the file. */
  readonly loop: boolean
}

export interface ReplayResult {
  readonly readings: number
  readonly badLines: number
}

/** More nodes than this is no recording of a room but a column that was taken for the node id. */
const nodesMost = 1_000
/** The reading itself, a door and a window. */
const messagesPerReadingMost = 3
/** How often a replay that waits for a full outbox looks again. */
const roomPollMs = 5

/** `room-climate-A01.csv` is recording A01: its node 3 is the device `A01-3`. */
export function recordingName(file: string): string {
  const name = basename(file)
    .replace(/\.csv$/i, '')
    .replace(/^room-climate-/, '')
  return name.replace(/[^A-Za-z0-9_.-]/g, '-')
}

/** Turns recorded times into due times (P1). */
export class Pace {
  private readonly speed: number
  private readonly startMs: number
  private firstMs: number | undefined

  constructor(speed: number, startMs: number) {
    this.speed = speed
    this.startMs = startMs
  }

  dueMs(recordedMs: number): number {
    this.firstMs ??= recordedMs
    return this.startMs + (recordedMs - this.firstMs) / this.speed
  }
}

/**
 * Publishes the file's readings until its end, or until `signal` aborts. Throws the system's error
 * when the file cannot be read.
 */
export async function replay(
  fleet: Pick<Fleet, 'add'>,
  options: ReplayOptions,
  time: Time,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<ReplayResult> {
  const nodes = new Nodes(fleet, recordingName(options.file))
  const result = { readings: 0, badLines: 0 }
  const bad = (lineNumber: number, reason: string): void => {
    result.badLines += 1
    if (result.badLines > 1) return
    say(`${options.file}:${lineNumber}: not a reading (${reason}); skipped, as all such lines are`)
  }
  do {
    const before = result.readings
    const pace = new Pace(options.speed, time.nowMs())
    await onePass(options.file, signal, async (line, lineNumber) => {
      const parsed = parseLine(line)
      if (parsed.kind === 'bad') bad(lineNumber, parsed.reason)
      if (parsed.kind !== 'reading') return
      const node = nodes.find(parsed.reading.node)
      if (node === undefined) {
        bad(lineNumber, `more than ${nodesMost} nodes`)
        return
      }
      const waitMs = pace.dueMs(parsed.reading.recordedMs) - time.nowMs()
      if (waitMs > 0) await time.sleep(waitMs, signal)
      while (!node.hasRoom && !signal.aborted) await time.sleep(roomPollMs, signal)
      if (signal.aborted) return
      node.publish(parsed.reading)
      result.readings += 1
    })
    // A file without a single reading would otherwise be looped over without a pause.
    if (result.readings === before) break
  } while (options.loop && !signal.aborted)
  return result
}

async function onePass(
  file: string,
  signal: AbortSignal,
  each: (line: string, lineNumber: number) => Promise<void>,
): Promise<void> {
  const input = createReadStream(file, 'utf8')
  const lines = createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })
  // readline does not pass on its input's errors in all the versions of Node this runs on.
  const failed = new Promise<never>((_, reject) => input.once('error', reject))
  const read = async (): Promise<void> => {
    let lineNumber = 0
    for await (const line of lines) {
      if (signal.aborted) return
      lineNumber += 1
      await each(line, lineNumber)
    }
  }
  try {
    await Promise.race([read(), failed])
  } finally {
    lines.close()
    input.destroy()
  }
}

interface Node {
  readonly hasRoom: boolean
  publish(reading: RecordedReading): void
}

/** The devices of a recording, made when their first line comes. */
class Nodes {
  private readonly fleet: Pick<Fleet, 'add'>
  private readonly recording: string
  private readonly nodes = new Map<string, Node>()

  constructor(fleet: Pick<Fleet, 'add'>, recording: string) {
    this.fleet = fleet
    this.recording = recording
  }

  /** The node's device; undefined when there are too many already. */
  find(id: string): Node | undefined {
    const known = this.nodes.get(id)
    if (known !== undefined || this.nodes.size >= nodesMost) return known
    const member = this.fleet.add(`${this.recording}-${id}`)
    const node = nodeOf(member)
    this.nodes.set(id, node)
    member.device.connect()
    return node
  }
}

/**
 * Publishes readings, and an alarm for each door or window that moved since the node's last one.
 */
function nodeOf(member: Member): Node {
  let last: RecordedReading | undefined
  return {
    get hasRoom() {
      return member.device.room >= messagesPerReadingMost
    },
    publish(reading) {
      const { node: _node, recordedMs: recorded, ...values } = reading
      member.telemetry({ recorded, ...values })
      const was = last
      last = reading
      if (was === undefined) return
      const moved = (what: 'door' | 'window', wasOpen: boolean, isOpen: boolean): void => {
        if (wasOpen !== isOpen) {
          member.alarm({ what, state: isOpen ? 'open' : 'closed', recorded })
        }
      }
      moved('door', was.doorOpen, reading.doorOpen)
      moved('window', was.windowOpen, reading.windowOpen)
    },
  }
}
