/** Where a stream goes on behind damage, as it is said by those who only look. */
import path from 'node:path'
import { expect, it } from 'vitest'
import { runCli } from '../../support/cli-context.ts'
import { append, open } from '../given.ts'
import { folderOf, gapsOf, given, STREAMS, spoil, TINY } from './given.ts'

it('jumps no further than the holes behind the last record of a partition', async () => {
  const { dataDir } = await given(20)
  const segment = path.join(folderOf(dataDir), '0000000000000000.db')
  spoil(segment, 'a/x 5 ')
  spoil(segment, 'a/x 19 ')
  const log = await open(dataDir, STREAMS, TINY)
  const { record, settled } = append(log, 'a/x')
  expect(await settled).toBe('kept')
  expect(gapsOf(log)).toHaveLength(2)
  // The last record is 18; what may be missing behind it counts, the hole at 5 does not.
  expect(record.offset - 19).toBe(record.position - 19)
  await log.close()
  const { code, out } = await runCli(['verify-log', '--data', dataDir])
  expect(out).toContain('nothing is wrong')
  expect(code).toBe(0)
})

it('tells the ends of the partitions of a repaired log that is stopped', async () => {
  const { dataDir } = await given(20)
  spoil(path.join(folderOf(dataDir), '0000000000000000.db'), 'a/x 19 ')
  await (await open(dataDir, STREAMS, TINY)).close()
  const { out } = await runCli(['streams', '--data', dataDir, '--format', 'json'])
  const log = await open(dataDir, STREAMS, TINY)
  const { record, settled } = append(log, 'a/x')
  expect(await settled).toBe('kept')
  expect(out).toMatch(new RegExp(`"partition":${record.partition},[^}]*"end":${record.offset}[,}]`))
})
