import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { describe, expect, it, onTestFinished } from 'vitest'
import { filesOf } from '../../../src/log/backup/manifest.ts'
import { append, emptyFolder, keep, open, readAll } from '../given.ts'
import {
  backUp,
  filled,
  grow,
  isPlain,
  manifestOf,
  openTiny,
  restored,
  STREAMS,
  segmentsOf,
  streamIn,
  tree,
} from './support.ts'

const inode = (file: string): number => fs.statSync(file).ino

describe('a backup beside a running log', () => {
  it('has every record, in plain files, and a log that opens on it goes on densely', async () => {
    const { dataDir, log } = await filled(4)
    const target = path.join(await emptyFolder(), 'backup')
    const before = await readAll(log, 'a')
    const { ways } = await backUp(dataDir, target)
    const { segments } = streamIn(target)
    expect(ways).toMatchObject({ linked: segments.length - 1, snapshot: 2 })
    for (const { file } of segments)
      expect(isPlain(path.join(target, 'streams/a', file))).toBe(true)
    for (const [i, { end }] of segments.slice(0, -1).entries()) {
      expect(segments[i + 1]?.first).toBe(end)
    }
    await keep(log, 'a/after', 10)
    const { dataDir: copy } = await restored(target)
    const again = await openTiny(copy)
    expect(await readAll(again, 'a')).toEqual(before)
    const next = await keep(again, 'a/x', 400)
    expect(next[0]?.position).toBe(before.length)
    expect(next[0]?.offset).toBe(
      before.filter((line) => line.includes(`/${next[0]?.partition}/`)).length,
    )
  })

  it('links what is sealed, and shares nothing that is appended to', async () => {
    const { dataDir } = await filled(3)
    const target = path.join(await emptyFolder(), 'backup')
    await backUp(dataDir, target)
    const live = segmentsOf(dataDir).map(inode)
    const copies = streamIn(target).segments.map(({ file }) =>
      inode(path.join(target, 'streams/a', file)),
    )
    expect(copies.slice(0, -1)).toEqual(live.slice(0, -1))
    expect(copies.at(-1)).not.toBe(live.at(-1))
  })

  it('keeps the writer writing while the active segment is copied', async () => {
    const dataDir = await emptyFolder()
    const log = await open(dataDir, STREAMS)
    const target = path.join(await emptyFolder(), 'backup')
    // Several steps of the copy, so that commits fall between two of them.
    const large = 4096
    const kept = Array.from({ length: large }, () => append(log, 'a/x', 'x'.repeat(2048)).settled)
    await Promise.all(kept)
    let done = false
    const made = backUp(dataDir, target).finally(() => {
      done = true
    })
    let during = 0
    while (!done) {
      await keep(log, 'a/x', 5)
      during += 5
    }
    await made
    expect(during).toBeGreaterThan(0)
    expect(streamIn(target).segments.at(-1)?.end).toBeGreaterThanOrEqual(large)
  })

  it('has all of a full segment that could not be sealed yet', async () => {
    const { dataDir, log } = await filled(2)
    // A reader keeps the keeper from sealing the segment.
    const held = new Database(segmentsOf(dataDir).at(-1) ?? '', { readonly: true })
    onTestFinished(() => void held.close())
    held.prepare('SELECT count(*) FROM record').get()
    for (let turn = 0; segmentsOf(dataDir).length < 4; turn++) await keep(log, `a/${turn}`, 50)
    expect(isPlain(held.name)).toBe(false)
    const target = path.join(await emptyFolder(), 'backup')
    await backUp(dataDir, target)
    const { dataDir: copy } = await restored(target)
    for (const file of segmentsOf(copy)) expect(isPlain(file)).toBe(true)
    expect(await readAll(await openTiny(copy), 'a')).toEqual(await readAll(log, 'a'))
  })

  it('begins with the first segment that is left when retention removes some under it', async () => {
    const { dataDir, log } = await filled(6)
    const target = path.join(await emptyFolder(), 'backup')
    const files = segmentsOf(dataDir)
    const made = backUp(dataDir, target)
    // The folder was listed and the first segment linked before the first wait.
    for (const file of files.slice(0, 3)) fs.rmSync(file)
    await made
    const { segments } = streamIn(target)
    expect(segments[0]?.first).toBe(Number(path.basename(files[3] ?? '', '.db')))
    expect(tree(target).filter((file) => file.startsWith('streams/a'))).toHaveLength(
      segments.length,
    )
    const { dataDir: copy } = await restored(target)
    const again = await openTiny(copy)
    expect((await readAll(again, 'a')).at(-1)).toEqual((await readAll(log, 'a')).at(-1))
  })

  it('goes on to the segment that is appended to when the last one listed was sealed', async () => {
    const { dataDir, log } = await filled(4)
    const before = await readAll(log, 'a')
    await log.close()
    const last = segmentsOf(dataDir).at(-1) ?? ''
    const aside = path.join(await emptyFolder(), 'aside.db')
    fs.renameSync(last, aside)
    const target = path.join(await emptyFolder(), 'backup')
    const made = backUp(dataDir, target)
    // The folder was listed before the first wait.
    fs.renameSync(aside, last)
    await made
    const { dataDir: copy } = await restored(target)
    const again = await openTiny(copy)
    expect(await readAll(again, 'a')).toEqual(before)
    expect((await keep(again, 'a/x', 1))[0]?.position).toBe(before.length)
  })
})

const shm = '/dev/shm'
const hasOther = fs.existsSync(shm) && fs.statSync(shm).dev !== fs.statSync('/tmp').dev

it.skipIf(!hasOther)('copies what another file system cannot link', async () => {
  const { dataDir, log } = await filled(3)
  const target = fs.mkdtempSync(path.join(shm, 'sluice-test-'))
  onTestFinished(() => fs.rmSync(target, { recursive: true, force: true }))
  const { ways } = await backUp(dataDir, target)
  expect(ways.linked).toBe(0)
  expect(ways.copied).toBeGreaterThanOrEqual(2)
  expect((await backUp(dataDir, target)).ways).toMatchObject({ kept: ways.copied, copied: 0 })
  const { dataDir: copy } = await restored(target)
  expect(await readAll(await openTiny(copy), 'a')).toEqual(await readAll(log, 'a'))
})

describe('a second backup to the same folder', () => {
  it('keeps what is sealed, adds what is new and removes what retention removed', async () => {
    const { dataDir, log } = await filled(4)
    const target = path.join(await emptyFolder(), 'backup')
    await backUp(dataDir, target)
    const sealed = streamIn(target).segments.slice(0, -1)
    await grow(log, dataDir, 6)
    fs.rmSync(segmentsOf(dataDir)[0] ?? '')
    const { ways, manifest } = await backUp(dataDir, target)
    expect(ways.kept).toBe(sealed.length - 1)
    expect(manifest.run).toBe(2)
    expect(tree(target)).toEqual([...filesOf(manifest), 'backup.lock', 'manifest.json'].toSorted())
    const { dataDir: copy } = await restored(target)
    // The running log still has the removed records in memory.
    const left = (await readAll(log, 'a')).slice(streamIn(target).segments[0]?.first)
    expect(await readAll(await openTiny(copy), 'a')).toEqual(left)
  })

  it('takes a segment anew that is another one of the same name', async () => {
    const { dataDir, log } = await filled(3)
    const target = path.join(await emptyFolder(), 'backup')
    await backUp(dataDir, target)
    await log.close()
    const { dataDir: other } = await restored(target)
    await filled(3, other)
    const { ways } = await backUp(other, target)
    expect(ways.kept).toBe(0)
    expect(manifestOf(target).run).toBe(2)
    await restored(target)
  })

  it('leaves the backup before as it was when it fails', async () => {
    const { dataDir, log } = await filled(3)
    const target = path.join(await emptyFolder(), 'backup')
    await backUp(dataDir, target)
    const before = await readAll(log, 'a')
    await grow(log, dataDir, 5)
    await log.close()
    fs.writeFileSync(segmentsOf(dataDir).at(-1) ?? '', 'no database at all')
    await expect(backUp(dataDir, target)).rejects.toMatchObject({ code: 'record-damaged' })
    const { dataDir: copy } = await restored(target)
    expect(await readAll(await openTiny(copy), 'a')).toEqual(before)
  })
})

describe('a folder that no backup may go to', () => {
  const refused = async (dataDir: string, target: string, gateway?: string) =>
    expect(backUp(dataDir, target, gateway)).rejects.toMatchObject({ code: 'folder-refused' })

  it('is one with other files', async () => {
    const { dataDir } = await filled(1)
    const target = await emptyFolder()
    fs.writeFileSync(path.join(target, 'photo.jpg'), '')
    await refused(dataDir, target)
    expect(tree(target)).toEqual(['photo.jpg'])
  })

  it('is one inside the data directory', async () => {
    const { dataDir } = await filled(1)
    await refused(dataDir, path.join(dataDir, 'backup'))
    await refused(dataDir, dataDir)
  })

  it('is one with the backup of another gateway', async () => {
    const { dataDir } = await filled(1)
    const target = await emptyFolder()
    await backUp(dataDir, target, 'north')
    await refused(dataDir, target, 'south')
    await backUp(dataDir, target, 'north')
  })

  it('is one that another backup goes to at this moment', async () => {
    const { dataDir } = await filled(2)
    const target = await emptyFolder()
    const first = backUp(dataDir, target)
    await refused(dataDir, target)
    await first
  })
})

it('refuses to back up what is no data directory', async () => {
  const folder = await emptyFolder()
  const target = path.join(folder, 'backup')
  await expect(backUp(path.join(folder, 'nowhere'), target)).rejects.toMatchObject({
    code: 'data-dir-unusable',
  })
  expect(fs.existsSync(target)).toBe(false)
})
