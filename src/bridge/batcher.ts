/**
 * Packs a lane's records into batches. A batch is in flight from its first record on, so that a
 * lane's `acked` never passes what is still being packed or compressed.
 */
import { Deque } from '../base/deque.ts'
import type { LogRecord } from '../log/log.ts'
import { BatchBuilder, type BatchHead } from './batch.ts'
import type { Flight, Lane } from './lane.ts'
import type { ForwardSettings } from './settings.ts'

/** Packed ahead of the link: compression, in threads of its own, is hardly ever waited for. */
const UNITS_MAX = 4

interface Unit {
  readonly flight: Flight
  readonly records: number
  payload: Uint8Array | undefined
}

export interface BatcherParts {
  readonly settings: NonNullable<ForwardSettings['batch']>
  readonly head: BatchHead
  /** Monotonic ms. */
  readonly nowMs: () => number
  /** Takes what must not go up out of the lane; false for a record that must. */
  readonly passes: (lane: Lane, record: LogRecord) => boolean
  readonly wake: () => void
}

export class Batcher {
  private readonly parts: BatcherParts
  private builder: BatchBuilder
  private units = new Deque<Unit>()
  private collecting: { flight: Flight; sinceMs: number } | undefined

  constructor(parts: BatcherParts) {
    this.parts = parts
    this.builder = this.newBuilder()
  }

  /** The link was lost: everything is packed again. */
  reset(): void {
    this.builder = this.newBuilder()
    this.units = new Deque()
    this.collecting = undefined
  }

  /** Batches that are in flight for their lane and not sent yet. */
  get unsent(): number {
    return this.units.length + (this.collecting === undefined ? 0 : 1)
  }

  /** When what is collected must leave although it is not full, monotonic ms. */
  get dueMs(): number | undefined {
    const { collecting, parts } = this
    return collecting && collecting.sinceMs + parts.settings.lingerMs
  }

  /** The oldest batch, when it is ready to be sent; collects from the lane meanwhile. */
  peek(lane: Lane): Unit | undefined {
    while (this.units.length < UNITS_MAX && this.collect(lane)) this.close()
    const due = this.dueMs
    if (due !== undefined && this.parts.nowMs() >= due && this.units.length < UNITS_MAX) {
      this.close()
    }
    const unit = this.units.peek()
    return unit?.payload === undefined ? undefined : unit
  }

  take(): void {
    this.units.shift()
  }

  /** True: full. False: nothing more is there now. */
  private collect(lane: Lane): boolean {
    for (;;) {
      const record = lane.peek()
      if (record === undefined) return false
      if (this.parts.passes(lane, record)) continue
      if (!this.builder.add(record)) return true
      this.collecting ??= { flight: lane.open(record), sinceMs: this.parts.nowMs() }
      this.collecting.flight.add(record)
      lane.take(record)
      if (this.builder.records === this.parts.settings.records) return true
    }
  }

  private close(): void {
    const { collecting, units } = this
    if (collecting === undefined) return
    this.collecting = undefined
    const { flight } = collecting
    const unit: Unit = { flight, records: flight.records, payload: undefined }
    units.push(unit)
    // zlib fails only without memory, and then the process does.
    void this.builder.build(this.parts.settings.compress).then(({ message }) => {
      unit.payload = message
      this.parts.wake()
    })
  }

  private newBuilder(): BatchBuilder {
    const { settings, head } = this.parts
    return new BatchBuilder({ recordsMax: settings.records, bytesMax: settings.maxBytes }, head)
  }
}
