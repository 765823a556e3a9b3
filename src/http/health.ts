import type { EventLog } from '../log/log.ts'

/** `serving` from when MQTT accepts connections until it no longer does. */
export type Phase = 'starting' | 'serving' | 'stopping'

export interface HealthSource {
  /** Why the gateway does not take messages as it should; empty when it does. */
  notReadyReasons(): readonly string[]
}

/** Ready while MQTT accepts and every stream takes records. */
export class Health implements HealthSource {
  private readonly log: Pick<EventLog, 'failures'>
  private phase: Phase = 'starting'

  constructor(log: Pick<EventLog, 'failures'>) {
    this.log = log
  }

  enter(phase: Phase): void {
    this.phase = phase
  }

  notReadyReasons(): readonly string[] {
    const failures = [...this.log.failures].map(
      ([stream, reason]) => `stream ${stream} refuses records: ${reason}`,
    )
    return this.phase === 'serving' ? failures : [`the gateway is ${this.phase}`, ...failures]
  }
}
