/**
 * Decides which forward sends next. Forwards of a lower number come first: one of a higher number
 * sends only while no other has something that may go. Forwards of equal priority take turns.
 *
 * P1. A limit never stops priority 0; what it takes, the others wait for.
 * P2. Part of the upstream's receive maximum is kept free for what comes before.
 * P3. One call sends what may go now and says when to call again; it never waits.
 */
import type { Forward } from './forward.ts'
import type { Limits } from './limits.ts'
import type { UplinkConnection } from './uplink.ts'

/** Messages of one forward before the next of its priority has its turn. */
const TURN_MESSAGES = 32
/** Kept free for priority 0, of windows that have it. */
const RESERVE_MAX = 16

export interface PumpHost {
  /** What goes up over MQTT 3.1.1 has no mark: the way down must know it again. */
  sending(forward: Forward): void
}

export class Pump {
  private readonly groups: Forward[][]
  private readonly limits: Limits
  private readonly host: PumpHost
  private readonly hasUrgent: boolean

  constructor(forwards: readonly Forward[], limits: Limits, host: PumpHost) {
    const priorities = [...new Set(forwards.map(({ settings }) => settings.priority))]
    this.groups = priorities
      .sort((a, b) => a - b)
      .map((priority) => forwards.filter(({ settings }) => settings.priority === priority))
    this.limits = limits
    this.host = host
    this.hasUrgent = priorities.includes(0)
  }

  /** Sends what may go; returns after how long a limit lets more through, or undefined. */
  run(connection: UplinkConnection): number | undefined {
    let waitMs: number | undefined
    for (const group of this.groups) {
      waitMs = this.runGroup(group, connection)
      // A limit holds for all that come after, too: nobody overtakes.
      if (waitMs !== undefined || !connection.hasRoom) break
    }
    connection.flush()
    return waitMs
  }

  private runGroup(group: Forward[], connection: UplinkConnection): number | undefined {
    let idle = 0
    while (idle < group.length) {
      const forward = group[0] as Forward
      const turn = this.turn(forward, connection)
      // Who sent something stands behind the others, also for the next call.
      if (turn.sent > 0 || turn.waitMs === undefined) group.push(group.shift() as Forward)
      if (turn.waitMs !== undefined) return turn.waitMs
      idle = turn.sent === TURN_MESSAGES ? 0 : idle + 1
    }
    return undefined
  }

  private turn(forward: Forward, connection: UplinkConnection): Turn {
    const isUrgent = forward.settings.priority === 0
    for (let sent = 0; sent < TURN_MESSAGES; sent++) {
      if (!connection.hasRoom || (!isUrgent && this.isReserved(connection))) return { sent }
      if (!forward.prepare(connection)) return { sent }
      const { message, preparedRecords } = forward
      const sizeBytes = connection.sizeOf(message)
      const waitMs = isUrgent ? 0 : this.limits.delayMs(preparedRecords, sizeBytes)
      if (waitMs > 0) return { sent, waitMs }
      this.limits.take(preparedRecords, sizeBytes)
      this.host.sending(forward)
      connection.publish(message, forward.sent(sizeBytes))
    }
    return { sent: TURN_MESSAGES }
  }

  private isReserved({ inflight, inflightMax }: UplinkConnection): boolean {
    if (!this.hasUrgent) return false
    return inflight >= inflightMax - Math.min(RESERVE_MAX, inflightMax >> 2)
  }
}

interface Turn {
  /** Messages; all of the turn: there may be more. */
  readonly sent: number
  /** A limit holds the next one up for so long. */
  readonly waitMs?: number
}
