import type { LogRecord } from '../log/log.ts'

type Pair = readonly [string, string]

/**
 * Where a record is in the log, as user properties: stream, partition, offset, time (Unix, ms).
 * What is the same from record to record is made once: this runs for each message sent.
 */
export class RecordProperties {
  private readonly stream: Pair
  private readonly partitions: Pair[] = []

  constructor(stream: string) {
    this.stream = ['stream', stream]
  }

  of(record: LogRecord): readonly Pair[] {
    const { partition, offset, timeMs } = record
    let pair = this.partitions[partition]
    if (pair === undefined) {
      pair = ['partition', String(partition)]
      this.partitions[partition] = pair
    }
    return [this.stream, pair, ['offset', String(offset)], ['time', String(Math.round(timeMs))]]
  }
}
