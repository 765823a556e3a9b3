/** What a bridge says of itself: for `sluice bridge status`, HTTP and metrics. */
import type { CloseKind } from './uplink.ts'

export type BridgeState = 'paused' | 'connecting' | 'up' | CloseKind

export interface ForwardStatus {
  readonly cursor: string
  readonly stream: string
  readonly priority: number
  readonly order: 'strict' | 'live-first'
  /** Records that are not at the upstream, and of these what a backfill works off. */
  readonly lagRecords: number
  readonly historicalRecords: number
  /** Estimated. */
  readonly lagBytes: number
  /** Age of the oldest of them. */
  readonly lagAgeMs: number
  /** Messages under way. */
  readonly inflight: number
  readonly sentRecords: number
  readonly sentMessages: number
  readonly sentBytes: number
  /** Records that went nowhere and have a gap: stale, too large, refused. */
  readonly gapRecords: number
  /** Of the last minute, records a second. */
  readonly sentPerSecond: number
  /** At the pace of the last minute; undefined: never, or nobody knows yet. */
  readonly drainMs: number | undefined
  /** Until the log gives up what is not sent; undefined: not at this pace. */
  readonly fullMs: number | undefined
  readonly trouble: string | undefined
}

export interface BridgeStatus {
  readonly name: string
  /** Without a user or password: none can stand there. */
  readonly url: string
  readonly state: BridgeState
  /** What the state means now, for people. */
  readonly sentence: string
  readonly forMs: number
  /** Until the next attempt; undefined when none is waited for. */
  readonly retryMs: number | undefined
  /** Links that were made since the start, less the first. */
  readonly reconnects: number
  readonly attempts: number
  readonly lastError: { readonly kind: CloseKind; sentence: string; timeMs: number } | undefined
  readonly spentTodayBytes: number | undefined
  readonly perDayBytes: number | undefined
  readonly forwards: readonly ForwardStatus[]
  readonly received: number
  readonly receiveSkipped: number
  readonly receiveExpired: number
  readonly lastExpired: readonly { readonly topic: string; readonly timeMs: number }[]
}
