/**
 * Gaps of one forward on their way to disk: neighbours become one, and each is a flight of its
 * lane, so that the cursor passes it only once it is durable (S2 of the log's state). What cannot
 * be written is tried again: its flights hold the window up, and nobody else would free them.
 */
import { messageOf, SluiceError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import { asPosition, type GapReason, type Gaps, type LogRecord } from '../log/log.ts'
import type { Flight, Lane } from './lane.ts'

interface Note {
  readonly lane: Lane
  readonly flights: Flight[]
  readonly reason: GapReason
  end: number
  records: number
  sizeBytes: number
}

export interface GapNotesParts {
  readonly gaps: Gaps
  readonly cursor: string
  readonly stream: string
  readonly logger: Logger
}

/** Records of one gap before it is written: its flights are in memory. */
const RECORDS_MAX = 1000

export class GapNotes {
  /** Records that went nowhere, since the start. */
  records = 0
  private readonly parts: GapNotesParts
  private open: Note | undefined
  private writing = 0
  private failed: Note[] = []

  constructor(parts: GapNotesParts) {
    this.parts = parts
  }

  /** The record that the lane gave will not be sent. */
  pass(lane: Lane, record: LogRecord, reason: GapReason): void {
    const flight = lane.open(record)
    flight.add(record)
    lane.take(record)
    this.add(flight, reason)
  }

  /** What was sent was refused for good: it will not be sent again. */
  refused(flight: Flight): void {
    this.add(flight, 'policy')
    this.write()
  }

  /** Some are not durable yet. */
  get isPending(): boolean {
    return this.open !== undefined || this.writing > 0 || this.failed.length > 0
  }

  /** Tries again what could not be written. */
  retry(): void {
    const { failed } = this
    this.failed = []
    for (const note of failed) void this.keep(note)
  }

  /** The flights are forgotten: what is not being written is met again. */
  forget(): void {
    this.open = undefined
    this.failed = []
  }

  /** Writes what was collected. */
  write(): void {
    const note = this.open
    if (note === undefined) return
    this.open = undefined
    void this.keep(note)
  }

  private add(flight: Flight, reason: GapReason): void {
    const { lane, first, end, records, sizeBytes } = flight
    // Not one that was sent: its lane must not count it.
    flight.records = 0
    this.records += records
    const { open } = this
    const joins = open !== undefined && open.lane === lane && open.reason === reason
    if (joins && open.end === first && open.records < RECORDS_MAX) {
      open.flights.push(flight)
      open.end = end
      open.records += records
      open.sizeBytes += sizeBytes
      return
    }
    this.write()
    this.open = { lane, flights: [flight], reason, end, records, sizeBytes }
  }

  private async keep(note: Note): Promise<void> {
    const { flights, reason, end, records, sizeBytes } = note
    const { gaps, cursor, stream, logger } = this.parts
    const first = asPosition(flights[0]?.first ?? end)
    this.writing++
    try {
      await gaps.add([{ stream, cursor, first, end: asPosition(end), records, sizeBytes, reason }])
    } catch (thrown) {
      if (!(thrown instanceof SluiceError)) throw thrown
      const why = messageOf(thrown)
      logger.error({ cursor, reason: why }, 'a gap of a bridge cannot be written: tried again')
      // The link may have ended meanwhile: then its flights are gone, and it is met again.
      if (flights[0]?.isForgotten === false) this.failed.push(note)
      return
    } finally {
      this.writing--
    }
    for (const flight of flights) flight.settled(0)
  }
}
