import path from 'node:path'
import Database from 'better-sqlite3'
import { expect, it, onTestFinished } from 'vitest'
import { openLive, snapshot } from '../../../src/log/backup/snapshot.ts'
import { emptyFolder } from '../given.ts'
import { isPlain } from './support.ts'

/** A copy that begins again with each commit takes for ever; this one takes some ten steps. */
const TURNS_MAX = 2000

it('copies one moment of a database whose writer commits between any two steps', async () => {
  const folder = await emptyFolder()
  const file = path.join(folder, 'source.db')
  // No patience: a commit that finds the database locked fails the test.
  const writer = new Database(file, { timeout: 0 })
  onTestFinished(() => void writer.close())
  writer.pragma('journal_mode = WAL')
  writer.exec('CREATE TABLE row (bytes BLOB)')
  const insert = writer.prepare('INSERT INTO row VALUES (zeroblob(1000))')
  writer.transaction(() => {
    for (let i = 0; i < 10_000; i++) insert.run()
  })()
  const source = openLive(file)
  onTestFinished(() => void source.close())
  let turns = 0
  let done = false
  const copy = path.join(folder, 'copy.db')
  const copied = snapshot(source, copy).finally(() => {
    done = true
  })
  while (!done && turns < TURNS_MAX) {
    insert.run()
    turns++
    await new Promise((resolve) => setImmediate(resolve))
  }
  await copied
  expect(turns).toBeGreaterThan(3)
  expect(turns).toBeLessThan(TURNS_MAX)
  const taken = new Database(copy)
  onTestFinished(() => void taken.close())
  const rows = taken.prepare('SELECT count(*) FROM row').pluck().get()
  expect(rows).toBe(10_000)
  expect(writer.prepare('SELECT count(*) FROM row').pluck().get()).toBe(10_000 + turns)
  taken.pragma('journal_mode = DELETE')
  taken.close()
  expect(isPlain(copy)).toBe(true)
})
