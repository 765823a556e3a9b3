/** A card that stalls at each sync, and a disk that is full, under a fleet that goes on. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
import { smallDisk, whyNoDisk } from '../support/small-disk.ts'
import { everyProfile, lostOf, SECONDS, Site, TIMEOUT_MS, tell } from './fleet.ts'

const SOURCE = fileURLToPath(new URL('./slow-sync.c', import.meta.url))
const hasCompiler = spawnSync('cc', ['--version']).status === 0
const unable = whyNoDisk()

it.skipIf(!hasCompiler)(
  `waits for a disk that stalls a second at each sync${hasCompiler ? '' : ' (needs cc)'}`,
  async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'sluice-stall-'))
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
    const [library, flag] = [path.join(folder, 'slow-sync.so'), path.join(folder, 'stall')]
    const built = spawnSync('cc', ['-shared', '-fPIC', '-o', library, SOURCE, '-ldl'])
    expect(built.status, built.stderr.toString()).toBe(0)
    const env = { LD_PRELOAD: library, SLUICE_STALL_FLAG: flag }
    const site = await Site.open(everyProfile(30, 15), { env })
    await site.live(async () => {
      await wait((SECONDS * 1_000) / 4)
      writeFileSync(flag, '')
      await wait((SECONDS * 1_000) / 2)
      rmSync(flag)
    })
    const result = await site.count()
    const slowest = site.field.tally.latency.quantile(1) ?? 0
    tell('stalling disk', result, `, slowest PUBACK ${slowest.toFixed(0)} ms`)
    expect(slowest, 'the stall was one').toBeGreaterThan(900)
    expect(lostOf(result)).toEqual({ logged: 0 })
    expect(result.stages[0]).toMatchObject({ outOfOrder: 0, explained: 0 })
  },
  TIMEOUT_MS,
)

/** 1.5 MiB/s of bursts fill 24 MiB within the scenario; the guard then removes whole segments. */
const BURSTS = `
speed = 600

[[fleet]]
profile = "vibration"
count = 40
ram = 262144
`

const GUARDED = `
[disk]
segment = "1MiB"
min_free = "12MiB"

[[stream]]
name = "telemetry"
topics = ["devices/+/telemetry"]
key = "topic:1"
`

it.skipIf(unable !== undefined)(
  `explains by gaps what a full disk took${unable === undefined ? '' : ` (left out: ${unable})`}`,
  async () => {
    const dataDir = path.join(smallDisk('24m'), 'data')
    const site = await Site.open(BURSTS, { config: GUARDED, dataDir })
    onTestFinished(() => site.gateway.dispose())
    await site.live()
    const result = await site.count()
    tell('full disk', result)
    expect(lostOf(result)).toEqual({ logged: 0 })
    expect(result.stages[0]?.explained, 'the disk was full').toBeGreaterThan(0)
    expect(result.stages[0]?.outOfOrder).toBe(0)
  },
  TIMEOUT_MS,
)
