import fs from 'node:fs'
import path from 'node:path'
import Database from 'better-sqlite3'
import { expect, it } from 'vitest'
import { trySeal } from '../../src/log/keeper/seal.ts'
import { createSegmentFile, openSegmentFile } from '../../src/log/writer/segment-file.ts'
import { emptyFolder } from './given.ts'

it('seals once nobody else has the segment open, and leaves one plain file', async () => {
  const folder = await emptyFolder()
  const file = path.join(folder, '0000000000000000.db')
  const open = (name: string): Database.Database => new Database(name, { timeout: 0 })
  createSegmentFile(file, open)
  const writer = openSegmentFile(file, 'fsync', open)
  writer.exec(`
    INSERT INTO segment (stream, first_position) VALUES ('a', 7);
    INSERT INTO partition (partition, first_offset) VALUES (0, 3), (1, 5);
    INSERT INTO record VALUES (7, 0, 3, 1, 1, 0, 1, 0, 100, 0, NULL, ''),
                              (8, 0, 4, 1, 1, 0, 1, 0, 200, 0, NULL, '')`)
  const keeper = open(file)
  expect(trySeal(keeper)).toBe(false)
  expect(fs.readFileSync(file)[18]).toBe(2)
  writer.close()
  expect(trySeal(keeper)).toBe(true)
  keeper.close()
  expect(fs.readdirSync(folder)).toEqual(['0000000000000000.db'])
  expect(fs.readFileSync(file)[18]).toBe(1)
  const db = new Database(file, { readonly: true })
  expect(db.prepare('SELECT * FROM segment').get()).toEqual({
    stream: 'a',
    first_position: 7,
    end_position: 9,
    first_time: 100,
    last_time: 200,
  })
  expect(db.prepare('SELECT partition, end_offset FROM partition').raw().all()).toEqual([
    [0, 5],
    [1, 5],
  ])
  db.close()
})
