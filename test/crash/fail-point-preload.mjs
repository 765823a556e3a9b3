/**
 * Loaded with `node --import` into a gateway and each of its threads: at the fail point that
 * SLUICE_FAIL_POINT names (`seal:end-written`, `seal:end-written:3`) the process kills itself, the
 * third time a thread passes it. The system takes back the process between two instructions: no
 * handler runs, nothing is flushed.
 */
import { onFailPoint } from '../../dist/base/fail-point.js'

const [, name, count = '1'] = /^(.+?)(?::(\d+))?$/.exec(process.env.SLUICE_FAIL_POINT ?? '') ?? []
let passes = 0

onFailPoint((passed) => {
  if (passed !== name || ++passes < Number(count)) return
  process.kill(process.pid, 'SIGKILL')
})
