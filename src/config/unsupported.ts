/**
 * What the schema accepts and the gateway does not do yet. A row goes when its feature comes; only
 * what is written in the file is reported, and only where it asks for more than happens anyway.
 * A setting that is ignored must leave the gateway as closed as it was asked to be.
 */
import { tableOf } from './facts.ts'
import type { Fault } from './fault.ts'

export type Unsupported = Fault

interface Row {
  /** Keys joined by dots; `[]` is any place in a list. */
  readonly pattern: string
  readonly sentence: string
}

const rows: readonly Row[] = []

/** What of the parsed tree `source` is written and not built yet. */
export function unsupportedIn(source: unknown): Unsupported[] {
  return rows.flatMap(({ pattern, sentence }) =>
    matches(source, pattern.split('.'), '').map((path) => ({
      path,
      message: `not supported yet: ${sentence}`,
    })),
  )
}

function matches(value: unknown, steps: readonly string[], path: string): string[] {
  const [step, ...rest] = steps
  if (step === undefined) return value === undefined ? [] : [path]
  const key = step.replace('[]', '')
  const child: unknown = Object.entries(tableOf(value)).find(([name]) => name === key)?.[1]
  const childPath = path === '' ? key : `${path}.${key}`
  if (key === step) return matches(child, rest, childPath)
  if (!Array.isArray(child)) return []
  return child.flatMap((entry: unknown, index) => matches(entry, rest, `${childPath}[${index}]`))
}
