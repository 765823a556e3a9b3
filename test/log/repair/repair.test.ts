import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { expect, it } from 'vitest'
import { WAL_FRAME_BYTES, WAL_HEADER_BYTES } from '../../../src/log/repair/wal.ts'
import { segmentNames } from '../../../src/log/writer/recovery.ts'
import { runCli } from '../../support/cli-context.ts'
import { collectingLogger } from '../../support/logger.ts'
import { append, copyAsCrashed, emptyFolder, keep, open, readAll } from '../given.ts'
import { folderOf, gapsOf, given, STREAMS, spoil, TINY } from './given.ts'

it('says in one line that a clean start has nothing to repair', async () => {
  const { dataDir } = await given()
  const logger = collectingLogger()
  await open(dataDir, STREAMS, { ...TINY, logger })
  expect(logger.lines.filter((line) => line.includes('nothing to repair'))).toHaveLength(1)
})

it('repairs an older segment when it is read, and goes on behind the damage', async () => {
  const { dataDir, lines } = await given()
  const segment = path.join(folderOf(dataDir), segmentNames(folderOf(dataDir))[1] ?? '')
  const [, position] = /(\d{16})\.db$/.exec(segment) ?? []
  const gone = Number(position) + 5
  spoil(segment, `a/x ${gone} `)
  const logger = collectingLogger()
  const log = await open(dataDir, STREAMS, { ...TINY, logger })
  const expected = lines.filter((line) => Number.parseInt(line, 10) !== gone)
  const reads = await Promise.all([readAll(log, 'a'), readAll(log, 'a')])
  expect(reads).toEqual([expected, expected])
  expect(gapsOf(log)).toEqual([[gone, gone + 1, 1, 'quarantined']])
  const quarantine = path.join(dataDir, 'quarantine/a')
  expect(fs.readdirSync(quarantine)).toEqual([
    `${path.basename(segment)}.1`,
    `${path.basename(segment)}.1.json`,
  ])
  expect(logger.lines.join('\n')).toContain(`positions lost: [${gone}, ${gone + 1})`)
  await log.close()
  const again = await open(dataDir, STREAMS, TINY)
  expect(await readAll(again, 'a')).toEqual(expected)
  expect(gapsOf(again)).toHaveLength(1)
})

it('leaves the active segment when damage is found in it, and repairs it then', async () => {
  const dataDir = await emptyFolder()
  await (await open(dataDir, STREAMS)).close()
  const first = await open(dataDir, STREAMS, { tailBytes: 1024, slabBytes: 1024 })
  await keep(first, 'a/x', 2500)
  await first.close()
  spoil(path.join(folderOf(dataDir), '0000000000000000.db'), 'a/x 700')
  const log = await open(dataDir, STREAMS, { tailBytes: 1024, slabBytes: 1024 })
  const before = append(log, 'a/x', 'before')
  expect(await before.settled).toBe('kept')
  expect(await readAll(log, 'a')).toHaveLength(2500)
  expect(gapsOf(log)).toEqual([[700, 701, 1, 'quarantined']])
  const after = append(log, 'a/x', 'after')
  expect(await after.settled).toBe('kept')
  expect(after.record.position).toBe(2501)
  expect(await readAll(log, 'a')).toHaveLength(2501)
})

it('notes a segment that is missing between two others', async () => {
  const { dataDir, lines } = await given()
  const [, second = '', third = ''] = segmentNames(folderOf(dataDir))
  fs.rmSync(path.join(folderOf(dataDir), second))
  const log = await open(dataDir, STREAMS, TINY)
  const [from, end] = [Number.parseInt(second, 10), Number.parseInt(third, 10)]
  const kept = lines.filter((line) => {
    const at = Number.parseInt(line, 10)
    return at < from || at >= end
  })
  expect(await readAll(log, 'a')).toEqual(kept)
  expect(gapsOf(log)).toEqual([[from, end, end - from, 'quarantined']])
})

it('goes on at a higher position and in a new epoch when the last segment is damaged', async () => {
  const { dataDir, lines } = await given(20)
  spoil(path.join(folderOf(dataDir), '0000000000000000.db'), 'a/x 19 ')
  const log = await open(dataDir, STREAMS, TINY)
  expect(await readAll(log, 'a')).toEqual(lines.slice(0, -1))
  const { record, settled } = append(log, 'a/x')
  expect(await settled).toBe('kept')
  expect(record.position).toBeGreaterThan(19)
  expect(record.offset).toBeGreaterThan(19)
  expect(log.state.epoch).toBe(2)
  expect(gapsOf(log)[0]?.slice(0, 2)).toEqual([19, record.position])
  await log.close()
  const again = await open(dataDir, STREAMS, TINY)
  expect(again.state.epoch).toBe(2)
  expect(gapsOf(again)).toHaveLength(1)
})

it('keeps the commits that stand in the WAL behind damaged bytes', async () => {
  const dataDir = await emptyFolder()
  const running = await open(dataDir, STREAMS)
  for (let i = 0; i < 40; i++) await append(running, 'a/x', `${i} ${'x'.repeat(3000)}`).settled
  const lines = await readAll(running, 'a')
  const copy = await copyAsCrashed(dataDir)
  const wal = path.join(folderOf(copy), '0000000000000000.db-wal')
  const bytes = fs.readFileSync(wal)
  const at = WAL_HEADER_BYTES + Math.floor(bytes.length / WAL_FRAME_BYTES / 2) * WAL_FRAME_BYTES
  bytes[at + 2000] = (bytes[at + 2000] ?? 0) ^ 4
  fs.writeFileSync(wal, bytes)
  const log = await open(copy, STREAMS)
  const found = await readAll(log, 'a')
  expect(found.length).toBeGreaterThanOrEqual(39)
  expect(lines).toEqual(expect.arrayContaining(found))
  const missing = lines.filter((line) => !found.includes(line))
  const gaps = gapsOf(log)
  for (const line of missing) {
    const position = Number.parseInt(line, 10)
    expect(gaps.some(([first, end]) => Number(first) <= position && position < Number(end))).toBe(
      true,
    )
  }
  const { record, settled } = append(log, 'a/x')
  expect(await settled).toBe('kept')
  expect(record.position).toBeGreaterThanOrEqual(40)
})

it('finds nothing wrong where a process ended by an exception and SQLite put the WAL away', async () => {
  const dataDir = await emptyFolder()
  const running = await open(dataDir, STREAMS)
  await keep(running, 'a/x', 10)
  const mark = fs.readFileSync(path.join(dataDir, 'running'))
  await running.close()
  // The mark of an unclean stop, and no WAL: so does a handle leave it that closes at the exit.
  fs.writeFileSync(path.join(dataDir, 'running'), mark)
  expect(fs.existsSync(path.join(folderOf(dataDir), '0000000000000000.db-wal'))).toBe(false)
  const logger = collectingLogger()
  const log = await open(dataDir, STREAMS, { logger })
  expect(append(log, 'a/x').record.position).toBe(10)
  expect(gapsOf(log)).toEqual([])
  expect(log.state.epoch).toBe(1)
  expect(logger.lines.join('\n')).toContain('nothing to repair')
})

it('begins anew with the empty state.db of a first start that ended early', async () => {
  const dataDir = await emptyFolder()
  fs.writeFileSync(path.join(dataDir, 'state.db'), '')
  const log = await open(dataDir, STREAMS)
  expect(log.state.epoch).toBe(1)
  expect(fs.existsSync(path.join(dataDir, 'quarantine'))).toBe(false)
})

it('makes a damaged state.db anew, with a higher boot and epoch', async () => {
  const { dataDir, lines } = await given()
  const log = await open(dataDir, STREAMS, TINY)
  const { boot } = log
  await log.close()
  fs.writeFileSync(path.join(dataDir, 'state.db'), Buffer.alloc(5000, 7))
  const logger = collectingLogger()
  const again = await open(dataDir, STREAMS, { ...TINY, logger })
  expect(again.boot).toBeGreaterThan(boot)
  expect(again.state.epoch).toBe(2)
  expect(await readAll(again, 'a')).toEqual(lines)
  expect(fs.existsSync(path.join(dataDir, 'quarantine/state/state.db.1'))).toBe(true)
  expect(logger.lines.join('\n')).toContain('quarantine/state/state.db.1')
})

it('fills the ledger again from its notes when state.db is lost', async () => {
  const { dataDir } = await given()
  const [, second = ''] = segmentNames(folderOf(dataDir))
  spoil(path.join(folderOf(dataDir), second), `a/x ${Number.parseInt(second, 10) + 3} `)
  const log = await open(dataDir, STREAMS, TINY)
  await readAll(log, 'a')
  const gaps = gapsOf(log)
  expect(gaps).toHaveLength(1)
  await log.close()
  fs.rmSync(path.join(dataDir, 'state.db'))
  const again = await open(dataDir, STREAMS, TINY)
  expect(gapsOf(again)).toEqual(gaps)
  expect(again.state.epoch).toBe(2)
})

it('finishes a repair that a crash cut off between the note and the rename', async () => {
  const { dataDir, lines } = await given()
  const [, second = ''] = segmentNames(folderOf(dataDir))
  const gone = Number.parseInt(second, 10) + 3
  spoil(path.join(folderOf(dataDir), second), `a/x ${gone} `)
  const log = await open(dataDir, STREAMS, TINY)
  await readAll(log, 'a')
  await log.close()
  // Back to the moment before the files moved.
  const note = path.join(dataDir, 'quarantine/a', `${second}.1.json`)
  const folder = folderOf(dataDir)
  fs.renameSync(path.join(folder, second), path.join(folder, 'salvage.db'))
  fs.renameSync(path.join(dataDir, 'quarantine/a', `${second}.1`), path.join(folder, second))
  fs.writeFileSync(note, fs.readFileSync(note, 'utf8').replace('"noted"', '"swapping"'))
  const db = new Database(path.join(dataDir, 'state.db'))
  db.exec('DELETE FROM gap')
  db.close()
  const again = await open(dataDir, STREAMS, TINY)
  expect(gapsOf(again)).toEqual([[gone, gone + 1, 1, 'quarantined']])
  expect(await readAll(again, 'a')).toEqual(
    lines.filter((line) => Number.parseInt(line, 10) !== gone),
  )
})

it('verifies a log, beside a running gateway too, and repairs it only without one', async () => {
  const { dataDir } = await given()
  const names = segmentNames(folderOf(dataDir))
  expect(await runCli(['verify-log', '--data', dataDir])).toMatchObject({
    code: 0,
    out:
      `a: ${names.length} segments, 400 records verified: nothing is wrong\n` +
      'default: 1 segments, 0 records verified: nothing is wrong\n',
  })
  const gone = Number.parseInt(names[1] ?? '', 10) + 3
  spoil(path.join(folderOf(dataDir), names[1] ?? ''), `a/x ${gone} `)
  const log = await open(dataDir, STREAMS, TINY)
  const beside = await runCli(['verify-log', '--data', dataDir])
  expect(beside.code).toBe(1)
  expect(beside.out).toContain(`streams/a/${names[1]}, position ${gone}: `)
  const refused = await runCli(['verify-log', '--repair', '--data', dataDir])
  expect(refused).toMatchObject({ code: 1, err: expect.stringContaining('a gateway runs') })
  await log.close()
  const repaired = await runCli(['verify-log', '--repair', '--data', dataDir])
  expect(repaired).toMatchObject({ code: 0, out: expect.stringContaining('positions lost') })
  expect(await runCli(['verify-log', '--data', dataDir])).toMatchObject({
    code: 0,
    out: expect.stringContaining('399 records verified, 1 positions lost and noted'),
  })
})

it('says what is wrong with a hole that the ledger does not know, and with state.db', async () => {
  const { dataDir } = await given()
  const [, second = ''] = segmentNames(folderOf(dataDir))
  fs.rmSync(path.join(folderOf(dataDir), second))
  fs.writeFileSync(path.join(dataDir, 'state.db'), 'nonsense')
  const { code, out } = await runCli(['verify-log', '--data', dataDir, '--format', 'json'])
  expect(code).toBe(1)
  const said = out
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { file?: string })
  const files = said.flatMap(({ file }) => file ?? [])
  expect(files).toEqual([`streams/a/${second}`, 'state.db'])
})
