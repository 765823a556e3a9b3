import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ManualClock } from '../../../src/base/clock.ts'
import { onFailPoint } from '../../../src/base/fail-point.ts'
import { restore } from '../../../src/log/backup/restore.ts'
import { asPosition } from '../../../src/log/log.ts'
import { applyOps } from '../../../src/log/state/tables.ts'
import { emptyFolder, keep, readAll } from '../given.ts'
import {
  backUp,
  filled,
  NOON_MS,
  openTiny,
  restored,
  segmentsOf,
  streamIn,
  tree,
} from './support.ts'

/** A finished backup of a stopped log. */
async function givenBackup(): Promise<string> {
  const { dataDir, log } = await filled(3)
  await log.close()
  const target = path.join(await emptyFolder(), 'backup')
  await backUp(dataDir, target)
  return target
}

/** Changes one byte in the middle of a file, without touching the live file that may share it. */
function damage(file: string): void {
  const bytes = fs.readFileSync(file)
  const at = Math.floor(bytes.length / 2)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  fs.rmSync(file)
  fs.writeFileSync(file, bytes)
}

describe('a restore', () => {
  it('shares no file with the backup', async () => {
    const target = await givenBackup()
    const { dataDir } = await restored(target)
    for (const file of segmentsOf(dataDir)) expect(fs.statSync(file).nlink).toBe(1)
    expect(tree(dataDir)).not.toContainEqual(expect.stringContaining('restoring'))
  })

  it.each([1, 2, 3])('that ends after %d moves is finished by the next start', async (moves) => {
    const target = await givenBackup()
    const whole = await restored(target)
    const dataDir = path.join(await emptyFolder(), 'restored')
    let moved = 0
    onFailPoint((name) => {
      if (name === 'restore:name-moved' && ++moved === moves) throw new Error('the power went')
    })
    onTestFinished(() => onFailPoint(() => undefined))
    const options = { backup: target, dataDir, verify: true, clock: new ManualClock(NOON_MS) }
    await expect(restore(options)).rejects.toThrow('the power went')
    const log = await openTiny(dataDir)
    expect(log.state.epoch).toBe(whole.report.epoch)
    expect(tree(dataDir)).not.toContainEqual(expect.stringContaining('restoring'))
    const expected = await openTiny(whole.dataDir)
    expect(log.boot).toBe(expected.boot)
    expect(await readAll(log, 'a')).toEqual(await readAll(expected, 'a'))
  })

  it.each([
    ['a sealed segment', (target: string) => streamFile(target, 0)],
    ['the last segment', (target: string) => streamFile(target, -1)],
    ['the state', (target: string) => path.join(target, 'state.1.db')],
  ])('refuses a backup with one other byte in %s, and names the file', async (_what, fileIn) => {
    const target = await givenBackup()
    const file = fileIn(target)
    damage(file)
    const dataDir = path.join(await emptyFolder(), 'restored')
    const options = { backup: target, dataDir, verify: true, clock: new ManualClock(NOON_MS) }
    await expect(restore(options)).rejects.toMatchObject({
      code: 'backup-damaged',
      message: expect.stringContaining(file),
    })
    expect(tree(dataDir)).toEqual(['gateway.lock'])
  })

  it('takes files as they are when it is told not to verify', async () => {
    const target = await givenBackup()
    damage(streamFile(target, 0))
    const { dataDir } = await restored(target, NOON_MS, false)
    expect(segmentsOf(dataDir)).toHaveLength(streamIn(target).segments.length)
  })

  it('says which file is missing', async () => {
    const target = await givenBackup()
    fs.rmSync(streamFile(target, 1))
    await expect(restored(target)).rejects.toThrow(streamFile(target, 1))
  })

  it('refuses a folder that is no finished backup', async () => {
    const target = await givenBackup()
    fs.rmSync(path.join(target, 'manifest.json'))
    await expect(restored(target)).rejects.toMatchObject({ code: 'no-backup' })
  })

  it('refuses a manifest whose names lead elsewhere', async () => {
    const target = await givenBackup()
    const file = path.join(target, 'manifest.json')
    fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('"state.1.db"', '"../x"'))
    await expect(restored(target)).rejects.toMatchObject({ code: 'backup-damaged' })
  })

  it('refuses a backup of a later version', async () => {
    const target = await givenBackup()
    const file = path.join(target, 'manifest.json')
    fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replace('"format": 1', '"format": 2'))
    await expect(restored(target)).rejects.toMatchObject({ code: 'format-unknown' })
  })

  it('refuses a folder with anything in it, and leaves it alone', async () => {
    const target = await givenBackup()
    const { dataDir } = await restored(target)
    const before = tree(dataDir)
    const options = { backup: target, dataDir, verify: true, clock: new ManualClock(NOON_MS) }
    await expect(restore(options)).rejects.toMatchObject({ code: 'folder-refused' })
    expect(tree(dataDir)).toEqual(before)
  })

  it('begins again where one was interrupted', async () => {
    const target = await givenBackup()
    const dataDir = await emptyFolder()
    fs.mkdirSync(path.join(dataDir, 'restoring/streams/a'), { recursive: true })
    fs.writeFileSync(path.join(dataDir, 'restoring/streams/a/0000000000000000.db'), 'half')
    await restore({ backup: target, dataDir, verify: true, clock: new ManualClock(NOON_MS) })
    expect(segmentsOf(dataDir)).toHaveLength(streamIn(target).segments.length)
  })
})

const streamFile = (target: string, index: number): string =>
  path.join(target, 'streams/a', streamIn(target).segments.at(index)?.file ?? '')

describe('the state of a restored log', () => {
  it('has another epoch with each restore of the same backup', async () => {
    const target = await givenBackup()
    const first = (await restored(target)).report
    const second = (await restored(target, NOON_MS + 60_000)).report
    expect(first.epoch).toBeGreaterThan(first.manifest.epoch)
    expect(second.epoch).toBeGreaterThan(first.epoch)
    const { dataDir, report } = await restored(target, 0)
    expect(report.epoch).toBe(report.manifest.epoch + 1)
    expect(metaIn(dataDir, 'epoch')).toBe(report.epoch)
  })

  it('takes cursors and gaps back to where the records end', async () => {
    const { dataDir, log } = await filled(2)
    const end = (await log.bounds('a')).end
    const ends = (await log.bounds('a')).partitions.map((each) => each.end)
    const target = path.join(await emptyFolder(), 'backup')
    await log.close()
    const cursor = { stream: 'a', position: null, offsets: null, updatedMs: 1 }
    const gap = {
      stream: 'a',
      cursor: undefined,
      sizeBytes: 9,
      reason: 'retention',
      timeMs: 1,
    } as const
    const db = new Database(path.join(dataDir, 'state.db'))
    const cut = { first: asPosition(end - 2), end: asPosition(end + 8), records: 10 }
    const beyond = { first: asPosition(end + 8), end: asPosition(end + 9), records: 1 }
    applyOps(db, [
      { kind: 'put-cursor', row: { ...cursor, name: 'behind', position: end - 1 } },
      { kind: 'put-cursor', row: { ...cursor, name: 'ahead', position: end + 5 } },
      {
        kind: 'put-cursor',
        row: { ...cursor, name: 'mixed', offsets: JSON.stringify({ 0: 1, 1: (ends[1] ?? 0) + 7 }) },
      },
      { kind: 'put-cursor', row: { ...cursor, name: 'lost', stream: 'gone', position: 3 } },
      { kind: 'put-gap', row: { ...gap, id: 1, ...cut } },
      { kind: 'put-gap', row: { ...gap, id: 2, ...beyond } },
    ])
    db.close()
    await backUp(dataDir, target)
    const { dataDir: copy, report } = await restored(target)
    expect(report.cursorsMoved.toSorted()).toEqual(['ahead', 'lost', 'mixed'])
    expect(rowsIn(copy, 'SELECT name, position, offsets FROM cursor ORDER BY name')).toEqual([
      { name: 'ahead', position: end, offsets: null },
      { name: 'behind', position: end - 1, offsets: null },
      { name: 'lost', position: 0, offsets: null },
      { name: 'mixed', position: null, offsets: JSON.stringify({ 0: 1, 1: ends[1] }) },
    ])
    expect(rowsIn(copy, 'SELECT id, end_position, records FROM gap')).toEqual([
      { id: 1, end_position: end, records: 2 },
    ])
  })

  it('counts boots on', async () => {
    const { dataDir, log } = await filled(1)
    await keep(log, 'a/x', 1)
    const target = path.join(await emptyFolder(), 'backup')
    await backUp(dataDir, target)
    const again = await openTiny((await restored(target)).dataDir)
    expect(again.boot).toBe(log.boot + 1)
    expect(await readAll(again, 'a')).toEqual(await readAll(log, 'a'))
  })
})

function rowsIn(dataDir: string, sql: string): unknown[] {
  const db = new Database(path.join(dataDir, 'state.db'), { readonly: true })
  try {
    return db.prepare(sql).all()
  } finally {
    db.close()
  }
}

const metaIn = (dataDir: string, key: string): unknown =>
  (rowsIn(dataDir, `SELECT value FROM meta WHERE key = '${key}'`)[0] as { value: number }).value
