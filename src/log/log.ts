/**
 * The door of the log: an ordered, durable, partitioned record of all messages.
 *
 * It owns streams, segments, positions, offsets, commits and the tail cache. It knows no MQTT
 * beyond the topic string, the QoS number and an opaque property block; who may read or write is
 * not its business. Two implementations stand behind this port: the SQLite log and the in-memory
 * model.
 *
 * Invariants, cited by asserts and tests:
 * L1. Positions of a stream and offsets of a partition are dense: no hole, no repeat, ever.
 * L2. A waiter is told 'kept' only after the stream's ack rule holds for the record: 'fsync' after
 *     its transaction is synced, 'write' after it is committed, 'receive' at once.
 * L3. Waiters of one stream are told in append order; followers see records in position order,
 *     each once, and only after its waiter was told.
 * L4. Nothing that was told 'kept' is missing after a reopen (as far as the ack rule goes).
 * L5. Memory is bounded: the tail cache by bytes, reads by page limits; what waits for the disk is
 *     bounded by whoever appends, who sees `backlogBytes`.
 * L6. A full stream takes nothing: whoever appends is told 'full', in its turn (L3), and no
 *     position is used up.
 */
import { codeOf } from '../base/errors.ts'
import type { LogRecord, Offset, Partition, Position, QoS } from './record.ts'
import type { LogState } from './state.ts'

export type { Offset, Partition, Position, QoS } from './record.ts'
export {
  asOffset,
  asPartition,
  asPosition,
  HEAD_BYTES,
  LogRecord,
  TOPIC_LENGTH_AT,
} from './record.ts'
export type {
  Boot,
  ClockQuality,
  Cursor,
  CursorLag,
  CursorPlace,
  Cursors,
  Document,
  Documents,
  DocumentWrite,
  Gap,
  GapReason,
  Gaps,
  LogState,
  NewGap,
} from './state.ts'
export { clockQualities, gapReasons } from './state.ts'

/**
 * Whether a question about a stream failed because the stream is out of service until the next
 * start. Whoever asks while the gateway starts goes on without it: the rest is served (G5).
 */
export function isOutOfService(thrown: unknown): boolean {
  return codeOf(thrown) === 'stream-out-of-service'
}

export const ackRules = ['fsync', 'write', 'receive'] as const
export type AckRule = (typeof ackRules)[number]

/** Which partition a record goes to: equal keys share a partition, so their order is kept. */
export type PartitionKey =
  | { readonly kind: 'topic' }
  | { readonly kind: 'topic-level'; readonly level: number }
  | { readonly kind: 'client' }
  | { readonly kind: 'user-property'; readonly name: string }
  | { readonly kind: 'round-robin' }

export interface StreamSettings {
  readonly name: string
  /** Topic filters; a message goes to the first stream with one that matches. */
  readonly topics: readonly string[]
  readonly partitions: number
  readonly key: PartitionKey
  readonly ackAfter: AckRule
  /** QoS 0 messages are logged too. */
  readonly qos0: boolean
  /** How long a commit may wait for company. */
  readonly lingerMs: number
}

/** Where a topic's records go. Kept per topic and shared: compare by identity. */
export interface Route {
  readonly topic: string
  readonly topicBytes: Uint8Array
  /** The same number means the same topic within a boot; 0 says nothing. */
  readonly ref: number
  /** Undefined: no stream takes this topic. */
  readonly stream: StreamSettings | undefined
  /** Index of the stream in the log's list; -1 without one. */
  readonly streamIndex: number
  /** The partition where the topic alone decides it. */
  readonly partition: Partition | undefined
}

/** A publisher's name, encoded once per connection. */
export interface ClientName {
  readonly name: string
  readonly bytes: Uint8Array
  readonly ref: number
}

/** 'refused': storage cannot keep it. 'full': not now, for want of space (see `full`). */
export type AppendOutcome = 'kept' | 'refused' | 'full'

/** Told once about each appended record, in append order of its stream (L3). */
export interface AppendWaiter {
  settled(outcome: AppendOutcome, record: LogRecord): void
}

export interface NewRecord {
  /** A route with a stream. */
  readonly route: Route
  readonly client: ClientName
  readonly qos: QoS
  readonly retain: boolean
  /** The publisher's packet identifier of a QoS 2 message; 0 without it. */
  readonly packetId?: number
  /** The gateway publishes it for a client that was lost. */
  readonly will?: boolean
  /** For a stream keyed by user property: its value; undefined counts as the empty key. */
  readonly key: string | undefined
  /** Properties and payload are ranges of `bytes`, copied before append returns. */
  readonly bytes: Uint8Array
  readonly propertiesAt: number
  readonly propertiesEnd: number
  readonly payloadAt: number
  readonly payloadEnd: number
  readonly waiter: AppendWaiter
}

export interface ReadQuery {
  readonly stream: string
  readonly from: Position
  readonly partition?: Partition
  /**
   * MQTT topic filters: records that one of them matches. Without it all records; an empty list
   * wants none.
   */
  readonly filters?: readonly string[]
  readonly recordsMax: number
  /** A page ends with the record that passes this; at least one record is given. */
  readonly bytesMax: number
}

export interface RecordPage {
  /** In position order. The memory is the caller's for good. */
  readonly records: readonly LogRecord[]
  /** Where the next read continues: past everything that was looked at. */
  readonly next: Position
  /** The stream's end when it was read; `next === end` means caught up. */
  readonly end: Position
}

/** Where a reader begins. */
export type Start =
  | { readonly kind: 'earliest' }
  | { readonly kind: 'latest' }
  | { readonly kind: 'time'; readonly timeMs: number }
  | { readonly kind: 'offset'; readonly partition: Partition; readonly offset: Offset }

export interface PartitionBounds {
  readonly partition: Partition
  /** Half-open: [first, end). */
  readonly first: Offset
  readonly end: Offset
}

export interface StreamBounds {
  readonly stream: string
  /** Half-open: [first, end). */
  readonly first: Position
  readonly end: Position
  readonly partitions: readonly PartitionBounds[]
  readonly segments: number
  /** Of the files on disk, WAL included. */
  readonly sizeBytes: number
  /** Wall time of the first and the last record; undefined when empty. */
  readonly firstTimeMs: number | undefined
  readonly lastTimeMs: number | undefined
}

/** What a group commit did; for metrics. */
export interface CommitReport {
  readonly stream: string
  readonly records: number
  readonly sizeBytes: number
  readonly durationMs: number
}

export interface EventLog {
  /** As configured, and behind them the built-in stream `default` unless one has its name. */
  readonly streams: readonly StreamSettings[]
  /** This run of the process, from 1. */
  readonly boot: number
  /** Bytes appended that are not on disk yet, those of 'receive' streams included. */
  readonly backlogBytes: number
  /** Streams that cannot be written now, with the reason: what is appended to them waits. */
  readonly failures: ReadonlyMap<string, string>
  /** Cursors, gaps, boots and the epoch; closed with the log. */
  readonly state: LogState
  /** Streams that take no records until space returns, with the reason. */
  readonly full: ReadonlyMap<string, string>

  /** The route of a topic name (not a filter), which must be valid MQTT. */
  route(topic: string): Route
  /** Never without a stream: where `route` has none, into the built-in stream `default`. */
  fallbackRoute(topic: string): Route
  /** A client's name, made once per connection. */
  client(name: string): ClientName
  /**
   * Gives the record its position and offset, copies it, and settles it later. Never throws for
   * storage.
   */
  append(record: NewRecord): LogRecord
  /** Hands what was appended to the writer now instead of at the end of the loop turn. */
  flush(): void

  /** Called with each stream's newly kept records, in position order; returns its own removal. */
  follow(follower: (records: readonly LogRecord[]) => void): () => void
  onCommit(listener: (report: CommitReport) => void): void
  /** Told when a stream cannot be written any more, and when that turns out to be worse. */
  onFailure(listener: (stream: string, reason: string) => void): void
  /** Told when such a stream is written again, with how many records waited for it. */
  onResume(listener: (stream: string, waited: number) => void): void
  /** From now on the stream is full, for that reason; without one it takes records again. */
  setFull(stream: string, reason: string | undefined): void
  /** Told when a stream becomes full, with the reason, and when it takes records again, without. */
  onFull(listener: (stream: string, reason: string | undefined) => void): void

  /**
   * A page of kept records from a position on; earlier than the first record begins at the first.
   */
  read(query: ReadQuery): Promise<RecordPage>
  /** The position at which a reader with this start begins. */
  locate(stream: string, start: Start): Promise<Position>
  bounds(stream: string): Promise<StreamBounds>
  /** A kept record that is still in the tail cache. */
  recent(stream: string, position: Position): LogRecord | undefined

  /** Commits what is open, settles it and releases everything. */
  close(): Promise<void>
}
