/** Calls once after so many milliseconds; the answer cancels it. Tests have one of their own. */
export type After = (ms: number, call: () => void) => () => void

/** A timeout longer than this fires at once in Node: whoever waits longer looks again. */
const LONGEST_MS = 0x7fff_ffff

export const systemAfter: After = (ms, call) => {
  const timer = setTimeout(call, Math.min(ms, LONGEST_MS))
  return () => clearTimeout(timer)
}
