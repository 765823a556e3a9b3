/**
 * QoS 2 messages of one client between their PUBLISH and their PUBREL, by packet identifier. Of a
 * persistent session they are remembered longer than the connection, and longer than the gateway
 * runs.
 */
import type { AppendOutcome } from '../../log/log.ts'

export interface ReceivedMessage {
  /** Undefined: the log has not answered yet. */
  readonly outcome: AppendOutcome | undefined
  /** Sent again on a newer connection, which waits for the same answer of the log. */
  twin: Twin | undefined
}

export interface Twin {
  answered(outcome: AppendOutcome): void
}

export type ReceivedById = Map<number, ReceivedMessage>

/** What a persistent session remembers, and how it is kept. */
export interface ReceivedIds {
  readonly byId: ReceivedById
  /**
   * Before a message: undefined when a start after a crash will look for it in the log; otherwise
   * resolves when that is so, and no PUBREC may leave before. Rejects with `storage`.
   */
  begin(): Promise<void> | undefined
  /** A release is being written: the answer to a repeated PUBREL must not overtake it. */
  readonly isReleasing: boolean
  /** An identifier was taken out: `done` when that is on disk, or cannot be. */
  released(done: (kept: boolean) => void): void
}

/** A message of an earlier run that the log has. */
export const KEPT: ReceivedMessage = { outcome: 'kept', twin: undefined }
