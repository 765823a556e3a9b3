import { restore as restoreLog } from '../log/backup/restore.ts'
import { streamLine } from './backup.ts'
import type { CliContext } from './context.ts'
import { sizeText } from './streams.ts'

export interface RestoreOptions {
  readonly data: string
  readonly verify: boolean
}

/** Makes a data directory out of a backup and says what is in it. */
export async function restore(
  backup: string,
  { data, verify }: RestoreOptions,
  context: CliContext,
): Promise<number> {
  const report = await restoreLog({ backup, dataDir: data, verify, clock: context.clock })
  const { manifest, epoch, cursorsMoved, sizeBytes } = report
  const from = manifest.gateway === null ? '' : ` of "${manifest.gateway}"`
  const lines = [
    `${data} is restored from the backup${from} of ${manifest.time}`,
    ...manifest.streams.map(streamLine),
    `${sizeText(sizeBytes)}; epoch ${manifest.epoch} has become ${epoch}`,
  ]
  if (cursorsMoved.length > 0) {
    lines.push(`cursors that were ahead and begin at the end: ${cursorsMoved.join(', ')}`)
  }
  context.output.out(lines.map((line) => `${line}\n`).join(''))
  return 0
}
