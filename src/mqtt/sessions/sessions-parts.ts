import type { Clock } from '../../base/clock.ts'
import type { Logger } from '../../base/logger.ts'
import type { EventLog, Position } from '../../log/log.ts'
import type { Places } from '../delivery/subscriber.ts'

/** What sessions are built from. */
export interface SessionsParts {
  readonly log: EventLog
  readonly clock: Clock
  readonly logger: Logger
  /** The wall time for deletions by age; undefined while nobody knows it. */
  readonly trustedNow: () => number | undefined
  /** Of all clients together. */
  readonly sessionsMax: number
  /** How far a session may lag while its client is away. */
  readonly maxLagMs: number
  /** The position behind the last record of the stream that was given to live subscribers. */
  keptEnd(stream: string): Position
  /** The same, of all streams. */
  ends(): Places
  /** A session has ended: it expired, or its client began anew. */
  ended(clientId: string): void
}
