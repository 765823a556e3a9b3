/** A client as consumers see it, moved by hand: what it was sent, and when it settles what. */
import type { Member, Sending, Settled } from '../../src/consumers/member.ts'
import type { LogRecord } from '../../src/log/log.ts'

export interface Sent {
  readonly record: LogRecord
  readonly how: Sending
  /** The payload as it was when it was sent. */
  readonly text: string
}

interface Open extends Sent {
  readonly settled: Settled
}

export class TestMember implements Member {
  readonly clientId: string
  /** All that it was sent, oldest first. */
  readonly sent: Sent[] = []
  /** Told when the window has room again. */
  onRoomy: () => void = () => undefined
  private readonly window: number
  private readonly open: Open[] = []
  private gone = false

  constructor(clientId: string, window = 8) {
    this.clientId = clientId
    this.window = window
  }

  get hasRoom(): boolean {
    return !this.gone && this.open.length < this.window
  }

  get inflight(): readonly Sent[] {
    return this.open
  }

  get texts(): readonly string[] {
    return this.sent.map(({ text }) => text)
  }

  send(record: LogRecord, how: Sending, settled: Settled): boolean {
    if (!this.hasRoom) return false
    const text = Buffer.from(record.payload).toString()
    this.sent.push({ record, how, text })
    if (how.qos === 0) settled('acked')
    else this.open.push({ record, how, text, settled })
    return true
  }

  /** Settles one that is open, the oldest without a number. */
  settle(index = 0, outcome: 'acked' | 'refused' = 'acked'): Sent | undefined {
    const [settling] = this.open.splice(index, 1)
    if (settling === undefined) return undefined
    settling.settled(outcome)
    if (!this.gone) this.onRoomy()
    return settling
  }

  /** Settles whatever is open, also what comes meanwhile; how many that were. */
  settleAll(): number {
    let count = 0
    while (this.settle() !== undefined) count++
    return count
  }

  /** The connection is gone: nothing of it settles any more. */
  goAway(): void {
    this.gone = true
    this.open.length = 0
  }
}

/** The value of a user property of a message that was sent. */
export function propertyOf(sent: Sent | undefined, name: string): string | undefined {
  return sent?.how.userProperties.find(([key]) => key === name)?.[1]
}
