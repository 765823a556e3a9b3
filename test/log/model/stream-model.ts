/** One stream as a plain array: what was told 'kept', in the order in which it was told. */
import type { Start, StreamSettings } from '../../../src/log/log.ts'
import type { Boot, Cursor, CursorPlace } from '../../../src/log/state.ts'
import { topicMatches } from '../../../src/log/topics.ts'

/** All that must come back of a record, comparable. */
export interface Kept {
  readonly position: number
  readonly partition: number
  readonly offset: number
  readonly topic: string
  readonly client: string
  readonly qos: number
  readonly retain: boolean
  /** In the model as written, from a read as shown. */
  readonly timeMs: number
  readonly boot: number
  readonly monotonicUs: number
  readonly properties: string
  readonly payload: string
}

export interface Wanted {
  readonly from: number
  readonly partition?: number
  readonly filters?: readonly string[]
}

/** Smaller differences are no step. */
const STEP_MS = 500

export class StreamModel {
  readonly settings: StreamSettings
  /** By position, also those that retention removed. */
  readonly kept: Kept[] = []
  /** What is before it was removed. */
  first = 0
  /** By partition: the positions of its records, so that the index is the offset. */
  private readonly lanes: number[][]

  private readonly boots: () => ReadonlyMap<number, Boot>

  /** `boots` are those that the log knows now. */
  constructor(settings: StreamSettings, boots: () => ReadonlyMap<number, Boot>) {
    this.settings = settings
    this.boots = boots
    this.lanes = Array.from({ length: settings.partitions }, () => [])
  }

  get end(): number {
    return this.kept.length
  }

  /** Undefined when its numbers are those that come next. */
  add(record: Kept): string | undefined {
    const lane = this.lanes[record.partition]
    if (record.position !== this.end || record.offset !== lane?.length) {
      return `${JSON.stringify(record)} is told where position ${this.end} comes next`
    }
    lane.push(record.position)
    this.kept.push(record)
    return undefined
  }

  read({ from, partition, filters }: Wanted): Kept[] {
    return this.kept
      .slice(Math.max(from, this.first))
      .filter((record) => partition === undefined || record.partition === partition)
      .filter(({ topic }) => filters?.some((filter) => topicMatches(filter, topic)) ?? true)
      .map((record) => ({ ...record, timeMs: this.shownMs(record) }))
  }

  /** The time that a read must give: its boot's, where the clock was set by more than a step. */
  shownMs({ boot, timeMs, monotonicUs }: Kept): number {
    const row = this.boots().get(boot)
    const knownMs = row === undefined ? timeMs : row.offsetMs + monotonicUs / 1000
    return Math.abs(knownMs - timeMs) > STEP_MS ? Math.round(knownMs) : timeMs
  }

  /** The first offset of a partition at or after a position. */
  offsetFrom(partition: number, position: number): number {
    const lane = this.lanes[partition] ?? []
    const found = lane.findIndex((other) => other >= position)
    return found < 0 ? lane.length : found
  }

  partitionBounds(): { partition: number; first: number; end: number }[] {
    return this.lanes.map((lane, partition) => ({
      partition,
      first: this.offsetFrom(partition, this.first),
      end: lane.length,
    }))
  }

  /** Whether times rise: then a time has one place. */
  get isOrdered(): boolean {
    return this.read({ from: 0 }).every(
      ({ timeMs }, at, all) => at === 0 || (all[at - 1]?.timeMs ?? 0) <= timeMs,
    )
  }

  locate(start: Start): number {
    switch (start.kind) {
      case 'earliest':
        return this.first
      case 'latest':
        return this.end
      case 'time':
        return this.read({ from: 0 }).find((r) => r.timeMs >= start.timeMs)?.position ?? this.end
      case 'offset': {
        const lane = this.lanes[start.partition] ?? []
        const first = this.offsetFrom(start.partition, this.first)
        return lane[Math.max(start.offset, first)] ?? this.end
      }
      default:
        return start satisfies never
    }
  }

  lagOf(place: CursorPlace): number {
    if (place.kind === 'stream') return Math.max(0, this.end - Math.max(place.next, this.first))
    return this.partitionBounds().reduce((sum, { partition, first, end }) => {
      const own = [...place.next].find(([number]) => number === partition)?.[1] ?? first
      return sum + Math.max(0, end - Math.max(own, first))
    }, 0)
  }
}

/** A cursor: where it stands, and where it may stand after a crash (S1). */
export interface CursorModel {
  readonly name: string
  readonly stream: string
  place: CursorPlace
  /** The last place known to be on disk, and those since. */
  possible: CursorPlace[]
}

/** A place as a text, so that places can be compared. */
export function placeText(place: CursorPlace | undefined): string {
  if (place === undefined) return 'none'
  if (place.kind === 'stream') return `at ${place.next}`
  return [...place.next]
    .sort(([a], [b]) => a - b)
    .map(([partition, next]) => `${partition}:${next}`)
    .join(' ')
}

export function cursorModel({ name, stream, place }: Cursor): CursorModel {
  return { name, stream, place, possible: [place] }
}
