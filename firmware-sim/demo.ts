/** `npm run demo`: argv, signals, exit code. What happens is in `demo/run.ts`. */
import { randomInt } from 'node:crypto'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { Command } from 'commander'
import { duration } from './args.ts'
import { runDemo } from './demo/run.ts'
import { Screen, standardOutput } from './screen.ts'
import { systemTime } from './time.ts'

const command = new Command('npm run demo --')
  .description('A gateway, a fleet, a replay and a tail, then a count of what is in the log.')
  .option('--duration <time>', 'how long devices publish, such as 20s', duration, 20_000)
  .parse()
const { duration: durationMs } = command.opts<{ duration: number }>()

const stop = new AbortController()
const onSignal = (): void => {
  process.off('SIGINT', onSignal)
  process.off('SIGTERM', onSignal)
  stop.abort()
}
process.on('SIGINT', onSignal)
process.on('SIGTERM', onSignal)

const gateway = fileURLToPath(new URL('../dist/main.js', import.meta.url))
const recording = fileURLToPath(new URL('./data/greenhouse.csv', import.meta.url))
const screen = new Screen(standardOutput(process.stdout))
if (existsSync(gateway)) {
  const cli = [process.execPath, gateway]
  const options = { cli, recording, durationMs, seed: randomInt(1_000_000) }
  process.exitCode = await runDemo(options, systemTime, screen, stop.signal)
} else {
  screen.say(`${gateway} is not there: build the gateway first, with npm run build`)
  process.exitCode = 1
}
