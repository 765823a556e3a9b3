/** A file system of a few megabytes that is really full when it is full. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { expect, onTestFinished } from 'vitest'
import { codeOf } from '../../src/base/errors.ts'

/** Why there can be none here; undefined when there can. */
export function whyNoDisk(): string | undefined {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sluice-mount-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder], { stdio: 'ignore' })
    execFileSync('umount', [folder], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'this user may not mount a file system'
  } finally {
    fs.rmdirSync(folder)
  }
}

/** The folder of a new one, of a size as mount knows it (`32m`); it goes with the test. */
export function smallDisk(size: string): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sluice-disk-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder])
  onTestFinished(() => {
    execFileSync('umount', [folder])
    fs.rmdirSync(folder)
  })
  return folder
}

/** Writes to `file` until not one byte more finds room on its disk. */
export function fillUp(file: string): void {
  const descriptor = fs.openSync(file, 'w')
  for (let sizeBytes = 1024 * 1024; sizeBytes >= 1; ) {
    try {
      fs.writeSync(descriptor, Buffer.alloc(sizeBytes, 'x'))
    } catch (thrown) {
      expect(codeOf(thrown)).toBe('ENOSPC')
      sizeBytes = Math.floor(sizeBytes / 4)
    }
  }
  fs.closeSync(descriptor)
}
