/**
 * Which readings one stage of the way has seen: the log, a consumer, an upstream.
 *
 * A reading that comes again is `duplicated`, however often and wherever. One that comes for the
 * first time behind a later one of its device, boot and topic is out of order. Readings of
 * different topics may overtake each other: they can be in different streams.
 */
import type { ReadingId } from '../payload/reading-id.ts'
import { countOf, Ranges } from '../ranges.ts'

export interface Sighting {
  readonly id: ReadingId
  readonly topic: string
}

interface BootSeen {
  readonly readings: Ranges
  /** Highest sequence number of each topic. */
  readonly highest: Map<string, number>
}

export class Seen {
  duplicated = 0
  outOfOrder = 0
  private readonly boots = new Map<string, Map<number, BootSeen>>()

  /** How many different readings. */
  get count(): number {
    let sum = 0
    for (const [, , readings] of this.entries()) sum += readings.count
    return sum
  }

  take({ id: { device, boot, seq }, topic }: Sighting): void {
    const ofDevice = this.boots.get(device) ?? new Map<number, BootSeen>()
    this.boots.set(device, ofDevice)
    const seen = ofDevice.get(boot) ?? { readings: new Ranges(), highest: new Map() }
    ofDevice.set(boot, seen)
    if (!seen.readings.add(seq)) {
      this.duplicated += 1
      return
    }
    const highest = seen.highest.get(topic) ?? -1
    if (seq < highest) this.outOfOrder += 1
    else seen.highest.set(topic, seq)
  }

  /** Order can be checked anew: what follows comes from another member or connection. */
  forgetOrder(): void {
    for (const boots of this.boots.values())
      for (const { highest } of boots.values()) highest.clear()
  }

  readings(device: string, boot: number): Ranges | undefined {
    return this.boots.get(device)?.get(boot)?.readings
  }

  *entries(): Generator<readonly [string, number, Ranges]> {
    for (const [device, boots] of this.boots) {
      for (const [boot, { readings }] of boots) yield [device, boot, readings]
    }
  }
}

export interface Missing {
  readonly count: number
  /** The first few, for a person to look for. */
  readonly examples: readonly string[]
}

const examplesMost = 5

/** Collects what one stage should have seen and has not. */
export class MissingCount implements Missing {
  count = 0
  readonly examples: string[] = []

  add(device: string, boot: number, missing: readonly (readonly [number, number])[]): void {
    this.count += countOf(missing)
    for (const [first, end] of missing) {
      if (this.examples.length >= examplesMost) return
      this.examples.push(`${device} boot ${boot} [${first}, ${end})`)
    }
  }
}
