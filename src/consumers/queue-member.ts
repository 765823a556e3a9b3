import type { QoS } from '../log/log.ts'
import type { Member } from './member.ts'
import type { MissedRange } from './missed.ts'
import type { QueueEntry } from './queue-entry.ts'

/** How a client takes part in a queue. */
export interface QueueJoining {
  readonly member: Member
  /** As granted. At QoS 0 what is sent counts as done. */
  readonly qos: QoS
  readonly subscriptionIds: readonly number[]
  /** False for MQTT 3.1.1, which has no user properties. */
  readonly withProperties: boolean
  readonly onGap: (range: MissedRange) => void
}

export class QueueMember {
  joining: QueueJoining
  /** What it has and did not settle, in the order in which it was sent. */
  readonly out = new Set<QueueEntry>()

  constructor(joining: QueueJoining) {
    this.joining = joining
  }
}
