/** Time as a port: the system's in a run, a hand-moved one in tests. */
export interface Time {
  /** Milliseconds since 1970, with a fraction; it never goes back within a run. */
  nowMs(): number
  /** Resolves after `ms` milliseconds, or at once when `signal` aborts. Never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

/**
 * The machine's time, read as start of the process + time since: one scale serves time stamps,
 * latencies and schedules, and a step of the wall clock bends none of them.
 */
export const systemTime: Time = {
  nowMs: () => performance.timeOrigin + performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) {
        resolve()
        return
      }
      const done = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      signal?.addEventListener('abort', done, { once: true })
    }),
}
