/**
 * The facts of finished segments, for retention, and their deletion. A finished segment does not
 * change, so each is opened once and then known by its name.
 */
import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { present } from '../../base/assert.ts'
import { codeOf, messageOf, SluiceError } from '../../base/errors.ts'
import { failPoint } from '../../base/fail-point.ts'
import { asOffset, asPartition, asPosition } from '../record.ts'
import type { FinishedSegment } from '../retention/segments.ts'
import { firstPositionOf } from '../segment.ts'
import { segmentEnd, segmentNames } from '../writer/recovery.ts'
import { removeDatabase, syncFolder, syncWal } from '../writer/segment-file.ts'

type Facts = Omit<FinishedSegment, 'file' | 'first' | 'end' | 'sizeBytes'>

/** What the keeper found in one folder. */
export interface FolderSurvey {
  readonly sizeBytes: number
  readonly segments: readonly FinishedSegment[]
}

export class Surveyor {
  private readonly folder: string
  /** By name. */
  private readonly facts = new Map<string, Facts>()
  private readonly unreadable = new Set<string>()
  private folderTold = false
  private readonly trouble: (sentence: string) => void

  constructor(folder: string, trouble: (sentence: string) => void) {
    this.folder = folder
    this.trouble = trouble
  }

  /**
   * The finished segments, up to the first that is not to be touched: one that `isOpen` (its seal
   * is on its way), or one that cannot be read, which is told once and is for whoever repairs.
   */
  survey(isOpen: (file: string) => boolean): FolderSurvey {
    const names = this.names()
    this.forgetOthers(names)
    const sizes = names.map((name) => this.sizeOf(name))
    const segments: FinishedSegment[] = []
    for (const [index, file] of names.slice(0, -1).entries()) {
      const facts = isOpen(file) ? undefined : this.factsOf(file)
      if (facts === undefined) break
      segments.push({
        file,
        first: positionOf(file),
        end: positionOf(present(names[index + 1], 'the segment behind')),
        sizeBytes: sizes[index] ?? 0,
        ...facts,
      })
    }
    return { sizeBytes: sizes.reduce((sum, size) => sum + size, 0), segments }
  }

  /**
   * Deletes a finished segment for good. Throws the storage error.
   *
   * One at a time, each with the folder's sync: were two deletions to reach the disk the wrong way
   * round, a power cut between them would leave a hole. And before the one right behind the active
   * segment goes, the active one must stand on the disk by itself, also where commits do not sync.
   */
  remove(file: string): void {
    const names = segmentNames(this.folder)
    if (names.at(-2) === file) syncWal(this.fileOf(present(names.at(-1), 'the active segment')))
    failPoint('remove:before-unlink')
    removeDatabase(this.fileOf(file))
    failPoint('remove:unlinked')
    syncFolder(this.folder)
    this.facts.delete(file)
  }

  /** None while the folder cannot be listed, which is told once. */
  private names(): readonly string[] {
    try {
      const names = segmentNames(this.folder)
      this.folderTold = false
      return names
    } catch (thrown) {
      if (codeOf(thrown) === undefined) throw thrown
      if (!this.folderTold) this.trouble(`retention cannot look at it: ${messageOf(thrown)}`)
      this.folderTold = true
      return []
    }
  }

  private factsOf(file: string): Facts | undefined {
    const known = this.facts.get(file)
    if (known !== undefined) return known
    try {
      const facts = readFacts(this.fileOf(file))
      this.facts.set(file, facts)
      this.unreadable.delete(file)
      return facts
    } catch (thrown) {
      if (codeOf(thrown) === undefined) throw thrown
      if (!this.unreadable.has(file)) {
        this.trouble(
          `${file} cannot be read (${messageOf(thrown)}): retention stops before it until it is repaired`,
        )
      }
      this.unreadable.add(file)
      return undefined
    }
  }

  private sizeOf(name: string): number {
    const file = this.fileOf(name)
    return fileBytes(file) + fileBytes(`${file}-wal`)
  }

  private forgetOthers(names: readonly string[]): void {
    const there = new Set(names)
    for (const known of [this.facts, this.unreadable]) {
      for (const name of known.keys()) if (!there.has(name)) known.delete(name)
    }
  }

  private fileOf(name: string): string {
    return path.join(this.folder, name)
  }
}

function readFacts(file: string): Facts {
  const db = new Database(file, { readonly: true, fileMustExist: true })
  try {
    const firsts = db.prepare('SELECT partition, first_offset FROM partition').raw().all()
    const ends = segmentEnd(db)?.offsets
    const row = db
      .prepare('SELECT time, boot, monotonic FROM record ORDER BY position DESC LIMIT 1')
      .raw()
      .get() as [number, number, number] | undefined
    if (ends === undefined) {
      throw new SluiceError('record-damaged', 'a finished segment has rows, this one has none')
    }
    // A repair can leave a segment of nothing but holes: older than anything, it may go first.
    const last = row ?? [0, 0, 0]
    return {
      lastTimeMs: last[0],
      lastBoot: last[1],
      lastMonotonicUs: last[2],
      partitions: (firsts as [number, number][]).map(([partition, first]) => ({
        partition: asPartition(partition),
        first: asOffset(first),
        end: asOffset(ends.get(partition) ?? first),
      })),
    }
  } finally {
    db.close()
  }
}

function positionOf(file: string) {
  return asPosition(present(firstPositionOf(file), 'the first position in a segment name'))
}

function fileBytes(file: string): number {
  return fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0
}
