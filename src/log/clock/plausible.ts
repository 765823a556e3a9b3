/** Before this software existed: a clock that says so was never set. */
const EARLIEST_MS = Date.UTC(2026, 0, 1)
/** No gateway runs this long on one version of its software. */
const LATEST_MS = Date.UTC(2076, 0, 1)

/** Whether a wall clock that says this can be right: not 1970, not 2100. */
export function isPlausible(timeMs: number): boolean {
  return timeMs >= EARLIEST_MS && timeMs < LATEST_MS
}
