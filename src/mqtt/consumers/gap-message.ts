import type { MissedRange } from '../../consumers/consumers.ts'
import type { LogRecord } from '../../log/log.ts'
import { memoryRecord } from '../retained/memory-record.ts'
import { encodeUserProperties } from '../wire/user-properties.ts'

const NO_BYTES = new Uint8Array(0)

/**
 * Tells a consumer of records that it will not get: an empty message on `$stream/<name>/gap`, with
 * the range, half-open, in user properties: of offsets where a partition is named, else of
 * positions. An MQTT 3.1.1 client learns that there is a gap.
 */
export function gapMessage(range: MissedRange, timeMs: number, boot: number): LogRecord {
  const { stream, reason, partition, first, end, records } = range
  const pairs: [string, string][] = [
    ['stream', stream],
    ['reason', reason],
    ['first', String(first)],
    ['end', String(end)],
    ['records', String(records)],
  ]
  if (partition !== undefined) pairs.push(['partition', String(partition)])
  return memoryRecord({
    stream: '',
    position: 0,
    topic: `$stream/${stream}/gap`,
    client: '',
    qos: 1,
    retain: false,
    timeMs,
    boot,
    monotonicUs: 0,
    properties: encodeUserProperties(pairs),
    payload: NO_BYTES,
  })
}
