import type { Member, Sending, Settled } from '../../consumers/member.ts'
import type { LogRecord } from '../../log/log.ts'
import type { Outbound } from '../delivery/outbound.ts'
import type { Permission } from './permission.ts'

/**
 * A client as a member of one group, queue, replay or shared subscription: its outbound side, asked
 * for permission. What the client may not have is passed over as if it had been acknowledged.
 */
export class ClientMember implements Member {
  readonly clientId: string
  readonly permission: Permission | undefined
  private readonly outbound: Outbound
  private readonly flushSoon: () => void

  /** `flushSoon` sends what was collected at the end of the loop turn. */
  constructor(outbound: Outbound, permission: Permission | undefined, flushSoon: () => void) {
    this.clientId = outbound.clientId
    this.outbound = outbound
    this.permission = permission
    this.flushSoon = flushSoon
  }

  get hasRoom(): boolean {
    return this.outbound.hasRoom
  }

  send(record: LogRecord, how: Sending, settled: Settled): boolean {
    if (this.permission?.has(record.topic) === false) {
      settled('acked')
      return true
    }
    if (!this.outbound.send(record, how, settled)) return false
    this.flushSoon()
    return true
  }
}
