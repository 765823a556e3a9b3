/** A day as it should be, and what it costs the gateway in memory. */
import { readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { everyProfile, lostOf, SECONDS, Site, TIMEOUT_MS, tell } from './fleet.ts'

/** 2,000 devices where there is time for it. */
const DEVICES_OF_A_PROFILE = SECONDS > 30 ? 333 : 20
const SPEED = SECONDS > 30 ? 600 : 120
/** After the caches are warm. */
const GROWTH_MIB_MAX = SECONDS > 30 ? 10 : 60

function residentMib(pid: number): number {
  const [, kib] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kib) / 1024
}

it(
  'brings every reading of a normal day to the log, and does not grow',
  async () => {
    const site = await Site.open(everyProfile(SPEED, DEVICES_OF_A_PROFILE))
    const resident: number[] = []
    await site.live(async (running) => {
      while (!running.aborted) {
        resident.push(residentMib(site.gateway.pid))
        await wait((SECONDS * 1_000) / 20)
      }
    })
    const result = await site.count()
    const warm = resident.slice(Math.floor(resident.length / 3))
    const half = Math.floor(warm.length / 2)
    const grown = Math.max(...warm.slice(half)) - Math.max(...warm.slice(0, half))
    const figures = resident.map((mib) => mib.toFixed(0)).join(' ')
    tell('normal day', result, `, ${site.field.nodes.length} devices, resident MiB ${figures}`)
    expect(lostOf(result)).toEqual({ logged: 0 })
    expect(result.stages[0]).toMatchObject({ duplicated: 0, outOfOrder: 0, explained: 0 })
    expect(result.stages[0]?.readings).toBe(result.sent)
    expect(result.acknowledged).toBe(result.sent)
    expect(grown).toBeLessThan(GROWTH_MIB_MAX)
  },
  TIMEOUT_MS,
)
