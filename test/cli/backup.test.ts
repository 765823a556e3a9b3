import { existsSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { appendText } from '../support/append.ts'
import { runCli } from '../support/cli-context.ts'
import { givenLog, streamOf } from '../support/data-dir.ts'
import { tempDir } from '../support/temp-dir.ts'

const START_MS = Date.UTC(2026, 0, 31, 8)

/** A running log with three records, and a folder for backups. */
async function given() {
  const { dataDir, log } = await givenLog([streamOf('telemetry', '#')], START_MS)
  await appendText(log, 'devices/a', ['1', '2', '3'])
  return { dataDir, target: path.join(tempDir(), 'backup'), copy: path.join(tempDir(), 'data') }
}

describe('sluice backup and sluice restore', () => {
  it('say what came into the backup and out of it', async () => {
    const { dataDir, target, copy } = await given()
    const made = await runCli(['backup', target, '--data', dataDir])
    expect(made).toMatchObject({ code: 0, err: '' })
    const [first, builtIn, second, third] = made.out.split('\n')
    expect(first).toBe(`${dataDir} is backed up in ${target}`)
    expect(builtIn).toBe('  default  [0, 0)  1 segment')
    expect(second).toBe('  telemetry  [0, 3)  1 segment')
    expect(third).toMatch(
      /^2 segments, [\d.]+ KiB: 0 kept from the backup before, 0 linked, 2 copied$/,
    )
    const back = await runCli(['restore', target, '--data', copy])
    expect(back).toMatchObject({ code: 0, err: '' })
    expect(back.out).toMatch(/^.+ is restored from the backup of 2026-01-31T09:00:00.000Z\n/)
    expect(back.out).toMatch(/\n {2}telemetry {2}\[0, 3\) {2}1 segment\n/)
    expect(back.out).toMatch(/; epoch 1 has become \d+\n$/)
    const tail = await runCli(['tail', 'telemetry', '--data', copy, '--format', 'raw'])
    expect(tail.out).toBe('1\n2\n3\n')
  })

  it('name the gateway that the configuration names', async () => {
    const { dataDir, target, copy } = await given()
    const config = path.join(tempDir(), 'sluice.toml')
    writeFileSync(config, '[gateway]\nid = "north"\n')
    await runCli(['backup', target, '--config', config, '--data', dataDir])
    const { out } = await runCli(['restore', target, '--data', copy])
    expect(out).toContain(' is restored from the backup of "north" of 2026')
  })

  it('say why not, and what to do', async () => {
    const { dataDir, copy } = await given()
    const target = tempDir()
    writeFileSync(path.join(target, 'photo.jpg'), '')
    const made = await runCli(['backup', target, '--data', dataDir])
    expect(made.code).toBe(1)
    expect(made.err).toBe(
      `sluice: ${target} is not empty and holds no backup\nName a new or an empty folder, or for a backup one with a backup of the same gateway.\n`,
    )
    const back = await runCli(['restore', target, '--data', copy])
    expect(back.code).toBe(1)
    expect(back.err).toContain(`${target} has no manifest: it is no finished backup`)
    expect(existsSync(copy)).toBe(false)
  })

  it('need a data directory to restore to', async () => {
    const { code, err } = await runCli(['restore', 'somewhere'])
    expect(code).toBe(1)
    expect(err).toContain('--data <dir>')
  })
})
