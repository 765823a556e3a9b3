/**
 * L1-L6, S1, S2 by chance: operations from a seed are done to a log on real files and to plain
 * arrays, and both must agree. SLUICE_SEED repeats a run, SLUICE_MODEL_OPERATIONS makes it longer.
 */
import { expect, it } from 'vitest'
import { SeededRandom, systemRandom } from '../../src/base/random.ts'
import { tempDir } from '../support/temp-dir.ts'
import { ModelRun } from './model/run.ts'

const OPERATIONS = Number(process.env['SLUICE_MODEL_OPERATIONS'] ?? 1200)
const SEED = Number(process.env['SLUICE_SEED'] ?? systemRandom.below(2 ** 32))
/** A log begins anew after so many, so that comparing it stays short. */
const OPERATIONS_OF_A_LOG = 1500

it(
  `matches plain arrays over ${OPERATIONS} operations from seed ${SEED}`,
  async () => {
    const random = new SeededRandom(SEED)
    const counts = new Map<string, number>()
    let run: ModelRun | undefined
    let operation = 0
    try {
      for (; operation < OPERATIONS; operation++) {
        if (operation % OPERATIONS_OF_A_LOG === 0) {
          await run?.end()
          run = new ModelRun(random, tempDir(), counts)
          await run.begin()
        }
        await run?.step()
      }
      await run?.end()
    } catch (cause) {
      await run?.close()
      const again = `SLUICE_SEED=${SEED} SLUICE_MODEL_OPERATIONS=${OPERATIONS}`
      throw new Error(`operation ${operation} (${run?.last}); again: ${again}`, { cause })
    }
    const done = [...counts].map(([what, count]) => `${count} ${what}`).join(', ')
    process.stdout.write(`model: ${OPERATIONS} operations: ${done} (seed ${SEED})\n`)
    expect(operation).toBe(OPERATIONS)
  },
  60_000 + OPERATIONS * 100,
)
