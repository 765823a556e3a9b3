import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { BatchBuilder } from '../../src/bridge/batch.ts'
import { runCli } from '../support/cli-context.ts'
import { record } from '../support/record.ts'
import { runShell } from '../support/sluice.ts'
import { tempDir } from '../support/temp-dir.ts'
import { ROOT } from '../support/tidy/sources.ts'

async function givenBatch(): Promise<string> {
  const builder = new BatchBuilder(
    { recordsMax: 10, bytesMax: 10_000 },
    { gateway: 'gw-1', epoch: 2, stream: 's' },
  )
  builder.add(record({ offset: 7, topic: 'a/b', payload: '{"t":1}' }))
  builder.add(record({ offset: 9, topic: 'a/b', payload: Buffer.from([0xff, 1]), client: 'c' }))
  builder.add(record({ offset: 10, topic: 'x\u001b[2J', payload: '', retain: true }))
  const file = path.join(tempDir(), 'batch')
  writeFileSync(file, (await builder.build('deflate')).message)
  return file
}

describe('sluice decode-batch', () => {
  it('prints a line a record, and what the batch is on stderr', async () => {
    const { code, out, err } = await runCli(['decode-batch', await givenBatch()])
    expect(code).toBe(0)
    expect(out.split('\n')).toEqual([
      '2026-01-31T08:00:00.250Z  a/b  p0:7  {"t":1}',
      '2026-01-31T08:00:00.250Z  a/b  p0:9  0xff01',
      '2026-01-31T08:00:00.250Z  x\\u001b[2J  p0:10  (empty)',
      '',
    ])
    expect(err).toMatch(/^sluice: gateway gw-1, epoch 2, stream s, records 3, from \d+ bytes\n$/)
  })

  it.each([[['--json']], [['--format', 'json']]])('prints JSON with %j', async (how) => {
    const { out } = await runCli(['decode-batch', await givenBatch(), ...how])
    const lines = out.trimEnd().split('\n')
    const names = { gateway: 'gw-1', epoch: 2, stream: 's', partition: 0 }
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      expect.objectContaining({ ...names, offset: 7, topic: 'a/b', payload: { t: 1 }, qos: 1 }),
      expect.objectContaining({ ...names, offset: 9, client: 'c', payload_base64: '/wE=' }),
      expect.objectContaining({ ...names, offset: 10, payload: '', retain: true }),
    ])
  })

  it('reads standard input', async () => {
    const file = await givenBatch()
    const { code, stdout } = await runShell(`cat ${file} | $SLUICE decode-batch | wc -l`)
    expect([code, stdout.trim()]).toEqual([0, '3'])
  })

  it('says what is wrong with what is no batch', async () => {
    const file = path.join(tempDir(), 'no-batch')
    writeFileSync(file, '{"t":1}\n')
    const { code, out, err } = await runCli(['decode-batch', file])
    expect({ code, out }).toEqual({ code: 1, out: '' })
    expect(err).toContain(`${file} is no batch: it does not begin as a batch`)
    const missing = await runCli(['decode-batch', '/nowhere/batch'])
    expect(missing).toMatchObject({ code: 1, out: '' })
    expect(missing.err).toContain('/nowhere/batch cannot be read: ENOENT')
  })
})

it('gives programs the decoder by the name of the package', async () => {
  const script = `
    import { readFileSync } from 'node:fs'
    import { decodeBatch } from 'sluice/batch'
    const { records } = await decodeBatch(readFileSync(process.argv[1]))
    console.log(records.map(({ offset }) => offset).join())
  `
  const args = ['--input-type=module', '-e', script, await givenBatch()]
  expect(execFileSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' })).toBe('7,9,10\n')
})
