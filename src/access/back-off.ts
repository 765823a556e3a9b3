/**
 * Who failed to log in waits before the next try is looked at. Counted for an address together with
 * a user, so that one device with an old password does not lock out its neighbours behind the same
 * address, and nobody locks out a user from elsewhere; and for the address alone, with more
 * patience, against guessing through many users. A password that was right before is not asked to
 * wait.
 */
import type { Clock } from '../base/clock.ts'

/** A person mistypes; a device that fails five times will fail again. */
const FAILURES_FREE = 5
/** One address may be a whole site behind a router. */
const ADDRESS_FAILURES_FREE = 50
const FIRST_WAIT_MS = 1000
const WAIT_MAX_MS = 60_000
/** Without a failure for so long, an entry starts anew. */
const FORGET_MS = 10 * 60_000
/** The longest unused goes: an attacker with more addresses than this is no matter of passwords. */
const ENTRIES_MAX = 10_000

interface Entry {
  failures: number
  failedAtMs: number
}

export class BackOff {
  private readonly clock: Clock
  private readonly entries = new Map<string, Entry>()

  constructor(clock: Clock) {
    this.clock = clock
  }

  /** How long a login of `user` from `address` must still wait, in milliseconds; 0: not at all. */
  waitMs(address: string, user: string): number {
    return Math.max(
      this.remaining(pairOf(address, user), FAILURES_FREE),
      this.remaining(address, ADDRESS_FAILURES_FREE),
    )
  }

  /** Answers whether this failure is the first after which logins wait. */
  failed(address: string, user: string): boolean {
    const ofPair = this.count(pairOf(address, user))
    const ofAddress = this.count(address)
    return ofPair === FAILURES_FREE || ofAddress === ADDRESS_FAILURES_FREE
  }

  succeeded(address: string, user: string): void {
    this.entries.delete(pairOf(address, user))
  }

  private remaining(key: string, free: number): number {
    const entry = this.entries.get(key)
    if (entry === undefined || entry.failures < free) return 0
    const doublings = Math.min(entry.failures - free, 16)
    const waitMs = Math.min(FIRST_WAIT_MS * 2 ** doublings, WAIT_MAX_MS)
    return Math.max(0, entry.failedAtMs + waitMs - this.nowMs())
  }

  private count(key: string): number {
    const nowMs = this.nowMs()
    const known = this.entries.get(key)
    const isFresh = known !== undefined && nowMs - known.failedAtMs < FORGET_MS
    this.entries.delete(key)
    if (this.entries.size >= ENTRIES_MAX) {
      const [oldest] = this.entries.keys()
      if (oldest !== undefined) this.entries.delete(oldest)
    }
    const failures = (isFresh ? known.failures : 0) + 1
    this.entries.set(key, { failures, failedAtMs: nowMs })
    return failures
  }

  private nowMs(): number {
    return this.clock.monotonicUs() / 1000
  }
}

/** No address has a newline in it. Only the head of a name: it may have 64 KiB. */
function pairOf(address: string, user: string): string {
  return `${address}\n${user.slice(0, 64)}`
}
