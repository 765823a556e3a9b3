/** Backups of a real gateway under load, taken by a process of their own as an operator would. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { SeededRandom } from '../../../src/base/random.ts'
import { filesOf } from '../../../src/log/backup/manifest.ts'
import { audit } from '../../crash/audit.ts'
import { NumberedPublisher } from '../../crash/load.ts'
import { gatewayConfig } from '../../support/gateway-config.ts'
import { type GatewayProcess, MAIN, startGateway } from '../../support/gateway-process.ts'
import { runSluice } from '../../support/sluice.ts'
import { tempDir } from '../../support/temp-dir.ts'
import { manifestOf, tree } from './support.ts'

const CONFIG = gatewayConfig({ segment: '1MiB' }, [
  { name: 'plant', settings: { partitions: 4, key: 'topic' } },
  { name: 'rest', settings: { partitions: 2, key: 'client' } },
])

interface Given {
  readonly gateway: GatewayProcess
  readonly publishers: readonly NumberedPublisher[]
}

async function givenGateway(): Promise<Given> {
  const gateway = await startGateway({ config: CONFIG })
  onTestFinished(() => gateway.dispose())
  const publishers = [
    new NumberedPublisher('p1', 'plant/a', 1),
    new NumberedPublisher('p2', 'plant/b', 2),
    new NumberedPublisher('p3', 'rest/c', 1),
  ]
  return { gateway, publishers }
}

/** Does `work` while all of them publish as fast as they can. */
async function underLoad({ gateway, publishers }: Given, work: () => Promise<void>): Promise<void> {
  const runs = publishers.map((publisher) => publisher.run(gateway.mqttPort))
  try {
    await work()
  } finally {
    for (const publisher of publishers) publisher.stop()
    await Promise.all(runs)
  }
}

const acknowledgedBy = (publishers: readonly NumberedPublisher[]): number =>
  publishers.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0)

/** What the publishers have noted by now, as publishers of the same names. */
const noted = (publishers: readonly NumberedPublisher[]): NumberedPublisher[] =>
  publishers.map(({ name, acknowledged }) => {
    const copy = new NumberedPublisher(name, '', 1)
    for (const sequence of acknowledged) copy.acknowledged.add(sequence)
    return copy
  })

async function more(publishers: readonly NumberedPublisher[], count: number): Promise<void> {
  const target = acknowledgedBy(publishers) + count
  await expect.poll(() => acknowledgedBy(publishers) >= target, { timeout: 60_000 }).toBe(true)
}

describe('backups of a gateway under load', () => {
  it('hold all that was acknowledged before each began, without a hole', async () => {
    const given = await givenGateway()
    const { gateway, publishers } = given
    const folder = tempDir()
    const target = path.join(folder, 'backup')
    for (let round = 1; round <= 3; round++) {
      let before: NumberedPublisher[] = []
      await underLoad(given, async () => {
        await more(publishers, 6000)
        before = noted(publishers)
        const made = await runSluice(['backup', target, '--data', gateway.dataDir])
        expect(made).toMatchObject({ code: 0, stderr: '' })
        // Publishers were answered while it was made.
        expect(acknowledgedBy(publishers)).toBeGreaterThan(acknowledgedBy(before))
      })
      const copy = path.join(folder, `restored-${round}`)
      expect(await runSluice(['restore', target, '--data', copy])).toMatchObject({ code: 0 })
      const { records, faults } = audit(copy, before)
      expect(faults, `round ${round}`).toEqual([])
      expect(records).toBeGreaterThanOrEqual(acknowledgedBy(before))
    }
    const served = await startGateway({ config: CONFIG, dataDir: path.join(folder, 'restored-3') })
    onTestFinished(() => served.dispose())
    const after = [new NumberedPublisher('p4', 'plant/new', 1)]
    await underLoad({ gateway: served, publishers: after }, () => more(after, 3000))
    await served.stop()
    expect(audit(served.dataDir, after).faults).toEqual([])
  }, 180_000)

  it('leave no false backup when they are killed, and the gateway as it was', async () => {
    const random = new SeededRandom(Number(process.env['SLUICE_SEED'] ?? 4711))
    const given = await givenGateway()
    const { gateway, publishers } = given
    const folder = tempDir()
    let killed = 0
    for (let round = 1; round <= 4; round++) {
      const about = `round ${round}, seed ${random.seed}`
      const target = path.join(folder, `backup-${round}`)
      // Every other one has a finished backup before it, which must stay one.
      const before = round % 2 === 0 ? await finishedBackup(given, target) : undefined
      await underLoad(given, async () => {
        await more(publishers, 4000)
        if (await killBackup(gateway.dataDir, target, random.below(4))) killed++
        await more(publishers, 500)
      })
      const isBackup = existsSync(path.join(target, 'manifest.json'))
      if (before !== undefined) expect(isBackup, about).toBe(true)
      const copy = path.join(folder, `restored-${round}`)
      const said = await runSluice(['restore', target, '--data', copy])
      expect(said.code, `${about}: ${said.stderr}`).toBe(isBackup ? 0 : 1)
      if (isBackup) expect(audit(copy, before ?? []).faults, about).toEqual([])
      else expect(existsSync(copy), about).toBe(false)
      await finishedBackup(given, target)
      const left = [...filesOf(manifestOf(target)), 'backup.lock', 'manifest.json']
      expect(tree(target), about).toEqual(left.toSorted())
    }
    expect(killed, `seed ${random.seed}`).toBeGreaterThan(0)
    await gateway.stop()
    expect(audit(gateway.dataDir, publishers).faults).toEqual([])
  }, 180_000)
})

/** Makes a backup to its end; what it must hold. */
async function finishedBackup(
  { gateway, publishers }: Given,
  target: string,
): Promise<NumberedPublisher[]> {
  const before = noted(publishers)
  const made = await runSluice(['backup', target, '--data', gateway.dataDir])
  expect(made).toMatchObject({ code: 0, stderr: '' })
  return before
}

/** Kills a backup once it has made so many files; true when it did not end before. */
async function killBackup(dataDir: string, target: string, files: number): Promise<boolean> {
  const known = new Set(existsSync(target) ? tree(target) : [])
  const child = spawn(process.execPath, [MAIN, 'backup', target, '--data', dataDir])
  let running = true
  const ended = new Promise<NodeJS.Signals | null>((resolve) => {
    child.once('exit', (_code, signal) => {
      running = false
      resolve(signal)
    })
  })
  const made = (): number =>
    existsSync(target) ? tree(target).filter((file) => isCopy(file) && !known.has(file)).length : 0
  while (running && made() <= files) await new Promise((resolve) => setImmediate(resolve))
  child.kill('SIGKILL')
  return (await ended) === 'SIGKILL'
}

/** Records or state, not the lock of a backup or a journal of SQLite. */
const isCopy = (file: string): boolean => file.endsWith('.db')
