/**
 * A file of a megabyte that holds nothing: space that is given up when the disk is full, so that
 * the note of what was lost, and where each cursor is, still finds room. It is written and synced,
 * not merely sized: a hole in a file reserves nothing.
 */
import fs from 'node:fs'
import path from 'node:path'
import { codeOf } from '../../base/errors.ts'
import { syncFolder } from '../writer/segment-file.ts'
import type { ReserveState } from './protocol.ts'

export const RESERVE_FILE = 'reserve'
/** A gap or a cursor is about 100 bytes and its page 4 KiB: room for some hundred writes. */
export const RESERVE_BYTES = 1024 * 1024
/** Space that must be free before it is taken again, so that it does not fill the disk itself. */
const FREE_BYTES_MIN = 8 * RESERVE_BYTES

export class Reserve {
  state: ReserveState
  private readonly folder: string
  private readonly file: string
  private readonly freeBytes: (folder: string) => number

  constructor(folder: string, freeBytes: (folder: string) => number) {
    this.folder = folder
    this.file = path.join(folder, RESERVE_FILE)
    this.freeBytes = freeBytes
    this.state = sizeOf(this.file) === RESERVE_BYTES ? 'kept' : 'spent'
  }

  /** Gives the space up; false when there is none. */
  spend(): boolean {
    if (this.state === 'spent') return false
    fs.rmSync(this.file, { force: true })
    syncFolder(this.folder)
    this.state = 'spent'
    return true
  }

  /** Takes the space when there is plenty. That the disk has none is no failure of the write. */
  restore(): void {
    if (this.state === 'kept') return
    try {
      if (this.freeBytes(this.folder) < FREE_BYTES_MIN) return
      this.make()
      this.state = 'kept'
    } catch (thrown) {
      if (codeOf(thrown) === undefined) throw thrown
      fs.rmSync(this.file, { force: true })
    }
  }

  private make(): void {
    const descriptor = fs.openSync(this.file, 'w', 0o600)
    try {
      // Not zeros, which some file systems store as a hole.
      fs.writeSync(descriptor, Buffer.alloc(RESERVE_BYTES, 'reserve '))
      fs.fsyncSync(descriptor)
    } finally {
      fs.closeSync(descriptor)
    }
    if (sizeOf(this.file) === RESERVE_BYTES) syncFolder(this.folder)
    else throw Object.assign(new Error('the reserve was cut short'), { code: 'ENOSPC' })
  }
}

/** Bytes that this user can still write to the disk of a folder. */
export function diskFreeBytes(folder: string): number {
  const { bavail, bsize } = fs.statfsSync(folder)
  return bavail * bsize
}

function sizeOf(file: string): number | undefined {
  return fs.statSync(file, { throwIfNoEntry: false })?.size
}
