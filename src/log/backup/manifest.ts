/**
 * What a backup says about itself. It is written last of all, and durably: a folder without one is
 * not a backup, whatever else lies in it.
 *
 *   <backup>/manifest.json
 *   <backup>/state.<run>.db
 *   <backup>/streams/<stream>/<first position>.db           a sealed segment, kept from run to run
 *   <backup>/streams/<stream>/<first position>.<run>.db     what the next run takes anew
 *   <backup>/backup.lock                                    held while a backup is made
 *
 * What changes carries the number of the run in its name, so that the files of the manifest that
 * holds stay as they are until the next one takes its place.
 */
import fs from 'node:fs'
import path from 'node:path'
import { z } from 'zod'
import { codeOf, messageOf, SluiceError } from '../../base/errors.ts'
import { syncFolder } from '../writer/segment-file.ts'

/** Raised with each change that an older `sluice restore` would misread. */
export const BACKUP_FORMAT = 1
export const MANIFEST_FILE = 'manifest.json'
const MANIFEST_TEMPORARY = 'manifest.json.new'

/** A name in a folder, never a way out of it: a manifest can come from anywhere. */
const fileName = z.string().regex(/^[A-Za-z0-9_-][A-Za-z0-9_.-]*$/)
const count = z.int().nonnegative()

const contentSchema = z.object({
  file: fileName,
  sizeBytes: count,
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
})

const segmentSchema = contentSchema.extend({
  /** Positions, half-open: [first, end). */
  first: count,
  end: count,
  /** Of the live file, to know it again; null where the copy is not the file itself. */
  modifiedMs: z.number().nullable(),
})

const manifestSchema = z.object({
  format: z.literal(BACKUP_FORMAT),
  /** How many-eth backup in this folder, from 1. */
  run: count,
  /** ISO 8601, by the clock of the machine that made it. */
  time: z.string(),
  /** Null where it was not known. */
  gateway: z.string().nullable(),
  epoch: count,
  state: contentSchema,
  streams: z.array(z.object({ name: fileName, segments: z.array(segmentSchema) })),
})

/** A file of the backup and what is in it. */
export type BackupContent = Readonly<z.infer<typeof contentSchema>>
export type BackupSegment = Readonly<z.infer<typeof segmentSchema>>

export interface BackupStream {
  readonly name: string
  /** Oldest first. */
  readonly segments: readonly BackupSegment[]
}

export interface Manifest {
  readonly format: typeof BACKUP_FORMAT
  readonly run: number
  readonly time: string
  readonly gateway: string | null
  readonly epoch: number
  readonly state: BackupContent
  readonly streams: readonly BackupStream[]
}

/**
 * The manifest of a folder; undefined when it has none.
 * Throws `format-unknown`, `backup-damaged` or `storage`.
 */
export function readManifest(folder: string): Manifest | undefined {
  const file = path.join(folder, MANIFEST_FILE)
  const text = textOf(file)
  if (text === undefined) return undefined
  const json = jsonOf(text, file)
  const format = z.object({ format: z.number() }).safeParse(json)
  if (format.success && format.data.format !== BACKUP_FORMAT) {
    throw new SluiceError(
      'format-unknown',
      `${file} has backup format ${format.data.format}; this version knows ${BACKUP_FORMAT}`,
    )
  }
  const parsed = manifestSchema.safeParse(json)
  if (parsed.success) return parsed.data
  const where = parsed.error.issues[0]?.path.join('.') ?? ''
  throw new SluiceError('backup-damaged', `${file} is not the manifest of a backup, at "${where}"`)
}

/** Puts the manifest in place, durably; everything that it names must be durable before. */
export function writeManifest(folder: string, manifest: Manifest): void {
  const temporary = path.join(folder, MANIFEST_TEMPORARY)
  const descriptor = fs.openSync(temporary, 'w', 0o600)
  try {
    fs.writeFileSync(descriptor, `${JSON.stringify(manifest, undefined, 1)}\n`)
    fs.fsyncSync(descriptor)
  } finally {
    fs.closeSync(descriptor)
  }
  fs.renameSync(temporary, path.join(folder, MANIFEST_FILE))
  syncFolder(folder)
}

/** Every file that a manifest names, relative to the folder of the backup. */
export function filesOf(manifest: Manifest): Set<string> {
  return new Set([
    manifest.state.file,
    ...manifest.streams.flatMap(({ name, segments }) =>
      segments.map(({ file }) => path.join('streams', name, file)),
    ),
  ])
}

function textOf(file: string): string | undefined {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return undefined
    throw new SluiceError('storage', `${file} cannot be read: ${messageOf(cause)}`, { cause })
  }
}

function jsonOf(text: string, file: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new SluiceError('backup-damaged', `${file} is not JSON`, { cause })
  }
}
