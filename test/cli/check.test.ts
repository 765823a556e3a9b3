import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { check } from '../../src/cli/check.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sluice-check-'))
})
afterAll(() => rm(folder, { recursive: true }))

async function checked(toml: string) {
  const file = join(folder, 'sluice.toml')
  await writeFile(file, toml)
  return { file, ...run(file) }
}

function run(file: string) {
  let out = ''
  let err = ''
  const code = check(file, {
    out: (text) => {
      out += text
    },
    err: (text) => {
      err += text
    },
  })
  return { code, out, err }
}

test('a right file: one line on stdout, exit code 0', async () => {
  const { file, ...result } = await checked('[log]\nlevel = "debug"\n')
  expect(result).toEqual({ code: 0, out: `${file} is valid\n`, err: '' })
})

test('every fault is a line on stderr, exit code 1, nothing on stdout', async () => {
  const { code, out, err } = await checked(
    'log.level = 1\nlog.fromat = "json"\ndisk.segment = "1KB"\n',
  )
  expect([code, out]).toEqual([1, ''])
  expect(err.trimEnd().split('\n')).toHaveLength(3)
  expect(err).toContain('log.fromat: unknown key, did you mean "format"?\n')
})

test('a file that is missing or no TOML is a fault with its place, exit code 1', async () => {
  const { file, code, err } = await checked('a = \n')
  expect([code, err]).toEqual([1, expect.stringContaining(`${file}:1:`)])
  const missing = run(join(folder, 'none.toml'))
  expect([missing.code, missing.err]).toEqual([1, expect.stringContaining('no such file')])
})
