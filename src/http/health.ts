import type { EventLog } from '../log/log.ts'

/** `serving` from when MQTT accepts connections until it no longer does. */
export type Phase = 'starting' | 'serving' | 'stopping'

export interface HealthSource {
  /** Why the gateway does not take messages as it should; empty when it does. */
  notReadyReasons(): readonly string[]
}

/** Ready while MQTT accepts and every stream can be written and has space. */
export class Health implements HealthSource {
  private readonly log: Pick<EventLog, 'failures' | 'full'>
  private phase: Phase = 'starting'

  constructor(log: Pick<EventLog, 'failures' | 'full'>) {
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
    const reasons = [...failures, ...full]
    return this.phase === 'serving' ? reasons : [`the gateway is ${this.phase}`, ...reasons]
  }
}
