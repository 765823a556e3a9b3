import type { LogRecord } from '../log/log.ts'
import type { QueueMember } from './queue-member.ts'
import type { InLine } from './waiting-line.ts'

export const returnReasons = ['ack-timeout', 'refused', 'consumer-left'] as const
/** Why a delivery came to nothing. */
export type ReturnReason = (typeof returnReasons)[number]

/** What is known of a message's deliveries, also over a restart. */
export interface Deliveries {
  readonly count: number
  /** Wall time of the first and the last; 0 before. */
  readonly firstMs: number
  readonly lastMs: number
}

export type EntryState =
  | { readonly kind: 'waiting' }
  | { readonly kind: 'out'; readonly to: QueueMember; readonly sentUs: number }
  /** Delivered too often; on its way to the dead letters. */
  | { readonly kind: 'dying'; readonly reason: ReturnReason }
  | { readonly kind: 'settled' }

const WAITING: EntryState = { kind: 'waiting' }

/** A message of a queue that is loaded. */
export class QueueEntry implements InLine {
  readonly record: LogRecord
  readonly priority: number
  readonly sinceUs: number
  deliveries: Deliveries
  state: EntryState = WAITING

  constructor(record: LogRecord, priority: number, sinceUs: number, deliveries: Deliveries) {
    this.record = record
    this.priority = priority
    this.sinceUs = sinceUs
    this.deliveries = deliveries
  }

  get isWaiting(): boolean {
    return this.state.kind === 'waiting'
  }
}
