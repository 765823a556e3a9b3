/**
 * Loaded with `node --import` into a gateway and each of its threads: a machine without a battery
 * clock. It begins in 1970, and is set once the file that SLUICE_CLOCK_FLAG names exists.
 */
import { existsSync } from 'node:fs'

const flag = process.env.SLUICE_CLOCK_FLAG ?? ''
const real = Date.now
const bootedMs = real() - performance.now()
let isSet = existsSync(flag)
let lookedMs = performance.now()

Date.now = () => {
  if (!isSet && performance.now() - lookedMs > 50) {
    lookedMs = performance.now()
    isSet = existsSync(flag)
  }
  return isSet ? real() : Math.floor(real() - bootedMs)
}
