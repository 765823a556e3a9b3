/** What is asked of a log while it is closed, and afterwards. */
import fs from 'node:fs'
import path from 'node:path'
import { expect, it } from 'vitest'
import { asPosition } from '../../src/log/log.ts'
import { append, emptyFolder, keep, open, segmentFiles, stream } from './given.ts'

const STREAMS = [stream('a')]
const TINY = { segmentBytes: 16 * 1024, tailBytes: 1024, slabBytes: 1024 }
const FIRST_PAGE = { stream: 'a', from: asPosition(0), recordsMax: 1000, bytesMax: 1e6 }

async function given(): Promise<string> {
  const dataDir = await emptyFolder()
  const log = await open(dataDir, STREAMS, TINY)
  while ((await log.bounds('a')).segments < 3) await keep(log, 'a/x', 40)
  await log.close()
  return dataDir
}

it('starts no thread for what is asked after the close', async () => {
  const dataDir = await given()
  const log = await open(dataDir, STREAMS, TINY)
  await log.close()
  const [oldest = ''] = segmentFiles(dataDir, 'a')
  await expect(log.segments.survey()).rejects.toThrow('the log was closed')
  await expect(log.segments.remove('a', oldest)).rejects.toThrow('the log was closed')
  expect(segmentFiles(dataDir, 'a')).toContain(oldest)
})

it('says of a closed log that it is one, to those who append and to those who read', async () => {
  const log = await open(await emptyFolder(), STREAMS, TINY)
  await keep(log, 'a/x', 1)
  await log.close()
  const closed = { code: 'log-closed', hint: expect.stringContaining('stopping') }
  expect(() => append(log, 'a/x')).toThrow(expect.objectContaining(closed))
  await expect(log.read(FIRST_PAGE)).rejects.toMatchObject(closed)
  await expect(log.locate('a', { kind: 'earliest' })).rejects.toMatchObject(closed)
  await expect(log.bounds('a')).rejects.toMatchObject(closed)
})

it('waits for a read that would heal, and leaves the damage to the next start', async () => {
  const dataDir = await given()
  const segment = path.join(dataDir, 'streams', 'a', segmentFiles(dataDir, 'a')[0] ?? '')
  const bytes = fs.readFileSync(segment)
  // Also where an unused part of a page still has it.
  for (let at = bytes.indexOf('a/x 0'); at >= 0; at = bytes.indexOf('a/x 0', at + 1)) {
    bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at)
  }
  fs.writeFileSync(segment, bytes)
  const log = await open(dataDir, STREAMS, TINY)
  let outcome = 'waits'
  const reading = log.read(FIRST_PAGE).then(
    () => 'read',
    (cause: Error) => cause.message,
  )
  void reading.then((settled) => {
    outcome = settled
  })
  await log.close()
  expect(outcome).toContain('the log was closed')
  const again = await open(dataDir, STREAMS, TINY)
  await again.read(FIRST_PAGE)
  expect(again.state.gaps.list().map(({ reason }) => reason)).toContain('quarantined')
})
