/**
 * How long a client has been away (E4). Within one run of the gateway by monotonic time. Across
 * runs by wall time, as it is known now of the run in which the client left: its clock may have
 * been set only later. While the wall clock cannot be right, no session of an earlier run ends.
 */
import type { Moment, Session } from './session.ts'
import type { SessionsParts } from './sessions-parts.ts'

type Parts = Pick<SessionsParts, 'clock' | 'log' | 'trustedNow'>

export function now({ clock, log }: Pick<SessionsParts, 'clock' | 'log'>): Moment {
  return { boot: log.boot, monotonicUs: clock.monotonicUs(), timeMs: clock.now() }
}

/** Whether the session's expiry interval has passed. */
export function isOver({ left, expiryS }: Session, parts: Parts): boolean {
  return left !== undefined && awayMs(left, parts) >= expiryS * 1000
}

function awayMs(left: Moment, { clock, log, trustedNow }: Parts): number {
  if (left.boot === log.boot) return (clock.monotonicUs() - left.monotonicUs) / 1000
  const nowMs = trustedNow()
  if (nowMs === undefined) return 0
  const boot = log.state.boots().get(left.boot)
  const leftMs = boot === undefined ? left.timeMs : boot.offsetMs + left.monotonicUs / 1000
  return nowMs - leftMs
}
