/** A gateway that starts in 1970, and gets the time when the fleet has sent for a while. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
import { runSluice } from '../support/sluice.ts'
import { everyProfile, lostOf, SECONDS, Site, TIMEOUT_MS, tell } from './fleet.ts'

const PRELOAD = fileURLToPath(new URL('./wrong-clock.mjs', import.meta.url))

async function yearsIn(dataDir: string): Promise<string[]> {
  const { stdout } = await runSluice(['tail', 'telemetry', '--data', dataDir, '--format', 'json'])
  const years = stdout
    .trimEnd()
    .split('\n')
    .map((line) => String(JSON.parse(line).time).slice(0, 4))
  return [...new Set(years)]
}

it(
  'loses nothing when its clock comes from 1970, and shows all records in the right year',
  async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'sluice-clock-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const flag = path.join(folder, 'set')
    const nodeArgs = ['--import', PRELOAD]
    const site = await Site.open(everyProfile(30, 10), {
      nodeArgs,
      env: { SLUICE_CLOCK_FLAG: flag },
    })
    await site.live(async () => {
      await wait((SECONDS * 1_000) / 2)
      expect(await yearsIn(site.gateway.dataDir)).toEqual(['1970'])
      writeFileSync(flag, '')
      await wait((SECONDS * 1_000) / 2)
    })
    const result = await site.count()
    tell('clock from 1970', result)
    expect(lostOf(result)).toEqual({ logged: 0 })
    expect(result.stages[0]).toMatchObject({ duplicated: 0, outOfOrder: 0, explained: 0 })
    expect(await yearsIn(site.gateway.dataDir)).toEqual([String(new Date().getFullYear())])
  },
  TIMEOUT_MS,
)
