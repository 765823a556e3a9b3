/** What a power loss may leave of a backup and of a restore: all of it, or nothing. */
import fs from 'node:fs'
import path from 'node:path'
import { systemClock } from '../../../src/base/clock.ts'
import { messageOf } from '../../../src/base/errors.ts'
import { readManifest } from '../../../src/log/backup/manifest.ts'
import { restore } from '../../../src/log/backup/restore.ts'
import { openLog } from '../../../src/log/open.ts'
import { BOUNDS, STREAMS } from './load.ts'
import { backupIn, restoredIn } from './upkeep.ts'

/** `disk`: the image; its copies are opened, so nothing else may look at it afterwards. */
export async function checkCopies(
  disk: string,
  lines: readonly string[],
  faults: string[],
): Promise<void> {
  if (!lines.includes('copying')) return
  const isBackedUp = lines.includes('backed-up')
  const isRestored = lines.includes('restored')
  try {
    const backup = backupIn(disk)
    const manifest = fs.existsSync(backup) ? readManifest(backup) : undefined
    if (manifest === undefined) {
      if (isBackedUp) faults.push('a finished backup is none')
      return
    }
    const whole = path.join(disk, 'whole')
    await restore({ backup, dataDir: whole, verify: true, clock: systemClock })
    const copy = await endsOf(whole)
    const again = await endsOf(restoredIn(disk))
    const isWhole = again.ends === copy.ends && again.epoch > 1
    const isNew = again.epoch === 1 && !isRestored
    if (!isWhole && !isNew) faults.push(`a half was restored: ${again.ends}, not ${copy.ends}`)
  } catch (thrown) {
    faults.push(`a copy failed: ${messageOf(thrown)}`)
  }
}

async function endsOf(dataDir: string): Promise<{ ends: string; epoch: number }> {
  const log = await openLog({ dataDir, streams: STREAMS, clock: systemClock, ...BOUNDS })
  try {
    const bounds = await Promise.all(STREAMS.map(({ name }) => log.bounds(name)))
    const ends = bounds.map(({ stream, first, end }) => `${stream} [${first}, ${end})`).join(', ')
    return { ends, epoch: log.state.epoch }
  } finally {
    await log.close()
  }
}
