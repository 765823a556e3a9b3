/**
 * Takes what the log has kept to everyone who subscribes to it, in position order. Driven by the
 * commit, not by the publisher's connection: a message is delivered also when its publisher is
 * gone.
 */
import type { EventLog, LogRecord, Position } from '../../log/log.ts'
import { asPosition, isOutOfService } from '../../log/log.ts'
import type { Receiver } from './subscriber.ts'
import { type Grant, SubscriptionTree } from './subscriptions.ts'

/** Who is in the tree: a client's subscriber, or a shared subscription. */
export interface Target {
  readonly grants: Receiver
  /** A message that was just kept, or that no stream takes. */
  live(record: LogRecord, match: Grant): void
}

export class Router {
  readonly tree: SubscriptionTree<Target>
  private readonly byStream = new Map<string, Position>()
  private readonly flush: () => void

  /** `flush` sends what the connections have collected; called once per batch. */
  constructor(log: EventLog, flush: () => void) {
    this.flush = flush
    this.tree = new SubscriptionTree((subscriber, topic) => subscriber.grants.mayReceive(topic))
    log.follow((records) => this.kept(records))
  }

  /** Learns where the streams end, before anything is routed; one out of service is left out. */
  async start(log: EventLog): Promise<void> {
    for (const { name } of log.streams) {
      try {
        const end = await log.locate(name, { kind: 'latest' })
        this.byStream.set(name, asPosition(Math.max(end, this.keptEnd(name))))
      } catch (thrown) {
        if (!isOutOfService(thrown)) throw thrown
      }
    }
  }

  /** Behind the last routed record of each stream, also of an empty one. */
  get ends(): ReadonlyMap<string, Position> {
    return this.byStream
  }

  /** Behind the last record of the stream that was routed; 0 before the first. */
  keptEnd(stream: string): Position {
    return this.byStream.get(stream) ?? asPosition(0)
  }

  /** A message that no stream takes: to whoever is there now. */
  unlogged(record: LogRecord): void {
    this.route(record)
  }

  private kept(records: readonly LogRecord[]): void {
    const last = records.at(-1)
    if (last === undefined) return
    this.byStream.set(last.stream, asPosition(last.position + 1))
    for (const record of records) this.route(record)
    this.flush()
  }

  private route(record: LogRecord): void {
    const matches = this.tree.match(record.topic)
    for (const match of matches) match.subscriber.live(record, match)
  }
}
