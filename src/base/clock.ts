/**
 * Time as a port: the system's in production, a hand-moved one in tests and simulations.
 * Wall time can jump (gateways have no battery clock); monotonic time never goes back within a
 * boot.
 */
export interface Clock {
  /** Wall time in milliseconds since 1970, with a fraction. */
  now(): number
  /** Time since this boot of the process in microseconds. */
  monotonicUs(): number
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonicUs: () => Math.round(performance.now() * 1000),
}

/** A clock that stands still until it is moved. */
export class ManualClock implements Clock {
  private wallMs: number
  private bootUs = 0

  constructor(wallMs: number) {
    this.wallMs = wallMs
  }

  now(): number {
    return this.wallMs
  }

  monotonicUs(): number {
    return this.bootUs
  }

  /** Lets `ms` milliseconds pass on both scales. */
  advance(ms: number): void {
    this.wallMs += ms
    this.bootUs += ms * 1000
  }

  /** Sets the wall clock, as NTP does; monotonic time is untouched. */
  step(wallMs: number): void {
    this.wallMs = wallMs
  }
}
