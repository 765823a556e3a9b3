/** `npm run sim`: argv, signals, exit code. The first signal ends the run, a second the process. */
import { parseArguments } from './args.ts'
import { standardOutput } from './screen.ts'
import { simulate } from './simulate.ts'
import { systemTime } from './time.ts'

const stop = new AbortController()
const onSignal = (): void => {
  process.off('SIGINT', onSignal)
  process.off('SIGTERM', onSignal)
  stop.abort()
}
process.on('SIGINT', onSignal)
process.on('SIGTERM', onSignal)
// Whoever read this has gone (`npm run sim | head`): nobody is left to run for.
process.stdout.on('error', () => process.exit(0))

const sim = parseArguments(process.argv.slice(2))
process.exitCode = await simulate(sim, systemTime, standardOutput(process.stdout), stop.signal)
