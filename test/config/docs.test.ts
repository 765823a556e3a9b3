import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'smol-toml'
import { expect, test } from 'vitest'
import { rootSchema } from '../../src/config/schema/root.ts'
import { allKeys } from '../../src/config/schema-keys.ts'
import { valid } from './support.ts'

interface Row {
  /** `stream.retention.age` */
  readonly key: string
  readonly section: string
  /** The literal in the column "default", undefined where there is none. */
  readonly literal: string | undefined
  readonly reason: string
}

function documented(): readonly Row[] {
  const file = join(import.meta.dirname, '../../docs/CONFIGURATION.md')
  let section = ''
  return readFileSync(file, 'utf8')
    .split('\n')
    .flatMap((line): Row[] => {
      section = /^## `\[+([a-z.]+)\]+`$/.exec(line)?.[1] ?? section
      const cells = line.split('|').map((cell) => cell.trim())
      const key = /^`([a-z0-9_.]+)`$/.exec(cells[1] ?? '')?.[1]
      if (key === undefined || section === '') return []
      const literal = /^`(.+)`$/.exec(cells[3] ?? '')?.[1]
      return [{ key: `${section}.${key}`, section, literal, reason: cells[4] ?? '' }]
    })
}

/** The smallest file in which a section stands; the section's text ends it. */
const shells: Readonly<Record<string, string>> = {
  'mqtt.listener': '[[mqtt.listener]]\ntls = { cert_file = "c", key_file = "k" }',
  stream: '[[stream]]\nname = "a"\ntopics = []',
  queue: '[[queue]]\nname = "a"\ntopics = []',
  bridge: '[[bridge]]\nname = "a"\nurl = "mqtts://b"',
  'bridge.forward':
    '[[bridge]]\nname = "a"\nurl = "mqtts://b"\n[[bridge.forward]]\nstream = "default"\nbatch = {}',
  'bridge.receive': '[[bridge]]\nname = "a"\nurl = "mqtts://b"\n[[bridge.receive]]\nfrom = "a"',
}

/** Puts a value under "a.b" into the last table of the shell. */
function written(row: Row, shell: string): unknown {
  const tree: unknown = parse(shell)
  let table = tree as Record<string, unknown>
  const steps = row.key.split('.')
  const last = steps.pop() ?? ''
  for (const step of steps) {
    table[step] ??= {}
    const below = table[step]
    table = (Array.isArray(below) ? below[0] : below) as Record<string, unknown>
  }
  table[last] = parse(`value = ${row.literal}`)['value']
  return tree
}

test('every key of the schema is documented, and nothing else is', () => {
  const keys = documented().map(({ key }) => key)
  expect([...keys].sort()).toEqual([...allKeys(rootSchema('x'))].sort())
  expect(new Set(keys).size).toBe(keys.length)
})

test('every key has its reason', () => {
  expect(documented().filter(({ reason }) => reason === '')).toEqual([])
})

const withDefault = documented().filter(({ literal }) => literal !== undefined)

test.each(withDefault)('$key = $literal is what happens without it', (row) => {
  const shell = shells[row.section] ?? `[${row.section}]`
  expect(valid(written(row, shell)).config).toStrictEqual(valid(parse(shell)).config)
})
