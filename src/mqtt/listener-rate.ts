/**
 * How many connections one address may open per second; ten seconds' worth may come at once, so
 * that a site that comes back behind one router is let in. An address that is over it costs no
 * more than accepting and closing a socket.
 */
import type { Clock } from '../base/clock.ts'

const BURST_SECONDS = 10
/** IPv6 gives an attacker more addresses than any table holds: the oldest goes. */
const ADDRESSES_MAX = 10_000

/**
 * What counts as one address: an IPv4 address, also in IPv6 clothes, or an IPv6 network of 64 bits,
 * which is what one site or one attacker has.
 */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (mapped !== undefined) return mapped
  const [head = '', tail] = (address.split('%')[0] ?? '').split('::')
  const first = head === '' ? [] : head.split(':')
  const last = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = Array<string>(Math.max(0, 8 - first.length - last.length)).fill('0')
  return `${[...first, ...zeros, ...last].slice(0, 4).join(':')}::/64`
}

interface Bucket {
  level: number
  filledAtMs: number
}

export class ConnectionRate {
  private readonly perMs: number
  private readonly most: number
  private readonly clock: Clock
  private readonly buckets = new Map<string, Bucket>()

  constructor(perSecond: number, clock: Clock) {
    this.perMs = perSecond / 1000
    this.most = perSecond * BURST_SECONDS
    this.clock = clock
  }

  /** Whether `address` may connect now; counts it when it may. */
  admits(address: string): boolean {
    const nowMs = this.clock.monotonicUs() / 1000
    const bucket = this.buckets.get(address) ?? this.added(address, nowMs)
    const filled = bucket.level + (nowMs - bucket.filledAtMs) * this.perMs
    bucket.level = Math.min(filled, this.most)
    bucket.filledAtMs = nowMs
    if (bucket.level < 1) return false
    bucket.level--
    return true
  }

  private added(address: string, nowMs: number): Bucket {
    if (this.buckets.size >= ADDRESSES_MAX) {
      const [oldest] = this.buckets.keys()
      if (oldest !== undefined) this.buckets.delete(oldest)
    }
    const bucket = { level: this.most, filledAtMs: nowMs }
    this.buckets.set(address, bucket)
    return bucket
  }
}
