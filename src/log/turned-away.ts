/**
 * Messages for a stream that is full (L6): they get no place in it, but they wait for their turn,
 * because a publisher hears of its messages in the order in which it sent them (L3).
 */
import { Deque } from '../base/deque.ts'
import type { AppendWaiter, NewRecord } from './log.ts'
import { asPosition, LogRecord, type Offset, type Partition } from './record.ts'

/** What a record that is turned away says of itself, as if it had been taken. */
export interface WouldBe {
  readonly position: number
  readonly partition: Partition
  readonly offset: Offset
  readonly timeMs: number
  readonly boot: number
  readonly monotonicUs: number
}

interface TurnedAway {
  readonly record: LogRecord
  readonly waiter: AppendWaiter
}

export class TurnedAwayRecords {
  private readonly waiting = new Deque<TurnedAway>()

  get count(): number {
    return this.waiting.length
  }

  /** Its size counts, its bytes are not kept; `position` is where the stream ends now. */
  add(added: NewRecord, wouldBe: WouldBe): LogRecord {
    const { route, client } = added
    const propertiesAt = route.topicBytes.length + client.bytes.length
    const payloadAt = propertiesAt + added.propertiesEnd - added.propertiesAt
    const record = new LogRecord(
      route.stream?.name ?? '',
      asPosition(wouldBe.position),
      wouldBe.partition,
      wouldBe.offset,
      route.topic,
      client.name,
      added.qos,
      added.retain,
      wouldBe.timeMs,
      wouldBe.boot,
      wouldBe.monotonicUs,
      added.bytes,
      0,
      propertiesAt,
      payloadAt,
      payloadAt + added.payloadEnd - added.payloadAt,
      added.packetId,
      added.will,
    )
    record.evict()
    this.waiting.push({ record, waiter: added.waiter })
    return record
  }

  /** Tells those that came before the record at `position`. */
  tellBefore(position: number): void {
    for (;;) {
      const next = this.waiting.peek()
      if (next === undefined || next.record.position > position) return
      this.waiting.shift()
      next.waiter.settled('full', next.record)
    }
  }
}
