import type { Partition, QoS } from '../log/log.ts'
import type { Lane } from './lane.ts'
import type { Member } from './member.ts'
import type { MissedRange } from './missed.ts'

/** How a client takes part in a group. */
export interface Joining {
  readonly member: Member
  /** Undefined: all topics of the stream. */
  readonly filter: string | undefined
  /** As granted. At QoS 0 what is sent counts as settled. */
  readonly qos: QoS
  readonly retainAsPublished: boolean
  readonly subscriptionIds: readonly number[]
  /** False for MQTT 3.1.1, which has no user properties. */
  readonly withProperties: boolean
  readonly onGap: (range: MissedRange) => void
}

/** A member and the partitions that it owns. */
export class JoinedMember {
  joining: Joining
  readonly lanes: Lane<JoinedMember>[] = []
  /** It has let the ack timeout pass and gets nothing until it settles something. */
  isStalled = false
  isGone = false
  private turn = 0

  constructor(joining: Joining) {
    this.joining = joining
  }

  get partitions(): readonly Partition[] {
    return this.lanes.map(({ partition }) => partition).sort((a, b) => a - b)
  }

  get hasWaiting(): boolean {
    return this.lanes.some(({ waiting }) => waiting.length > 0)
  }

  /** The partition that is next to be sent from, in turn; none when nothing waits or all move. */
  nextLane(): Lane<JoinedMember> | undefined {
    const { lanes } = this
    for (let i = 0; i < lanes.length; i++) {
      if (this.turn >= lanes.length) this.turn = 0
      const lane = lanes[this.turn++]
      if (lane !== undefined && lane.heir === undefined && lane.waiting.length > 0) return lane
    }
    return undefined
  }

  lose(lane: Lane<JoinedMember>): void {
    const at = this.lanes.indexOf(lane)
    if (at >= 0) this.lanes.splice(at, 1)
  }
}
