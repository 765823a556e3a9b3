import type { EventLog } from '../log/log.ts'

/** `serving` from when MQTT accepts connections until it no longer does. */
export type Phase = 'starting' | 'serving' | 'stopping'

export interface HealthSource {
  /** Why the gateway does not take messages as it should; empty when it does. */
  notReadyReasons(): readonly string[]
}

/** What of the log says whether it can be relied on. */
export type Watched = Pick<EventLog, 'failures' | 'full'> & {
  readonly state: Pick<EventLog['state'], 'failure'>
}

/** Ready while MQTT accepts, every stream can be written and has space, and state is kept. */
export class Health implements HealthSource {
  private readonly log: Watched
  private phase: Phase = 'starting'

  constructor(log: Watched) {
    this.log = log
  }

  enter(phase: Phase): void {
    this.phase = phase
  }

  notReadyReasons(): readonly string[] {
    const failures = [...this.log.failures].map(
      ([stream, reason]) => `stream ${stream} cannot be written: ${reason}`,
    )
    const full = [...this.log.full].map(
      ([stream, reason]) => `stream ${stream} refuses new messages: ${reason}`,
    )
    const { failure } = this.log.state
    const state = failure === undefined ? [] : [`cursors and gaps cannot be written: ${failure}`]
    const reasons = [...failures, ...full, ...state]
    return this.phase === 'serving' ? reasons : [`the gateway is ${this.phase}`, ...reasons]
  }
}
