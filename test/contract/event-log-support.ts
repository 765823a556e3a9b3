/** The vocabulary of the contract suite for event logs. */
import { expect } from 'vitest'
import type { Clock } from '../../src/base/clock.ts'
import {
  type AppendOutcome,
  asPosition,
  type EventLog,
  type LogRecord,
  type QoS,
  type ReadQuery,
  type RecordPage,
  type StreamSettings,
} from '../../src/log/log.ts'

export interface OpenedLog {
  readonly log: EventLog
  /** Closes the log and opens it on the same data. Called for durable logs only. */
  reopen(): Promise<EventLog>
  /** Closes whatever is open and removes its data. */
  clean(): Promise<void>
}

/** Opens an empty log with these streams, which takes its time from `clock`. */
export type OpenLog = (streams: readonly StreamSettings[], clock: Clock) => Promise<OpenedLog>

export interface Message {
  readonly topic: string
  readonly client?: string
  readonly qos?: QoS
  readonly retain?: boolean
  readonly packetId?: number
  readonly will?: boolean
  readonly key?: string
  readonly properties?: Uint8Array
  readonly payload?: Uint8Array | string
}

export interface Appended {
  readonly record: LogRecord
  readonly settled: Promise<AppendOutcome>
}

/** Opens a log with these streams; the suite closes it. */
export type Given = (...streams: readonly StreamSettings[]) => Promise<EventLog>

export const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i)
export const messages = (count: number, topic = 't'): Message[] =>
  numbers(count).map((i) => ({ topic, payload: `p${i}` }))
export const positions = (records: readonly LogRecord[]): number[] =>
  records.map((record) => record.position)
export const payloads = (records: readonly LogRecord[]): string[] =>
  records.map((record) => Buffer.from(record.payload).toString())

export function stream(name: string, more: Partial<StreamSettings> = {}): StreamSettings {
  return {
    name,
    topics: ['#'],
    partitions: 1,
    key: { kind: 'topic' },
    ackAfter: 'fsync',
    qos0: true,
    lingerMs: 0,
    ...more,
  }
}

/** Appends with properties and payload amid other bytes, as they stand in a read chunk. */
export function append(
  log: EventLog,
  message: Message,
  told?: () => void,
  route = log.route(message.topic),
): Appended {
  const { properties = new Uint8Array(0), payload = '' } = message
  const body = Buffer.from(payload)
  const propertiesAt = 3
  const propertiesEnd = propertiesAt + properties.length
  const payloadAt = propertiesEnd + 2
  const bytes = Buffer.concat([Buffer.alloc(3, 7), properties, Buffer.alloc(2, 7), body, body])
  const { promise, resolve } = newPromise<AppendOutcome>()
  const record = log.append({
    route,
    client: log.client(message.client ?? 'client-1'),
    qos: message.qos ?? 1,
    retain: message.retain ?? false,
    ...(message.packetId !== undefined && { packetId: message.packetId }),
    ...(message.will !== undefined && { will: message.will }),
    key: message.key,
    bytes,
    propertiesAt,
    propertiesEnd,
    payloadAt,
    payloadEnd: payloadAt + body.length,
    waiter: {
      settled: (outcome) => {
        told?.()
        resolve(outcome)
      },
    },
  })
  // Append copies: what becomes of the chunk is not the log's business.
  bytes.fill(0xee)
  return { record, settled: promise }
}

/** Appends in one go and waits until all are kept. */
export async function appendAll(log: EventLog, messages: readonly Message[]): Promise<LogRecord[]> {
  const appended = messages.map((message) => append(log, message))
  for (const { settled } of appended) expect(await settled).toBe('kept')
  return appended.map(({ record }) => record)
}

export function readPage(
  log: EventLog,
  name: string,
  more: Partial<ReadQuery> = {},
): Promise<RecordPage> {
  const from = asPosition(0)
  return log.read({ stream: name, from, recordsMax: 1000, bytesMax: 1 << 24, ...more })
}

/** Reads page by page until caught up; each page must move on and keep to its limits. */
export async function readAll(
  log: EventLog,
  name: string,
  more: Partial<ReadQuery> = {},
): Promise<LogRecord[]> {
  const found: LogRecord[] = []
  let from = more.from ?? asPosition(0)
  for (;;) {
    const page = await readPage(log, name, { ...more, from })
    expect(page.records.length).toBeLessThanOrEqual(more.recordsMax ?? 1000)
    for (const record of page.records) {
      expect(record.position).toBeGreaterThanOrEqual(from)
      expect(record.position).toBeLessThan(page.next)
      from = asPosition(record.position + 1)
    }
    found.push(...page.records)
    if (page.next === page.end) return found
    expect(page.next).toBeGreaterThanOrEqual(from)
    expect(page.next).toBeLessThan(page.end)
    from = page.next
  }
}

/** What of a record must survive, comparable. */
export function contentOf(record: LogRecord): object {
  const { topic, client, qos, retain, packetId, will, position, partition, offset, timeMs } = record
  return {
    stream: record.stream,
    position,
    partition,
    offset,
    topic,
    client,
    qos,
    retain,
    packetId,
    will,
    timeMs,
    properties: Buffer.from(record.properties).toString('base64'),
    payload: Buffer.from(record.payload).toString('base64'),
  }
}

/** The partition in what `contentOf` gave. */
export function partitionIn(content: object): unknown {
  return 'partition' in content ? content.partition : undefined
}

function newPromise<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: ((value: T) => void) | undefined
  const promise = new Promise<T>((settle) => {
    resolve = settle
  })
  return { promise, resolve: (value) => resolve?.(value) }
}
