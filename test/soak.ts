/**
 * `npm run test:soak`: the long forms of the tests that live by chance, one after the other, from
 * one printed seed. How long each is stands in its variable; what is set already counts.
 *
 *   SLUICE_SEED=8731 SLUICE_KILL_ROUNDS=50 npm run test:soak -- kill model
 */
import { spawn } from 'node:child_process'
import { systemRandom } from '../src/base/random.ts'

interface Soak {
  readonly name: string
  readonly test: string
  readonly variable: string
  /** Without the variable. The promise is to be shown with 500 kills and 2,000 images at least. */
  readonly count: number
}

const soaks: readonly Soak[] = [
  {
    name: 'bridge',
    test: 'test/wire/bridge.test.ts',
    variable: 'SLUICE_BRIDGE_SECONDS',
    count: 60,
  },
  {
    name: 'bridge-random',
    test: 'test/bridge/random.test.ts',
    variable: 'SLUICE_BRIDGE_SEEDS',
    count: 200,
  },
  {
    name: 'kill',
    test: 'test/crash/kill.test.ts',
    variable: 'SLUICE_KILL_ROUNDS',
    count: 500,
  },
  {
    name: 'fail-points',
    test: 'test/crash/fail-points.test.ts',
    variable: 'SLUICE_FAIL_POINT_ROUNDS',
    count: 5,
  },
  {
    name: 'power',
    test: 'test/crash/power/power-loss.test.ts',
    variable: 'SLUICE_POWER_IMAGES',
    count: 2000,
  },
  {
    name: 'damage',
    test: 'test/crash/damage.test.ts',
    variable: 'SLUICE_DAMAGE_ROUNDS',
    count: 1000,
  },
  {
    name: 'model',
    test: 'test/log/model.test.ts',
    variable: 'SLUICE_MODEL_OPERATIONS',
    count: 50_000,
  },
  {
    name: 'fuzz',
    test: 'test/mqtt/fuzz.test.ts',
    variable: 'SLUICE_FUZZ_PACKETS',
    count: 1_000_000,
  },
  {
    name: 'sim',
    test: 'test/sim',
    variable: 'SLUICE_SIM_SECONDS',
    count: 90,
  },
]

/** Lines of the tests with their figures. */
const FIGURES = /^(kill -9|fail points|power loss|damage|model|fuzz|sim): /

interface Done {
  readonly soak: Soak
  readonly code: number | null
  readonly minutes: number
  readonly figures: readonly string[]
}

const named = process.argv.slice(2)
const unknown = named.filter((name) => !soaks.some((soak) => soak.name === name))
const seed = Number(process.env['SLUICE_SEED'] ?? systemRandom.below(2 ** 32))
if (unknown.length > 0) {
  const known = soaks.map(({ name }) => name).join(', ')
  process.stderr.write(`there is no soak "${unknown.join('", "')}"; there are ${known}\n`)
  process.exitCode = 1
} else {
  process.exitCode = await soakAll(
    named.length === 0 ? soaks : soaks.filter(({ name }) => named.includes(name)),
  )
}

/** The exit code: 1 when one failed. The others run all the same. */
async function soakAll(chosen: readonly Soak[]): Promise<number> {
  process.stdout.write(`soak from seed ${seed}\n`)
  const done: Done[] = []
  for (const soak of chosen) done.push(await run(soak))
  process.stdout.write('\n')
  for (const { soak, code, minutes, figures } of done) {
    const verdict = code === 0 ? 'held' : 'FAILED'
    process.stdout.write(`${soak.name}: ${verdict} in ${minutes.toFixed(1)} min\n`)
    for (const line of figures) process.stdout.write(`  ${line}\n`)
  }
  return done.every(({ code }) => code === 0) ? 0 : 1
}

function run(soak: Soak): Promise<Done> {
  const began = performance.now()
  const { variable, test } = soak
  const count = process.env[variable] ?? String(soak.count)
  const env = { ...process.env, [variable]: count, SLUICE_SEED: String(seed) }
  process.stdout.write(`\n${variable}=${count} SLUICE_SEED=${seed} npx vitest run ${test}\n`)
  const child = spawn('npx', ['vitest', 'run', test], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
    process.stdout.write(chunk)
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => {
      const figures = text.split('\n').filter((line) => FIGURES.test(line))
      resolve({ soak, code, minutes: (performance.now() - began) / 60_000, figures })
    })
  })
}
