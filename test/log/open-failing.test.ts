/** Starts that fail, or nearly: what is left open, and what a disk without any space allows. */
import fs from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { collectingLogger } from '../support/logger.ts'
import { fillUp, smallDisk, whyNoDisk } from '../support/small-disk.ts'
import { emptyFolder, keep, open, readAll, stream } from './given.ts'

const STREAMS = [stream('a')]

it.skipIf(process.platform !== 'linux')('leaves no file open when it fails late', async () => {
  const dataDir = await emptyFolder()
  // The line of the start comes after the writer has opened its files.
  const info = () => {
    throw new Error('the log book is full')
  }
  const logger = { ...collectingLogger(), info }
  await expect(open(dataDir, STREAMS, { logger })).rejects.toThrow('the log book is full')
  expect(openFilesOf(dataDir)).toEqual([])
  await keep(await open(dataDir, STREAMS), 'a/x', 3)
})

it.skipIf(whyNoDisk() !== undefined)(
  'G5: starts on a full disk with the space of the reserve',
  async () => {
    const folder = smallDisk('24m')
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
  },
)

function openFilesOf(folder: string): string[] {
  return fs.readdirSync('/proc/self/fd').flatMap((descriptor) => {
    const link = path.join('/proc/self/fd', descriptor)
    const file = fs.existsSync(link) ? fs.readlinkSync(link) : ''
    return file.startsWith(folder) ? [file] : []
  })
}
