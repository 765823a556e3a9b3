/** docs/CONFORMANCE.md is complete, and the tests that it names are there. */
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT } from '../support/tidy/sources.ts'
import { MQTT_3_1_1, MQTT_5, statements } from './numbers.ts'

const text = readFileSync(path.join(ROOT, 'docs', 'CONFORMANCE.md'), 'utf8')
const [, first = '', second = ''] = text.split(/^## MQTT .*$/m)

interface Row {
  readonly statement: string
  readonly says: string
  readonly heldBy: string
}

function rowsOf(table: string): readonly Row[] {
  return [...table.matchAll(/^\| (MQTT-[\d.-]+) \| (.*) \| (.*) \|$/gm)].map((match) => ({
    statement: match[1] ?? '',
    says: match[2] ?? '',
    heldBy: match[3] ?? '',
  }))
}

/** What is wrong with how a row says that its statement is held. */
function fault({ heldBy }: Row): string | undefined {
  if (/^not applicable: ./.test(heldBy)) return undefined
  if (heldBy === 'open: enhanced authentication') return undefined
  const [, file = '', title = ''] = /^`(test\/[\w./-]+\.test\.ts)`: (.+)$/.exec(heldBy) ?? []
  if (title === '') return `names no test: ${heldBy}`
  if (!existsSync(path.join(ROOT, file))) return `there is no ${file}`
  const isThere = readFileSync(path.join(ROOT, file), 'utf8').includes(title)
  return isThere ? undefined : `${file} has no "${title}"`
}

describe.each([
  ['3.1.1', rowsOf(first), MQTT_3_1_1, 141],
  ['5', rowsOf(second), MQTT_5, 251],
] as const)('the table of MQTT %s', (version, rows, sections, count) => {
  it('has each normative statement once, in order', () => {
    expect(rows.map(({ statement }) => statement)).toEqual(statements(sections))
    expect(rows).toHaveLength(count)
    expect(rows.filter(({ says }) => says === '')).toEqual([])
  })

  it('names tests that are there', () => {
    const faults = rows.map((row) => [row.statement, fault(row)])
    expect(faults.filter(([, said]) => said !== undefined)).toEqual([])
  })

  it('has nothing open but enhanced authentication, which MQTT 3.1.1 does not have', () => {
    const open = rows.filter(({ heldBy }) => heldBy.startsWith('open'))
    expect(open).toHaveLength(version === '5' ? 9 : 0)
  })
})

it('a row is found out that names a test that is not there', () => {
  const row = (heldBy: string): Row => ({ statement: 'MQTT-1.1.1-1', says: 'x', heldBy })
  const file = 'test/conformance/table.test.ts'
  expect(fault(row('nothing'))).toMatch(/names no test/)
  expect(fault(row('open'))).toMatch(/names no test/)
  expect(fault(row('`test/none.test.ts`: x'))).toMatch(/there is no/)
  expect(fault(row(`\`${file}\`: ${['no such', 'title'].join(' ')}`))).toMatch(/has no/)
  expect(fault(row(`\`${file}\`: has each normative statement once`))).toBeUndefined()
})
