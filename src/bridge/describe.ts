/** What a bridge says of itself, put together from its parts. */
import type { EventLog } from '../log/log.ts'
import type { Forward } from './forward.ts'
import type { Limits } from './limits.ts'
import type { LinkState } from './link.ts'
import type { BridgeState, BridgeStatus, ForwardStatus } from './status.ts'

type LinkStatus = Pick<BridgeStatus, 'state' | 'sentence' | 'forMs' | 'retryMs'>

export function linkStatus(
  state: LinkState,
  limits: Limits | undefined,
  nowMs: number,
): LinkStatus {
  const forMs = state.kind === 'paused' ? 0 : nowMs - state.sinceMs
  const told = (kind: BridgeState, sentence: string, retryMs?: number) => ({
    state: kind,
    sentence,
    forMs,
    retryMs,
  })
  switch (state.kind) {
    case 'paused':
      return told('paused', 'paused: nothing is sent and nothing received until it is resumed')
    case 'connecting':
      return told('connecting', 'connecting to the upstream')
    case 'up':
      return told('up', `connected to the upstream${heldUp(limits)}`)
    case 'waiting': {
      const { reason, untilMs } = state
      return told(reason.kind, `the upstream ${reason.sentence}`, Math.max(0, untilMs - nowMs))
    }
    default:
      return state satisfies never
  }
}

/** A link that is up and sends nothing for hours must not look like a fault. */
function heldUp(limits: Limits | undefined): string {
  const hours = limits?.window
  if (hours !== undefined && !hours.isOpen) {
    return `; only priority 0 is sent outside of ${hours.text}`
  }
  const isSpent = limits?.day !== undefined && limits.day.remainingBytes === 0
  return isSpent ? '; only priority 0 is sent until the next day begins: per_day is used up' : ''
}

export interface ForwardFacts {
  readonly log: EventLog
  /** See `BridgesParts`. */
  readonly roomBytes: (stream: string) => number | undefined
  /** Of the last minute: records that went, and bytes that came into its stream. */
  readonly sentPerSecond: number
  readonly bytesPerSecond: number
}

export async function forwardStatus(
  forward: Forward,
  { log, roomBytes, sentPerSecond, bytesPerSecond }: ForwardFacts,
): Promise<ForwardStatus> {
  const { settings, lagRecords } = forward
  const lag = await log.state.cursors.lag(forward.cursor)
  const share = lag.records === 0 ? 0 : Math.min(1, lagRecords / lag.records)
  const room = roomBytes(settings.stream)
  const leftBytes = Math.max(0, (room ?? 0) - lag.sizeBytes)
  const fills = room !== undefined && bytesPerSecond > 0
  return {
    cursor: forward.cursor,
    stream: settings.stream,
    priority: settings.priority,
    order: settings.order,
    lagRecords,
    historicalRecords: forward.historicalRecords,
    lagBytes: Math.round(lag.sizeBytes * share),
    lagAgeMs: lagRecords === 0 ? 0 : lag.ageMs,
    inflight: forward.inflight,
    sentRecords: forward.sentRecords,
    sentMessages: forward.sentMessages,
    sentBytes: forward.sentBytes,
    gapRecords: forward.notes.records,
    sentPerSecond,
    drainMs: sentPerSecond > 0 ? (lagRecords * 1000) / sentPerSecond : undefined,
    fullMs: fills ? leftBytes * (1000 / bytesPerSecond) : undefined,
    trouble: forward.trouble,
  }
}
