/** Starts that fail, or nearly: what is left open, and what a disk without any space allows. */
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { expect, it, onTestFinished } from 'vitest'
import { collectingLogger } from '../support/logger.ts'
import { emptyFolder, keep, open, readAll, stream } from './given.ts'

const STREAMS = [stream('a')]

it.skipIf(process.platform !== 'linux')('leaves no file open when it fails late', async () => {
  const dataDir = await emptyFolder()
  // The mark of a running gateway is the first thing after the writer has opened its files.
  fs.mkdirSync(path.join(dataDir, 'running.new'))
  await expect(open(dataDir, STREAMS)).rejects.toThrow('EISDIR')
  expect(openFilesOf(dataDir)).toEqual([])
  fs.rmdirSync(path.join(dataDir, 'running.new'))
  await keep(await open(dataDir, STREAMS), 'a/x', 3)
})

it.skipIf(!mayMount())('G5: starts on a full disk with the space of the reserve', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sluice-full-'))
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', folder])
  onTestFinished(() => {
    execFileSync('umount', [folder])
    fs.rmdirSync(folder)
  })
  const dataDir = path.join(folder, 'data')
  const before = await open(dataDir, STREAMS)
  await keep(before, 'a/x', 3)
  await before.close()
  const reserve = path.join(dataDir, 'reserve')
  expect(fs.existsSync(reserve)).toBe(true)
  fillUp(path.join(folder, 'filler'))
  const logger = collectingLogger()
  const log = await open(dataDir, STREAMS, { logger })
  expect(logger.lines.filter((line) => line.includes('the disk is full'))).toHaveLength(1)
  expect(fs.existsSync(reserve)).toBe(false)
  expect(await readAll(log, 'a')).toHaveLength(3)
  fs.rmSync(path.join(folder, 'filler'))
  await log.state.cursors.open('c', 'a', 'stream', { kind: 'earliest' })
  expect(fs.existsSync(reserve)).toBe(true)
  await log.close()
})

function openFilesOf(folder: string): string[] {
  return fs.readdirSync('/proc/self/fd').flatMap((descriptor) => {
    const link = path.join('/proc/self/fd', descriptor)
    const file = fs.existsSync(link) ? fs.readlinkSync(link) : ''
    return file.startsWith(folder) ? [file] : []
  })
}

/** Writes until not one byte more finds room. */
function fillUp(file: string): void {
  const descriptor = fs.openSync(file, 'w')
  for (let sizeBytes = 1024 * 1024; sizeBytes >= 1; ) {
    try {
      fs.writeSync(descriptor, Buffer.alloc(sizeBytes, 'x'))
    } catch (thrown) {
      expect(thrown).toMatchObject({ code: 'ENOSPC' })
      sizeBytes = Math.floor(sizeBytes / 4)
    }
  }
  fs.closeSync(descriptor)
}

/** Mounting needs rights that few machines give to a test. */
function mayMount(): boolean {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sluice-mount-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder], { stdio: 'ignore' })
    execFileSync('umount', [folder], { stdio: 'ignore' })
    return true
  } catch {
    return false
  } finally {
    fs.rmdirSync(folder)
  }
}
