/**
 * The built-in stream: it takes what no stream's topics match but must be kept nevertheless, such
 * as a retained message, or one that a persistent session waits for. It has no topics, so nothing
 * comes into it by routing; whoever appends asks for its route.
 */
import type { StreamSettings } from './log.ts'

export const FALLBACK_STREAM = 'default'

const builtIn: StreamSettings = {
  name: FALLBACK_STREAM,
  topics: [],
  partitions: 1,
  key: { kind: 'topic' },
  ackAfter: 'fsync',
  qos0: true,
  lingerMs: 0,
}

/** The streams with the built-in one behind them, unless one of them has its name. */
export function withFallback(streams: readonly StreamSettings[]): readonly StreamSettings[] {
  return streams.some(({ name }) => name === FALLBACK_STREAM) ? streams : [...streams, builtIn]
}
