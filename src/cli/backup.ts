import { type BackupReport, backup as backUpLog } from '../log/backup/backup.ts'
import type { CliContext } from './context.ts'
import { type Place, settingsOf } from './place.ts'
import { sizeText } from './streams.ts'

/** Backs a data directory up, beside a running gateway or without one, and says what was done. */
export async function backup(target: string, place: Place, context: CliContext): Promise<number> {
  const named = gatewayOf(place, context)
  if (named === undefined) return 1
  const { dataDir, gateway } = named
  const report = await backUpLog({ dataDir, target, gateway, clock: context.clock })
  const lines = [`${dataDir} is backed up in ${target}`, ...backupLines(report)]
  context.output.out(lines.map((line) => `${line}\n`).join(''))
  return 0
}

interface Named {
  readonly dataDir: string
  readonly gateway: string | undefined
}

/**
 * Without a configuration the id would be the name of the host, which says nothing about a data
 * directory that was copied here. Undefined once it was said what is wrong.
 */
function gatewayOf(place: Place, context: CliContext): Named | undefined {
  if (place.data !== undefined && place.config === undefined) {
    return { dataDir: place.data, gateway: undefined }
  }
  const settings = settingsOf(place, context)
  if (settings === undefined) return undefined
  const { dataDir, id } = settings.config.gateway
  return { dataDir, gateway: settings.file === undefined ? undefined : id }
}

function backupLines({ manifest, ways }: BackupReport): string[] {
  const segments = manifest.streams.flatMap((stream) => stream.segments)
  const sizeBytes = segments.reduce((sum, segment) => sum + segment.sizeBytes, 0)
  const done = [
    `${ways.kept} kept from the backup before`,
    `${ways.linked} linked`,
    `${ways.copied + ways.snapshot} copied`,
  ]
  return [
    ...manifest.streams.map(streamLine),
    `${countText(segments.length)}, ${sizeText(sizeBytes)}: ${done.join(', ')}`,
  ]
}

/** `  plant  [0, 1042)  3 segments`, the positions half-open. */
export function streamLine({
  name,
  segments,
}: BackupReport['manifest']['streams'][number]): string {
  const range = `[${segments[0]?.first ?? 0}, ${segments.at(-1)?.end ?? 0})`
  return `  ${name}  ${range}  ${countText(segments.length)}`
}

const countText = (count: number): string => `${count} segment${count === 1 ? '' : 's'}`
