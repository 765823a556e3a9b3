/** What a fleet counts: events since the start, rates since the last look, latencies by bucket. */

const counterNames = [
  'published',
  'acknowledged',
  'errors',
  'reconnects',
  'dropped',
  'lost',
] as const
export type CounterName = (typeof counterNames)[number]
export type Counts = Readonly<Record<CounterName, number>>

/**
 * published: handed to the broker the first time · acknowledged: PUBACK or PUBCOMP came ·
 * errors: connections that failed and publishes the broker refused · reconnects: connections after
 * a device's first · dropped: pushed out of a full outbox · lost: QoS 0 messages that were in a
 * connection's buffer when it went.
 */
export class Rates {
  /** PUBLISH to PUBACK (PUBCOMP at QoS 2), the time of an outage in between included. */
  readonly latency = new LatencyHistogram()
  private readonly counters: Record<CounterName, number> = {
    published: 0,
    acknowledged: 0,
    errors: 0,
    reconnects: 0,
    dropped: 0,
    lost: 0,
  }

  count(name: CounterName, by = 1): void {
    this.counters[name] += by
  }

  counts(): Counts {
    return { ...this.counters }
  }
}

/** Turns running counts into rates per second between two looks. */
export class RateMeter {
  private atMs: number
  private before: Counts

  constructor(nowMs: number, counts: Counts) {
    this.atMs = nowMs
    this.before = counts
  }

  /** Rates since the last call; zero when no time has passed. */
  look(nowMs: number, counts: Counts): { published: number; acknowledged: number } {
    const seconds = (nowMs - this.atMs) / 1000
    const per = (name: CounterName): number =>
      seconds > 0 ? (counts[name] - this.before[name]) / seconds : 0
    const rates = { published: per('published'), acknowledged: per('acknowledged') }
    this.atMs = nowMs
    this.before = counts
    return rates
  }
}

/** Eight buckets per doubling: a quantile is at most 9 % too high, and never too low. */
const bucketsPerDoubling = 8
/** 1 µs × 2^(256 / 8) is 71 minutes, longer than any run keeps a message waiting. */
const bucketCount = 256

/** Latencies in fixed memory, however many there are. */
export class LatencyHistogram {
  private readonly buckets = new Float64Array(bucketCount)
  private total = 0

  get count(): number {
    return this.total
  }

  record(ms: number): void {
    const us = Math.max(1, ms * 1000)
    const bucket = Math.min(bucketCount - 1, Math.ceil(Math.log2(us) * bucketsPerDoubling))
    this.buckets[bucket] = (this.buckets[bucket] ?? 0) + 1
    this.total += 1
  }

  /** The latency in ms that a share `q` of (0, 1] of all stayed within; undefined without any. */
  quantile(q: number): number | undefined {
    if (this.total === 0) return undefined
    const wanted = Math.max(1, Math.ceil(q * this.total))
    let seen = 0
    for (const [bucket, count] of this.buckets.entries()) {
      seen += count
      if (seen >= wanted) return 2 ** (bucket / bucketsPerDoubling) / 1000
    }
    return undefined
  }
}
