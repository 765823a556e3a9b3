/** What only a process shows: exit codes, pipes and signals. Runs the built program. */
import { cpSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { appendText } from '../support/append.ts'
import { givenLog, streamOf } from '../support/data-dir.ts'
import { runShell, runSluice } from '../support/sluice.ts'
import { tempDir } from '../support/temp-dir.ts'

/** A stream with more than a pipe holds. */
async function givenMany() {
  const given = await givenLog([streamOf('telemetry', '#')], Date.UTC(2026, 0, 31))
  const payloads = Array.from({ length: 5000 }, (_, n) => `${n} ${'x'.repeat(100)}`)
  await appendText(given.log, 'devices/a', payloads)
  return given
}

describe('the sluice process', () => {
  it('prints help without a command, and its version', async () => {
    expect(await runSluice([])).toMatchObject({ code: 0, stderr: '' })
    const { stdout } = await runSluice(['--version'])
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
  })

  it.each([
    [['nonsense']],
    [['tail', 'x', '--data', '/nowhere/at/all']],
    [['streams', '--format', 'xml']],
    [['check', '--config', '/nowhere/sluice.toml']],
  ])('%j: exit code 1, a sentence on stderr, nothing on stdout', async (args) => {
    const { code, stdout, stderr } = await runSluice(args)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toMatch(/\w+ \w+/)
    expect(stderr).not.toMatch(/\n {4}at /)
  })

  it('is quiet when its reader leaves', async () => {
    const { dataDir } = await givenMany()
    for (const format of ['text', 'json', 'raw']) {
      const line = `$SLUICE tail telemetry --data ${dataDir} --format ${format} | head -1`
      const { code, stdout, stderr } = await runShell(line)
      expect({ code, stderr, lines: stdout.trimEnd().split('\n').length }).toEqual({
        code: 0,
        stderr: '',
        lines: 1,
      })
    }
  })

  it('loses nothing to a slow reader', async () => {
    const { dataDir } = await givenMany()
    const { stdout } = await runShell(`
      $SLUICE tail telemetry --data ${dataDir} --format raw | (sleep 0.3; cut -d' ' -f1)
    `)
    expect(stdout).toBe(Array.from({ length: 5000 }, (_, n) => `${n}\n`).join(''))
  })

  it('reads beside the log that is open, and a copy of it', async () => {
    const { dataDir, log } = await givenMany()
    const copy = path.join(tempDir(), 'copy')
    const beside = await runSluice(['tail', 'telemetry', '--data', dataDir, '--format', 'raw'])
    expect(beside.stdout.trimEnd().split('\n')).toHaveLength(5000)
    await log.close()
    cpSync(dataDir, copy, { recursive: true })
    const copied = await runSluice(['tail', 'telemetry', '--data', copy, '--format', 'raw'])
    expect(copied).toEqual(beside)
  })

  it('ends a followed tail on SIGINT with exit code 0', async () => {
    const { dataDir } = await givenMany()
    const { code, signal, stderr, stdout } = await runShell(`
      cd ${dataDir}
      : > out
      $SLUICE tail telemetry --data . --follow --from earliest --format raw > out &
      tail=$!
      until [ "$(wc -l < out)" -eq 5000 ]; do sleep 0.05; done
      kill -INT $tail
      wait $tail
    `)
    expect({ code, signal, stderr, stdout }).toEqual({
      code: 0,
      signal: null,
      stderr: '',
      stdout: '',
    })
  })
})
